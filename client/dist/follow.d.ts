import { type Cancel, type Environment } from "./environment.js";
import { TokencastError } from "./error.js";
import { type End, type Open, type StreamEvent } from "./event.js";
import { Fold } from "./fold.js";
import type { Kind } from "./source.js";
export type State = "connecting" | "open" | "waiting" | "suspended" | "finished";
/** How following came out. */
export type Outcome = {
    reason: "ended";
    end: End;
    error: null;
}
/** There was nothing behind `after`, and never will be. */
 | {
    reason: "over";
    end: null;
    error: null;
} | {
    reason: "failed";
    end: null;
    error: TokencastError;
}
/** By `close()`, by the signal, or by leaving the loop. */
 | {
    reason: "closed";
    end: null;
    error: null;
};
export interface Options {
    /** The seq of the last block seen; "live" for whatever comes from now on. Default 0, the beginning. */
    after?: number | "live" | undefined;
    /** What is there already comes as one `snapshot` event. Only from the beginning. */
    snapshot?: boolean | undefined;
    /** A ticket or key, or a function that gets one; asked again when the gateway says that it has expired. */
    ticket?: string | null | (() => string | Promise<string>) | undefined;
    transport?: "auto" | Kind | undefined;
    signal?: AbortSignal | undefined;
    /** How often the gateway says something when there is nothing to say. Default: 1 s over SSE, its own over WebTransport. */
    heartbeatMs?: number | undefined;
    /** Failures in a row before giving up, where the gateway was never reached. Default 6. Once reached, there is no giving up. */
    attemptsMax?: number | undefined;
    onEvent?: ((event: StreamEvent) => void) | undefined;
    onOpen?: ((open: Open, transport: Kind) => void) | undefined;
    onState?: ((state: State) => void) | undefined;
    onEnd?: ((end: End) => void) | undefined;
    onError?: ((error: TokencastError) => void) | undefined;
    environment?: Environment | undefined;
}
export interface Stats {
    state: State;
    /** What carries the stream, or did last. */
    transport: Kind | null;
    /** Why WebTransport is not used, or null. */
    transportNote: string | null;
    seq: number;
    /** Blocks that were there and not here when last compared. */
    behind: number;
    rttMs: number | null;
    /** Blocks per second, over the last two; a block is a token with most providers. */
    tokensPerSecond: number;
    /** Since the last event. */
    quietMs: number;
    firstTokenMs: number | null;
    events: number;
    reconnects: number;
}
/** Follows a stream, given its URL or that of its events. Begins by itself; never throws and never rejects but in the iterator. */
export declare function follow(url: string | URL, options?: Options): Follow;
export declare class Follow implements AsyncIterable<StreamEvent> {
    #private;
    /** Text, reasoning and tool calls so far. */
    readonly fold: Fold;
    /** Never rejects. */
    readonly done: Promise<Outcome>;
    outcome: Outcome | null;
    constructor(url: string | URL, options: Options);
    get state(): State;
    /** The seq of the last block that was given out. */
    get seq(): number;
    /** Every event from now on; begin in the same turn as `follow`. Leaving the loop closes, giving up throws. */
    [Symbol.asyncIterator](): AsyncIterator<StreamEvent, undefined>;
    /** Calls `draw` at most once per animation frame, when something has changed. Returns what ends it. */
    paint(draw: (fold: Fold, follow: Follow) => void): Cancel;
    stats(): Stats;
    /** Stops the stream itself, for everybody. Null once the gateway has taken it; the end then comes as an event. */
    stop(): Promise<TokencastError | null>;
    /** Breaks the connection, as a network would, and comes back. For tests and demonstrations. */
    reconnect(): void;
    /** Follows no further. The stream goes on. */
    close(): void;
}
