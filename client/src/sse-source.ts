import type { Environment } from "./environment.js";
import { answerError, protocolError, TokencastError } from "./error.js";
import type { Open } from "./event.js";
import type { Attempt, Connection, Sink } from "./source.js";
import { SseParser } from "./sse.js";
import type { Target } from "./target.js";

const HEARTBEAT_MS = 1000;
/** How long after a heartbeat was due the connection counts as silent. */
const GRACE_MS = 1000;

/** The credential goes into a header, except where that would cost a page of another origin a preflight. */
export function authorize(environment: Environment, url: URL, ticket: string | null): Record<string, string> {
  if (ticket === null) return {};
  const foreign = environment.base !== undefined && new URL(environment.base).origin !== url.origin;
  if (!foreign) return { authorization: `Bearer ${ticket}` };
  url.searchParams.set("ticket", ticket);
  return {};
}

/** The native view as SSE, by fetch: unlike EventSource it sees the status, and works in Node and in workers. */
export function openSse(environment: Environment, target: Target, attempt: Attempt, sink: Sink): Connection {
  const heartbeatMs = attempt.heartbeatMs ?? HEARTBEAT_MS;
  const abort = new AbortController();
  let open = true;
  let heard = environment.now();
  let paused = false;
  let cancelTimer = (): void => {};

  const finish = (tell: () => void): void => {
    if (!open) return;
    open = false;
    cancelTimer();
    abort.abort();
    tell();
  };
  const watch = (): void => {
    const due = environment.now();
    cancelTimer = environment.later(250, () => {
      const now = environment.now();
      // Whoever slept, as a hidden page or a laptop does, has to listen first.
      if (now - due > 1250 || paused) heard = Math.max(heard, now - heartbeatMs);
      if (now - heard > heartbeatMs + GRACE_MS) {
        heard = now;
        sink.silent();
      }
      if (open) watch();
    });
  };

  const run = async (): Promise<void> => {
    const url = new URL(`${target.gateway}/v1/streams/${target.id}/events`);
    if (attempt.after === "live") url.searchParams.set("from", "live");
    else url.searchParams.set("after", String(attempt.after));
    if (attempt.snapshot) url.searchParams.set("snapshot", "1");
    url.searchParams.set("heartbeat_ms", String(heartbeatMs));
    const headers = { accept: "text/event-stream", ...authorize(environment, url, attempt.ticket) };
    const asked = environment.now();
    const response = await environment.fetch(url, { headers, signal: abort.signal, cache: "no-store", credentials: "omit" });
    if (response.status === 204) return finish(() => sink.over());
    if (response.status !== 200) {
      const error = await answerError(response);
      return finish(() => sink.failed(error));
    }
    if (!/^text\/event-stream/i.test(response.headers.get("content-type") ?? "") || response.body === null) {
      return finish(() => sink.failed(new TokencastError("not_tokencast", "the server answered with something that is no event stream; check the URL", 200)));
    }
    if (!open) return;
    heard = environment.now();
    watch();
    const parser = new SseParser();
    const reader = response.body.getReader();
    let greeted = false;
    while (open) {
      const { done, value } = await reader.read();
      if (done) break;
      heard = environment.now();
      for (const item of parser.push(value)) {
        if (!open) return;
        const data: unknown = JSON.parse(item.data);
        if (typeof data !== "object" || data === null) throw new SyntaxError("data that is no object");
        if (item.event === "open") {
          greeted = true;
          sink.rtt(heard - asked);
          sink.opened(data as Open, parser.retryMs);
        } else if (!greeted) throw new SyntaxError("an event before open");
        else if (item.event === "bye") {
          const { code, retry_ms } = data as { code: string; retry_ms: number };
          return finish(() => sink.bye(code, Number(retry_ms) || 0));
        } else sink.event({ id: item.id === null ? null : cursor(item.id), event: item.event, data });
      }
      const full = sink.full();
      if (full !== null) {
        paused = true;
        await full;
        paused = false;
        heard = environment.now();
      }
    }
    finish(() => sink.closed(unreachable("the connection ended before the stream did")));
  };
  run().catch((cause: unknown) => {
    const garbage = cause instanceof SyntaxError || cause instanceof RangeError;
    finish(() => sink.closed(garbage ? protocolError(`garbage on the wire: ${cause.message}`) : unreachable(String((cause as Error)?.message ?? cause))));
  });

  return {
    close: () => finish(() => {}),
    // Nothing can be asked over SSE; only a new connection tells.
    probe: () => sink.silent(),
  };
}

export function unreachable(why: string): TokencastError {
  return new TokencastError("unreachable", `the gateway cannot be reached: ${why}`, null, null, true);
}

function cursor(id: string): number {
  const seq = Number(id);
  if (!/^\d+$/.test(id) || !Number.isSafeInteger(seq)) throw new SyntaxError(`the id ${id}`);
  return seq;
}
