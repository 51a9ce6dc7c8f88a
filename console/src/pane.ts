import { follow, type Follow, Fold, type Outcome, type Stats } from "@tokencast/client";
import { Chart } from "./chart.js";
import { write } from "./dom.js";
import { Transcript } from "./transcript.js";
import { milliseconds } from "./words.js";

/** "read" is for what has ended: a page to read, from its beginning, without anything that moves. */
export type Manner = "webtransport" | "sse" | "late" | "live" | "read";

const TITLES: Record<Manner, string> = {
  webtransport: "WebTransport",
  sse: "SSE",
  late: "Late, by a snapshot",
  live: "From now on",
  read: "Transcript",
};

const WORDS: Record<string, [string, string]> = {
  connecting: ["connecting", "warn"],
  waiting: ["waiting to reconnect", "warn"],
  suspended: ["asleep", ""],
  open: ["live", "live"],
};

/** One viewer: follows a stream in one manner, can be cut, and goes on where it was. */
export class Pane {
  readonly element: HTMLElement;
  readonly fold = new Fold();
  readonly #chart: Chart;
  readonly #transcript: Transcript;
  readonly #cutButton: HTMLButtonElement;
  readonly #seen: { first: number | null; reconnects: number; events: number } = { first: null, reconnects: 0, events: 0 };
  #follow: Follow | null = null;
  #seq = 0;

  /** `tail` says how far the stream has come, as far as this page knows; `changed` is told of every drawing. */
  constructor(
    readonly manner: Manner,
    readonly url: string,
    readonly ticket: string | null,
    readonly tail: () => number,
    readonly changed: () => void,
    removed: () => void,
  ) {
    const template = document.getElementById("pane") as HTMLTemplateElement;
    this.element = (template.content.cloneNode(true) as DocumentFragment).firstElementChild as HTMLElement;
    const part = <T extends HTMLElement>(selector: string): T => this.element.querySelector<T>(selector)!;
    const title = TITLES[manner];
    write(part("h3"), title);
    this.element.setAttribute("aria-label", title);
    this.#chart = new Chart(part("canvas"));
    const transcript = part(".transcript");
    transcript.setAttribute("aria-label", `Text, ${title}`);
    this.#transcript = new Transcript(transcript, manner !== "read");
    this.element.classList.toggle("read", manner === "read");
    this.#cutButton = part(".cut");
    this.#cutButton.addEventListener("click", () => (this.running ? this.cut() : this.goOn()));
    const remove = part<HTMLButtonElement>(".remove");
    remove.setAttribute("aria-label", `Close ${title}`);
    remove.addEventListener("click", () => {
      this.close();
      this.element.remove();
      removed();
    });
    this.#connect(manner === "live" ? "live" : 0);
  }

  get running(): boolean {
    return this.#follow !== null && this.#follow.outcome === null;
  }

  get seq(): number {
    return this.#follow === null ? this.#seq : Math.max(this.#seq, this.#follow.seq);
  }

  /** As if the network were gone: nothing comes until `goOn`. */
  cut(): void {
    if (!this.running) return;
    this.#chart.cut();
    this.#leave();
    this.draw();
  }

  goOn(): void {
    if (this.running || this.fold.end !== null) return;
    this.#seen.reconnects++;
    this.#connect(this.#seq);
    this.draw();
  }

  close(): void {
    this.#leave();
  }

  /** Once per frame while something comes, and a few times a second for what only time changes. */
  draw(): void {
    this.#transcript.show(this.fold);
    const stats = this.#follow?.stats() ?? null;
    const now = performance.now();
    if (this.#chart.due(now) && (this.running || this.fold.end === null)) this.#chart.draw(now, stats?.tokensPerSecond ?? 0);
    this.#showStats(stats);
    this.#showState(stats);
  }

  #connect(after: number | "live"): void {
    const { manner } = this;
    const transport = manner === "webtransport" || manner === "sse" ? manner : "auto";
    const following = follow(this.url, { after, transport, ticket: this.ticket, snapshot: manner === "late" && after === 0, onEvent: (event) => this.fold.push(event) });
    this.#follow = following;
    following.paint(() => {
      if (this.#follow !== following) return;
      this.draw();
      this.changed();
    });
  }

  #leave(): void {
    const following = this.#follow;
    if (following === null) return;
    const stats = following.stats();
    this.#seq = following.seq;
    this.#seen.first ??= stats.firstTokenMs;
    this.#seen.reconnects += stats.reconnects;
    this.#seen.events += stats.events;
    this.#follow = null;
    following.close();
  }

  #showStats(stats: Stats | null): void {
    const stat = (name: string, text: string): void => write(this.element.querySelector<HTMLElement>(`[data-stat="${name}"]`)!, text);
    const ended = this.fold.end !== null;
    stat("first", milliseconds(this.#seen.first ?? stats?.firstTokenMs ?? null));
    stat("rate", stats === null || ended ? "–" : stats.tokensPerSecond.toFixed(stats.tokensPerSecond < 10 ? 1 : 0));
    stat("seq", String(this.seq));
    const lag = Math.max(0, this.tail() - this.seq);
    stat("lag", ended || lag === 0 ? "none" : String(lag));
    stat("rtt", milliseconds(stats?.rttMs ?? null));
    stat("reconnects", String(this.#seen.reconnects + (stats?.reconnects ?? 0)));
  }

  #showState(stats: Stats | null): void {
    const chip = this.element.querySelector<HTMLElement>(".state")!;
    const note = this.element.querySelector<HTMLElement>(".note")!;
    const { end } = this.fold;
    const outcome = this.#follow?.outcome ?? null;
    const failed = outcome?.reason === "failed";
    let [word, tone] = stats === null ? ["cut", "bad"] : (WORDS[stats.state] ?? ["", ""]);
    if (end !== null) [word, tone] = [end.reason, end.reason === "completed" ? "good" : "warn"];
    else if (outcome !== null) [word, tone] = failed ? ["gave up", "bad"] : ["nothing more", ""];
    write(chip, word);
    chip.className = `chip state ${tone}`;
    const transport = stats?.transport ?? null;
    if (transport !== null) this.element.classList.toggle("webtransport", transport === "webtransport");
    if (transport !== null) this.element.classList.toggle("sse", transport === "sse");
    this.#cutButton.hidden = end !== null || outcome?.reason === "over";
    write(this.#cutButton, this.running ? "Cut" : failed ? "Try again" : "Go on");
    write(note, explain(this.manner, stats, outcome, this.fold));
    note.classList.toggle("bad", failed || this.fold.error !== null);
  }
}

/** The line under a pane: what a person would ask. */
function explain(manner: Manner, stats: Stats | null, outcome: Outcome | null, fold: Fold): string {
  if (outcome?.error != null) return `${outcome.error.code}: ${outcome.error.message}`;
  if (fold.error !== null) return `The provider said: ${fold.error.message}`;
  if (fold.end?.code != null) return `${fold.end.reason}/${fold.end.code}${fold.end.message === null ? "" : `: ${fold.end.message}`}`;
  if (stats === null) return "Cut by you. The stream goes on without this viewer; “Go on” gets exactly the rest.";
  const asked = manner === "webtransport" || manner === "sse";
  const by = stats.transport === "webtransport" ? "over WebTransport" : stats.transport === "sse" ? "over SSE" : "";
  const why = stats.transportNote === null || manner === "sse" ? "" : `: ${stats.transportNote}`;
  return asked ? why.slice(2) : `${by}${why}`;
}
