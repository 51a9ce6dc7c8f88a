import { at, make, write } from "./dom.js";
import type { Gateway, Whole } from "./gateway.js";
import { type Manner, Pane } from "./pane.js";
import { bytes, count, milliseconds, tone } from "./words.js";

/** The stream that is looked at, in its panes. */
export class Stage {
  id: string | null = null;
  #panes: Pane[] = [];
  #whole: Whole | null = null;
  /** How far the stream has come, by the gateway's word. */
  #tail = 0;

  constructor(
    readonly gateway: Gateway,
    /** The person has taken hold of what is shown. */
    readonly touched: () => void,
    readonly refused: (error: unknown) => void,
  ) {
    for (const button of document.querySelectorAll<HTMLButtonElement>("[data-add]")) button.addEventListener("click", () => this.#add(button.dataset.add as Manner));
    at("cut-all").addEventListener("click", () => this.#panes.forEach((pane) => pane.cut()));
    at("go-on-all").addEventListener("click", () => this.#panes.forEach((pane) => pane.goOn()));
    at("stop").addEventListener("click", () => this.#ask(() => this.gateway.stop(this.id!)));
    at("raw").addEventListener("click", () => this.#ask(() => this.#save()));
    at("actions").addEventListener("click", touched);
    at("panes").addEventListener("click", touched);
    setInterval(() => this.#tick(), 250);
  }

  /** An ended stream is read in one pane, a running one seen in two. */
  open(id: string, isRunning: boolean): void {
    if (id === this.id) return;
    this.#clear();
    this.id = id;
    write(at("stage-title"), id);
    at("welcome").hidden = true;
    at("actions").hidden = false;
    for (const manner of isRunning ? (["webtransport", "sse"] as const) : (["read"] as const)) this.#add(manner);
    void this.refresh();
  }

  /** Asks the gateway how it stands. */
  async refresh(): Promise<void> {
    const { id } = this;
    if (id === null) return;
    // What has ended does not change.
    if (this.#whole?.id === id && this.#whole.end !== null) return;
    try {
      const whole = await this.gateway.state(id);
      if (this.id !== id) return;
      this.#whole = whole;
      this.#tail = whole.blocks;
      this.#show(whole);
    } catch (error) {
      this.refused(error);
    }
  }

  #add(manner: Manner): void {
    const url = new URL(`v1/streams/${this.id}`, location.href).href;
    const pane: Pane = new Pane(
      manner,
      url,
      this.gateway.key,
      () => Math.max(this.#tail, ...this.#panes.map(({ seq, fold }) => (fold.end === null ? seq : 0))),
      () => this.#compare(),
      () => (this.#panes = this.#panes.filter((other) => other !== pane)),
    );
    this.#panes.push(pane);
    at("panes").append(pane.element);
  }

  #clear(): void {
    for (const pane of this.#panes) pane.close();
    this.#panes = [];
    at("panes").replaceChildren();
    this.#whole = null;
    this.#tail = 0;
    at("record").hidden = true;
    at("stage-status").hidden = true;
    write(at("stage-facts"), "");
    write(at("agree"), "");
  }

  #tick(): void {
    for (const pane of this.#panes) pane.draw();
    const ended = this.#panes.some(({ fold }) => fold.end !== null);
    if (ended && this.#whole?.end == null) void this.refresh();
  }

  /** Whoever began at the beginning has the same text, as far as it has come. */
  #compare(): void {
    const texts = this.#panes.filter(({ manner, fold }) => manner !== "live" && fold.choices.length > 0).map(({ fold }) => fold.text);
    const longest = texts.reduce((a, b) => (b.length > a.length ? b : a), "");
    const same = texts.every((text) => longest.startsWith(text));
    const agree = at("agree");
    agree.classList.toggle("bad", !same);
    write(agree, texts.length < 2 ? "" : same ? `✓ ${texts.length} panes, the same text` : "✗ the panes differ");
  }

  #show(whole: Whole): void {
    const chip = at("stage-status");
    chip.hidden = false;
    chip.className = `chip ${tone(whole.status)}`;
    write(chip, whole.status);
    at<HTMLButtonElement>("stop").disabled = whole.status !== "running";
    // Until then they would take as long as the stream.
    at<HTMLButtonElement>("raw").disabled = whole.status === "running";
    const from = whole.model === null || whole.model === whole.provider ? whole.provider : `${whole.model} at ${whole.provider}`;
    const parts = [from, count(whole.blocks, "block"), `${count(whole.frames, "frame")}`, bytes(whole.bytes), count(whole.viewers, "viewer")];
    if (whole.ttft_ms !== null) parts.push(`provider's first token after ${milliseconds(whole.ttft_ms)}`);
    write(at("stage-facts"), parts.join(" · "));
    if (whole.end !== null) this.#record(whole);
  }

  #record(whole: Whole): void {
    const end = whole.end!;
    const time = (at: string | null): string => (at === null ? "–" : new Date(at).toLocaleString());
    const took = whole.ended_at === null ? null : Date.parse(whole.ended_at) - Date.parse(whole.started_at);
    const facts: [string, string][] = [
      ["Ended", [end.reason, end.code].filter((word) => word !== null).join("/")],
      ["Finish", end.finish ?? "–"],
      ["Tokens in, out", whole.usage === null ? "not said" : `${whole.usage.input ?? "–"}, ${whole.usage.output ?? "–"}`],
      ["Took", milliseconds(took)],
      ["Started", time(whole.started_at)],
      ["Kept until", time(whole.expires_at)],
    ];
    const wide: [string, string][] = [["SHA-256 of the raw bytes", whole.hash]];
    if (whole.upstream_id !== null) wide.push(["The provider's id", whole.upstream_id]);
    if (whole.metadata !== null) wide.push(["Metadata", JSON.stringify(whole.metadata)]);
    const row = (className: string) => ([name, value]: [string, string]): HTMLElement => {
      const group = make("div", className);
      group.append(make("dt", "", name), make("dd", "", value));
      return group;
    };
    at("record-facts").replaceChildren(...facts.map(row("")), ...wide.map(row("wide")));
    at("record").hidden = false;
  }

  async #save(): Promise<void> {
    const link = make("a");
    link.href = URL.createObjectURL(await this.gateway.raw(this.id!));
    link.download = `${this.id}.txt`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  #ask(run: () => Promise<unknown>): void {
    run().then(() => this.refresh(), this.refused);
  }
}
