/** Why following was given up. `code` is stable: one of docs/protocol.md, or one of these of our own. */
export type OwnCode = "invalid_url" | "not_tokencast" | "protocol_error" | "unreachable" | "ticket_unavailable" | "webtransport_unavailable" | "webtransport_failed";
export declare class TokencastError extends Error {
    readonly code: OwnCode | (string & {});
    /** HTTP status, where one was answered. */
    readonly status: number | null;
    readonly detail: Record<string, unknown> | null;
    /** A retry may help; the follower decides how often. */
    readonly transient: boolean;
    readonly retryMs: number | null;
    readonly name = "TokencastError";
    constructor(code: OwnCode | (string & {}), message: string, 
    /** HTTP status, where one was answered. */
    status?: number | null, detail?: Record<string, unknown> | null, 
    /** A retry may help; the follower decides how often. */
    transient?: boolean, retryMs?: number | null);
}
/** Garbage on the wire. Retried a few times, because a middlebox may be to blame. */
export declare function protocolError(message: string): TokencastError;
/** An answer other than 200 and 204. A body that is not ours says that the server is not, either. */
export declare function answerError(response: Response): Promise<TokencastError>;
