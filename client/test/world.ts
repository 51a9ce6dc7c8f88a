import type { Environment, PageEvent, Transport } from "../src/environment.js";
import { encode, decode } from "../src/msgpack.js";
import { Records, record } from "../src/records.js";
import type { StreamEvent } from "../src/event.js";

type Wire = { id: number | null; event: string; data: Record<string, unknown> };

/** A log with everything that is awkward: groups without ids, blocks without events, two choices, tool calls. */
export const LOG: Wire[] = [
  { id: 2, event: "meta", data: { from: 1, model: "m", upstream_id: "u" } },
  { id: 3, event: "reasoning", data: { from: 3, text: "Hm. " } },
  { id: null, event: "text", data: { from: 4, text: "Grüße 🦀" } },
  { id: null, event: "text", data: { from: 4, text: "zwei", choice: 1 } },
  { id: 6, event: "tool_call", data: { from: 4, index: 0, id: "c", name: "f", arguments: '{"a":' } },
  { id: 7, event: "tool_call", data: { from: 7, index: 0, arguments: "1}" } },
  { id: 9, event: "text", data: { from: 8, text: " und\r\nmehr" } },
  { id: null, event: "finish", data: { from: 10, reason: "stop" } },
  { id: 10, event: "usage", data: { from: 10, input: 1, output: 2 } },
  { id: 12, event: "end", data: { reason: "completed", code: null, message: null, finish: "stop", usage: { input: 1, output: 2 }, blocks: 11, bytes: 99, hash: "h" } },
];
export const TEXT = "Grüße 🦀 und\r\nmehr";

export function behind(after: number, log = LOG): Wire[] {
  const from = (at: number): boolean => {
    for (let next = at; next < log.length; next++) if (log[next]!.id !== null) return log[next]!.id! > after;
    return false;
  };
  return log.filter((_, at) => from(at));
}

export function open(after: number): Record<string, unknown> {
  return { stream: "s", after, tail: 11, status: "running", started_at: "2026-01-01T00:00:00Z" };
}

export function sse(after: number, log = LOG): Uint8Array {
  const block = ({ id, event, data }: Wire): string => `${id === null ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
  return new TextEncoder().encode(`retry: 400\nid: ${after}\nevent: open\ndata: ${JSON.stringify(open(after))}\n\n` + behind(after, log).map(block).join(""));
}

/** What the gateway writes on a uni stream. */
export function records(subscription: number, after: number, log = LOG): Uint8Array {
  const parts = [record(encode([0, { version: 1, subscription, ...open(after), retry_ms: 400 }]))];
  for (const { id, event, data } of behind(after, log)) parts.push(record(encode(event === "end" ? [5, [id, event, data]] : [1, [[id, event, data]]])));
  return join(parts);
}

export function join(parts: Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) (all.set(part, at), (at += part.length));
  return all;
}

export function strip(events: StreamEvent[]): Wire[] {
  return events.map(({ id, event, data }) => ({ id, event, data }) as unknown as Wire);
}

type Answer = Response | Promise<Response>;

/** A clock that only moves by `run`, a network that is a function, and a page that does what it is told. */
export class World implements Environment {
  time = 1000;
  #timers = new Map<number, { at: number; run: () => void }>();
  #numbers = 0;
  #listeners = new Set<(event: PageEvent) => void>();
  requests: { method: string; url: URL; headers: Record<string, string> }[] = [];
  shown = true;
  userAgent = "Chrome/156";
  touch = false;
  base: string | undefined = undefined;
  frame: Environment["frame"] = undefined;
  WebTransport: Environment["WebTransport"] = undefined;
  store = new Map<string, string>();

  constructor(readonly answer: (url: URL, signal: AbortSignal, method: string) => Answer) {}

  now = (): number => this.time;
  wall = (): number => this.time;
  random = (): number => 0.5;
  visible = (): boolean => this.shown;
  storage = (): Storage => ({ getItem: (key: string) => this.store.get(key) ?? null, setItem: (key: string, value: string) => void this.store.set(key, value) }) as unknown as Storage;

  later(ms: number, run: () => void): () => void {
    const number = ++this.#numbers;
    this.#timers.set(number, { at: this.time + ms, run });
    return () => this.#timers.delete(number);
  }

  get timers(): number {
    return this.#timers.size;
  }

  listen(heard: (event: PageEvent) => void): () => void {
    this.#listeners.add(heard);
    return () => this.#listeners.delete(heard);
  }

  tell(event: PageEvent): void {
    for (const heard of [...this.#listeners]) heard(event);
  }

  fetch = (async (input: URL | string, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(input);
    const method = init.method ?? "GET";
    this.requests.push({ method, url, headers: (init.headers ?? {}) as Record<string, string> });
    return this.answer(url, init.signal ?? new AbortController().signal, method);
  }) as typeof fetch;

  asked(path: string): URL[] {
    return this.requests.filter(({ url }) => url.pathname.endsWith(path)).map(({ url }) => url);
  }

  /** Everything that is due within `ms`, in order, with all that follows from it. */
  async run(ms: number): Promise<void> {
    const until = this.time + ms;
    for (;;) {
      await settled();
      const [next] = [...this.#timers].filter(([, { at }]) => at <= until).sort(([a, x], [b, y]) => x.at - y.at || a - b);
      if (next === undefined) break;
      this.#timers.delete(next[0]);
      this.time = Math.max(this.time, next[1].at);
      next[1].run();
    }
    this.time = until;
  }
}

export async function settled(): Promise<void> {
  for (let round = 0; round < 4; round++) await new Promise((resolve) => setImmediate(resolve));
}

/** An SSE body: `chunks`, and then a clean end, an error, or nothing ever. */
export function body(chunks: Uint8Array[], then: "end" | "break" | "hang" = "end", signal?: AbortSignal): Response {
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      signal?.addEventListener("abort", () => {
        try {
          controller.error(new DOMException("aborted", "AbortError"));
        } catch {
          // It has ended before.
        }
      });
      for (const chunk of chunks) controller.enqueue(chunk);
      if (then === "end") controller.close();
    },
    pull(controller) {
      if (then === "break") controller.error(new TypeError("network error"));
      return then === "hang" ? new Promise(() => {}) : undefined;
    },
  });
  return new Response(stream, { headers: { "content-type": "text/event-stream" } });
}

export function refused(status: number, code: string, detail?: object): Response {
  return Response.json({ error: { code, message: `it is ${code}`, detail } }, { status });
}

export interface Peer {
  url: string;
  said: Record<string, unknown>[];
  say(message: object): void;
  stream(chunks: Uint8Array[], then?: "end" | "hang"): void;
  lose(): void;
  closed: boolean;
}

/** A WebTransport whose other side is `script`: told of each session, and of each message on its control stream. */
export function transport(script: { session?: (peer: Peer, count: number) => "refuse" | "hang" | void; message: (peer: Peer, message: Record<string, unknown>) => void }): { WebTransport: Environment["WebTransport"]; peers: Peer[] } {
  const peers: Peer[] = [];
  class Fake implements Transport {
    ready: Promise<unknown>;
    closed: Promise<unknown>;
    incomingUnidirectionalStreams: ReadableStream<ReadableStream<Uint8Array>>;
    #control!: ReadableStreamDefaultController<Uint8Array>;
    #streams!: ReadableStreamDefaultController<ReadableStream<Uint8Array>>;
    #open: ReadableStreamDefaultController<Uint8Array>[] = [];
    #lost!: (error: Error) => void;
    peer: Peer;

    constructor(url: string) {
      this.peer = {
        url,
        said: [],
        closed: false,
        say: (message) => this.#control.enqueue(record(encode(message))),
        stream: (chunks, then = "end") => {
          this.#streams.enqueue(
            new ReadableStream<Uint8Array>({
              start: (controller) => {
                this.#open.push(controller);
                for (const chunk of chunks) controller.enqueue(chunk);
                if (then === "end") controller.close();
              },
            }),
          );
        },
        lose: () => this.#lost(new Error("Connection lost.")),
      };
      peers.push(this.peer);
      const verdict = script.session?.(this.peer, peers.length);
      const failed = new Error("Opening handshake failed.");
      this.closed = new Promise((_, reject) => {
        this.#lost = (error) => {
          this.peer.closed = true;
          for (const controller of [this.#control, this.#streams, ...this.#open]) {
            try {
              controller.error(error);
            } catch {
              // It has ended before.
            }
          }
          reject(error);
        };
        if (verdict === "refuse") reject(failed);
      });
      this.ready = verdict === "hang" ? new Promise(() => {}) : verdict === "refuse" ? Promise.reject(failed) : Promise.resolve();
      this.incomingUnidirectionalStreams = new ReadableStream({ start: (controller) => void (this.#streams = controller) });
    }

    async createBidirectionalStream(): Promise<{ readable: ReadableStream<Uint8Array>; writable: WritableStream<Uint8Array> }> {
      const cut = new Records();
      return {
        readable: new ReadableStream({ start: (controller) => void (this.#control = controller) }),
        writable: new WritableStream({
          write: (chunk) => {
            for (const bytes of cut.push(chunk)) {
              const message = decode(bytes) as Record<string, unknown>;
              this.peer.said.push(message);
              script.message(this.peer, message);
            }
          },
        }),
      };
    }

    close(): void {
      if (!this.peer.closed) this.#lost(new Error("closed"));
    }
  }
  return { WebTransport: Fake as unknown as Environment["WebTransport"], peers };
}

export const LOCATED = { url: "https://gateway:4433/v1/session", certificate_hashes: [{ algorithm: "sha-256", value: "00ff" }] };
