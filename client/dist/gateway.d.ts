import type { Environment } from "./environment.js";
import type { Attempt, Connection, Sink } from "./source.js";
import type { Target } from "./target.js";
/** Why WebTransport is not used in this browser, or null. */
export declare function unsupported(environment: Environment): string | null;
/** What a page knows of one gateway: its sessions, and whether WebTransport gets through. */
export declare class Gateway {
    #private;
    readonly environment: Environment;
    readonly url: string;
    /** Streams that are open over SSE. A browser has six connections of HTTP/1.1 for them; more have to queue. */
    streaming: number;
    constructor(environment: Environment, url: string);
    /** Why WebTransport is not tried now, or null. */
    refusal(): string | null;
    /** When a follower on SSE may look again; null for never. */
    retryIn(): number | null;
    /** The network is another one. */
    forgive(): void;
    connect(target: Target, attempt: () => Attempt, sink: Sink): Connection;
}
export declare function gatewayAt(environment: Environment, url: string): Gateway;
