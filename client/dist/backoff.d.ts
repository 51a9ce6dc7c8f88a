/** Full jitter (anything from 0 to the bound), the bound doubling from `retry` as the gateway drew it. */
export declare class Backoff {
    readonly random: () => number;
    static readonly CAP_MS = 30000;
    retryMs: number;
    /** Failures in a row. */
    failures: number;
    constructor(random: () => number);
    succeeded(): void;
    /** How long to wait now. `floor` is what the gateway asked for this once; it is honoured as said. */
    next(floor?: number | null): number;
}
