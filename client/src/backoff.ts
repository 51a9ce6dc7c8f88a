/** Full jitter (anything from 0 to the bound), the bound doubling from `retry` as the gateway drew it. */
export class Backoff {
  static readonly CAP_MS = 30_000;
  /** Whatever the gateway asks for: a timer of weeks would fire at once. */
  static readonly FLOOR_MAX_MS = 600_000;
  retryMs = 500;
  /** Failures in a row. */
  failures = 0;

  constructor(readonly random: () => number) {}

  succeeded(): void {
    this.failures = 0;
  }

  /** How long to wait now. `floor` is what the gateway asked for this once; it is honoured, within reason. */
  next(floor: number | null = null): number {
    const bound = Math.min(Backoff.CAP_MS, this.retryMs * 2 ** Math.min(this.failures, 16));
    this.failures++;
    const jittered = this.random() * bound;
    return floor === null ? jittered : Math.max(Math.min(floor, Backoff.FLOOR_MAX_MS), this.failures > 1 ? jittered : 0);
  }
}
