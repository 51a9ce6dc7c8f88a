// Makes dist/console.js, which is committed: `--check` compares it with what src/ says. The client stays a file of its
// own, /client.js, which the console loads as any page would.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "dist/console.js");

execFileSync(join(here, "node_modules/.bin/tsc"), ["-p", "tsconfig.json"], { cwd: here, stdio: "inherit" });
const { outputFiles } = await build({
  absWorkingDir: here,
  entryPoints: ["src/main.ts"],
  outfile: out,
  bundle: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  minify: true,
  legalComments: "none",
  logLevel: "warning",
  plugins: [{ name: "client", setup: ({ onResolve }) => onResolve({ filter: /^@tokencast\/client$/ }, () => ({ path: "./client.js", external: true })) }],
  write: false,
});
const [{ contents }] = outputFiles;
if (process.argv[2] === "--check") {
  if (!readFileSync(out).equals(contents)) throw new Error("dist/console.js is not what src/ says, run npm run build");
  console.log("dist/console.js is what src/ says");
} else {
  writeFileSync(out, contents);
}
