/** Why following was given up. `code` is stable: one of docs/protocol.md, or one of these of our own. */
export type OwnCode =
  | "invalid_url"
  | "not_tokencast"
  | "protocol_error"
  | "unreachable"
  | "ticket_unavailable"
  | "webtransport_unavailable"
  | "webtransport_failed";

export class TokencastError extends Error {
  override readonly name = "TokencastError";
  constructor(
    readonly code: OwnCode | (string & {}),
    message: string,
    /** HTTP status, where one was answered. */
    readonly status: number | null = null,
    readonly detail: Record<string, unknown> | null = null,
    /** A retry may help; the follower decides how often. */
    readonly transient: boolean = false,
    readonly retryMs: number | null = null,
  ) {
    super(message);
  }
}

/** Garbage on the wire. Retried a few times, because a middlebox may be to blame. */
export function protocolError(message: string): TokencastError {
  return new TokencastError("protocol_error", message, null, null, true);
}

const TRANSIENT = new Set([408, 425, 429, 500, 502, 503, 504]);

/** An answer other than 200 and 204. A body that is not ours says that the server is not, either. */
export async function answerError(response: Response): Promise<TokencastError> {
  const status = response.status;
  const transient = TRANSIENT.has(status);
  const after = Number(response.headers.get("retry-after") ?? Number.NaN);
  const retryMs = Number.isFinite(after) ? after * 1000 : null;
  try {
    const { error } = (await response.json()) as { error: { code: string; message: string; detail?: Record<string, unknown> } };
    if (typeof error.code === "string") return new TokencastError(error.code, String(error.message), status, error.detail ?? null, transient, retryMs);
  } catch {
    // Falls through: no body of ours.
  }
  return new TokencastError("not_tokencast", `the server answered ${status} without an error of tokencast; check the URL`, status, null, transient, retryMs);
}
