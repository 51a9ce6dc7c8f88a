import type { Environment } from "./environment.js";
import { TokencastError } from "./error.js";
import type { Attempt, Connection, Sink } from "./source.js";
import type { Target } from "./target.js";
/** One WebTransport session towards one gateway, shared by the streams of a page. */
export declare class Session {
    #private;
    readonly environment: Environment;
    readonly gone: (session: Session) => void;
    state: "connecting" | "open" | "closed";
    /** It has been silent: whoever comes now takes another one. */
    suspect: boolean;
    rtt: number | null;
    /** `settled` is told once whether the handshake came about. */
    constructor(environment: Environment, url: string, hashes: Uint8Array<ArrayBuffer>[], settled: (ready: boolean) => void, gone: (session: Session) => void);
    get takes(): boolean;
    subscribe(target: Target, attempt: () => Attempt, sink: Sink): Connection;
    /** Closes without telling anybody. */
    close(): void;
}
export declare function handshakeFailed(): TokencastError;
