import type { TokencastError } from "./error.js";
import type { Open } from "./event.js";
export type Kind = "sse" | "webtransport";
/** What a connection is to begin with, asked for at the moment when it is sent. */
export interface Attempt {
    after: number | "live";
    snapshot: boolean;
    ticket: string | null;
    heartbeatMs: number | null;
}
/** Where a connection tells what it hears. Nothing is told after `closed`, `failed`, `bye` or `over`, or after `close()`. */
export interface Sink {
    opened(open: Open, retryMs: number | null): void;
    event(event: {
        id: number | null;
        event: string;
        data: unknown;
    }): void;
    /** Nothing was heard for too long. The connection may still come back. */
    silent(): void;
    /** A round trip was measured. */
    rtt(ms: number): void;
    bye(code: string, retryMs: number): void;
    /** It broke off, or never came about. */
    closed(error: TokencastError): void;
    /** Refused; `error.transient` says whether coming back makes sense. */
    failed(error: TokencastError): void;
    /** 204: there is nothing behind the cursor, and there never will be. */
    over(): void;
    /** A promise while the reader of the events is behind: read no further before it resolves. */
    full(): Promise<void> | null;
}
export interface Connection {
    close(): void;
    /** Finds out now whether it is still there. */
    probe(): void;
    stop?(): void;
}
