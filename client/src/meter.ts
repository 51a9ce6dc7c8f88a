const WINDOW_MS = 2000;
const STEP_MS = 50;

/** How fast a number grows, over the last two seconds. */
export class Meter {
  #samples: [at: number, value: number][] = [];
  #latest = 0;

  note(now: number, value: number): void {
    this.#latest = value;
    const last = this.#samples.at(-1);
    if (last !== undefined && now - last[0] < STEP_MS) return;
    this.#samples.push([now, value]);
    while (now - this.#samples[0]![0] > WINDOW_MS) this.#samples.shift();
  }

  perSecond(now: number): number {
    const first = this.#samples.find(([at]) => now - at <= WINDOW_MS);
    if (first === undefined) return 0;
    return ((this.#latest - first[1]) * 1000) / Math.max(now - first[0], STEP_MS);
  }
}
