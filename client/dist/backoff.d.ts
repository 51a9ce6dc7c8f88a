/** Full jitter (anything from 0 to the bound), the bound doubling from `retry` as the gateway drew it. */
export declare class Backoff {
    readonly random: () => number;
    static readonly CAP_MS = 30000;
    /** Whatever the gateway asks for: a timer of weeks would fire at once. */
    static readonly FLOOR_MAX_MS = 600000;
    retryMs: number;
    /** Failures in a row. */
    failures: number;
    constructor(random: () => number);
    succeeded(): void;
    /** How long to wait now. `floor` is what the gateway asked for this once; it is honoured, within reason. */
    next(floor?: number | null): number;
}
