import { at, write } from "./dom.js";
import { type Facts, Gateway, Refused } from "./gateway.js";
import { PathCheck } from "./path.js";
import { Stage } from "./stage.js";
import { Start } from "./start.js";
import { Streams } from "./streams.js";
import { count } from "./words.js";

const POLL_MS = 1000;

const gateway = new Gateway();
const newest = at<HTMLInputElement>("newest");
const status = at<HTMLSelectElement>("status");
const keyDialog = at<HTMLDialogElement>("key-dialog");
const stage = new Stage(gateway, () => (newest.checked = false), trouble);
const streams = new Streams((facts) => choose(facts.id, facts.status === "running"));
const start = new Start(gateway, (id) => {
  choose(id, true);
  void poll();
});
const path = new PathCheck();
let known = false;

function choose(id: string, isRunning: boolean): void {
  newest.checked = false;
  show(id, isRunning);
}

function show(id: string, isRunning: boolean): void {
  stage.open(id, isRunning);
  history.replaceState(null, "", `#${id}`);
}

function trouble(error: unknown): void {
  const said = at("trouble");
  said.hidden = false;
  if (!(error instanceof Refused)) return write(said, "The gateway cannot be reached. This page tries again by itself.");
  if (error.status === 401 && !keyDialog.open) keyDialog.showModal();
  write(said, error.message);
}

/** Two streams may be asked for at once, one look at the list not. */
let polling = false;
async function poll(): Promise<void> {
  if (polling || document.visibilityState === "hidden" || keyDialog.open) return;
  polling = true;
  try {
    if (!known) start.show(await gateway.providers());
    known = true;
    const rows = await gateway.streams(status.value);
    at("trouble").hidden = true;
    follow(rows);
    streams.show(rows, stage.id);
    total(rows);
    await stage.refresh();
  } catch (error) {
    trouble(error);
  } finally {
    polling = false;
  }
}

function follow(rows: Facts[]): void {
  if (!newest.checked) return;
  const [latest] = rows.filter((facts) => facts.status === "running");
  if (latest !== undefined && latest.id !== stage.id) show(latest.id, true);
}

function total(rows: Facts[]): void {
  const running = rows.filter((facts) => facts.status === "running");
  const viewers = running.reduce((sum, facts) => sum + facts.viewers, 0);
  write(at("totals"), `${running.length} running · ${count(viewers, "viewer")}`);
}

status.addEventListener("change", () => void poll());
document.addEventListener("visibilitychange", () => void poll());
at("key-open").addEventListener("click", () => keyDialog.showModal());
keyDialog.addEventListener("close", () => {
  const field = at<HTMLFormElement>("key-form").elements.namedItem("key") as HTMLInputElement;
  if (keyDialog.returnValue === "use" && field.value !== "") gateway.use(field.value);
  if (keyDialog.returnValue === "forget") gateway.use(null);
  field.value = "";
  keyDialog.returnValue = "";
  void poll();
});

const asked = location.hash.slice(1);
if (/^[A-Za-z0-9_-]{1,64}$/.test(asked)) {
  newest.checked = false;
  gateway.state(asked).then((whole) => stage.open(asked, whole.status === "running"), trouble);
}
void poll();
void path.run();
setInterval(() => void poll(), POLL_MS);
