import type { Cancel, Environment } from "./environment.js";

/** A hidden page gets no animation frames, and a busy one few: this is how long a change waits at most. */
const HIDDEN_MS = 250;

/** Runs `draw` at most once per animation frame, and at all when the page is hidden. */
export class Painter {
  #cancel: Cancel | null = null;

  constructor(
    readonly environment: Environment,
    readonly draw: () => void,
  ) {}

  /** Something has changed. */
  touch(): void {
    if (this.#cancel !== null) return;
    const { frame } = this.environment;
    const cancels: Cancel[] = [];
    const run = (): void => {
      this.stop();
      this.draw();
    };
    this.#cancel = () => cancels.forEach((cancel) => cancel());
    if (frame === undefined) cancels.push(this.environment.later(16, run));
    else cancels.push(frame(run), this.environment.later(HIDDEN_MS, run));
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
  }
}
