import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  // The client lies outside, linked by file:, and may have a React of its own. With the package from npm this goes.
  resolve: { dedupe: ["react", "react-dom"] },
});
