import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Chat } from "./Chat";
import "./style.css";

// The chat's id stands in the URL: a tab with the same one is in the same chat.
if (location.hash === "") history.replaceState(null, "", `#${crypto.randomUUID()}`);

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Chat id={location.hash.slice(1)} />
  </StrictMode>,
);
