const WINDOW_MS = 2000;
const STEP_MS = 50;

/** How fast a number grows, over the last two seconds. */
export class Meter {
  #samples: [at: number, value: number][] = [];

  note(now: number, value: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && now - last[0] < STEP_MS && this.#samples.length > 1) last[1] = value;
    else this.#samples.push([now, value]);
    while (this.#samples.length > 2 && now - this.#samples[1]![0] > WINDOW_MS) this.#samples.shift();
  }

  perSecond(now: number): number {
    const recent = this.#samples.filter(([at]) => now - at <= WINDOW_MS);
    const [first, last] = [recent[0], recent.at(-1)];
    if (first === undefined || last === undefined || last === first) return 0;
    return ((last[1] - first[1]) * 1000) / Math.max(now - first[0], STEP_MS);
  }
}
