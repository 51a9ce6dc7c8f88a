import type { Cancel, Environment, Transport } from "./environment.js";
import { protocolError, TokencastError } from "./error.js";
import type { Open } from "./event.js";
import { decode, encode } from "./msgpack.js";
import { Records, record } from "./records.js";
import type { Attempt, Connection, Sink } from "./source.js";
import { unreachable } from "./sse-source.js";
import type { Target } from "./target.js";

/** A CONNECT that is never answered would pend for ever; a black hole takes Chromium 4 s to see. */
const HANDSHAKE_MS = 5000;
/** Into a silence of three times the usual time, within these bounds: whose address has changed is found by what it sends. */
const PING_MIN_MS = 50;
const PING_MS = 350;
/** How often the round trip is measured when there is no silence to test. */
const MEASURE_MS = 5000;
const PING_IDLE_MS = 10_000;
const SILENT_MS = 1500;
const SILENT_IDLE_MS = 15_000;
const ACK_MS = 1000;
/** How long a session without subscriptions is kept for the next stream of the page. */
const LINGER_MS = 10_000;

const [HEADER, FRAME, HEARTBEAT, ERROR, BYE, END] = [0, 1, 2, 3, 4, 5];

interface Subscription {
  number: number;
  target: Target;
  attempt: () => Attempt;
  sink: Sink;
  confirmed: boolean;
  /** The last id that the sink was given, and the one that was acknowledged. */
  seq: number;
  acked: number;
  unackedBytes: number;
  ackedAt: number;
  running: boolean;
}

type Message = Record<string, unknown> & { type?: unknown };

/** One WebTransport session towards one gateway, shared by the streams of a page. */
export class Session {
  state: "connecting" | "open" | "closed" = "connecting";
  /** It has been silent: whoever comes now takes another one. */
  suspect = false;
  rtt: number | null = null;
  #subscriptions = new Map<number, Subscription>();
  #numbers = 0;
  #subscriptionsMax = 64;
  #ackBytes = 262_144;
  #writer: WritableStreamDefaultWriter<Uint8Array> | null = null;
  #transport: Transport | null = null;
  #heard: number;
  /** The usual time between two arrivals. */
  #usual = PING_MS / 3;
  #pinged = 0;
  /** When the first ping of this silence was sent. */
  #unanswered: number | null = null;
  #cancelTick: Cancel = () => {};
  #idleSince: number;

  /** `settled` is told once whether the handshake came about. */
  constructor(
    readonly environment: Environment,
    url: string,
    hashes: Uint8Array<ArrayBuffer>[],
    settled: (ready: boolean) => void,
    readonly gone: (session: Session) => void,
  ) {
    this.#heard = this.#idleSince = environment.now();
    let told = false;
    const settle = (ready: boolean): void => {
      if (told) return;
      told = true;
      cancelTimer();
      settled(ready);
      if (!ready) this.#die(handshakeFailed());
    };
    const cancelTimer = environment.later(HANDSHAKE_MS, () => settle(false));
    try {
      const transport = new environment.WebTransport!(url, hashes.length > 0 ? { serverCertificateHashes: hashes.map((value) => ({ algorithm: "sha-256", value })) } : {});
      this.#transport = transport;
      // A handshake that fails rejects `closed` before `ready`.
      const ended = (): void => (told ? this.#die(unreachable("the session was lost")) : settle(false));
      transport.closed.then(ended, ended);
      transport.ready.then(
        () => {
          if (told) return transport.close();
          settle(true);
          this.#start(transport).catch(() => this.#die(unreachable("the session was lost")));
        },
        () => settle(false),
      );
    } catch {
      settle(false);
    }
  }

  get takes(): boolean {
    return this.state !== "closed" && !this.suspect && this.#subscriptions.size < this.#subscriptionsMax;
  }

  subscribe(target: Target, attempt: () => Attempt, sink: Sink): Connection {
    const number = ++this.#numbers;
    const subscription: Subscription = { number, target, attempt, sink, confirmed: false, seq: 0, acked: 0, unackedBytes: 0, ackedAt: 0, running: true };
    this.#subscriptions.set(number, subscription);
    if (this.state === "open") this.#ask(subscription);
    return {
      close: () => {
        if (!this.#drop(subscription)) return;
        this.#send({ type: "unsubscribe", subscription: number });
      },
      probe: () => {
        this.#ping();
        this.#tickSoon();
      },
      stop: () => this.#send({ type: "stop", subscription: number }),
    };
  }

  /** Closes without telling anybody. */
  close(): void {
    this.#subscriptions.clear();
    this.#die(unreachable("closed"));
  }

  async #start(transport: Transport): Promise<void> {
    const control = await transport.createBidirectionalStream();
    this.#writer = control.writable.getWriter();
    this.#writer.closed.catch(() => {});
    if (this.state === "closed") return;
    this.state = "open";
    this.#send({ type: "hello", version: 1 });
    this.#heard = this.environment.now();
    for (const subscription of this.#subscriptions.values()) this.#ask(subscription);
    this.#ping();
    this.#readControl(control.readable).catch((cause: unknown) => this.#die(fault(cause)));
    this.#tick();
    const streams = transport.incomingUnidirectionalStreams.getReader();
    while (this.state === "open") {
      const { done, value } = await streams.read();
      if (done) break;
      this.#readStream(value).catch(() => {});
    }
    this.#die(unreachable("the session ended"));
  }

  #ask(subscription: Subscription): void {
    const { after, snapshot, ticket, heartbeatMs } = subscription.attempt();
    if (this.rtt !== null) subscription.sink.rtt(this.rtt);
    if (after !== "live") subscription.seq = subscription.acked = after;
    this.#send({
      type: "subscribe",
      subscription: subscription.number,
      stream: subscription.target.id,
      after: after === "live" ? undefined : after,
      from: after === "live" ? "live" : undefined,
      snapshot: snapshot || undefined,
      heartbeat_ms: heartbeatMs ?? undefined,
      ticket: ticket ?? undefined,
    });
  }

  #send(message: Message): void {
    if (this.#writer === null || this.state !== "open") return;
    this.#writer.write(record(encode(message))).catch(() => {});
  }

  async #readControl(readable: ReadableStream<Uint8Array>): Promise<void> {
    const records = new Records(64 * 1024);
    const reader = readable.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      this.#alive();
      for (const body of records.push(value)) this.#message(decode(body) as Message);
      if (records.fault !== null) throw records.fault;
    }
    this.#die(unreachable("the control stream ended"));
  }

  #message(message: Message): void {
    const subscription = this.#subscriptions.get(message.subscription as number);
    switch (message.type) {
      case "welcome":
        this.#subscriptionsMax = Math.min(64, Number(message.subscriptions_max) || 64);
        this.#ackBytes = Number(message.ack_bytes) || this.#ackBytes;
        break;
      case "subscribed":
        if (subscription !== undefined) subscription.confirmed = true;
        break;
      case "pong":
        if (typeof message.t === "number") {
          this.rtt = this.environment.now() - message.t;
          for (const { sink } of this.#subscriptions.values()) sink.rtt(this.rtt);
        }
        break;
      case "error": {
        // About a subscription that stands it is an answer to something else, such as a stop that the ticket does not allow.
        if (subscription === undefined || subscription.confirmed) break;
        const code = String(message.code);
        const error = refusal(code, message);
        if (this.#drop(subscription)) subscription.sink.failed(error);
        break;
      }
      case "bye": {
        this.suspect = true;
        const all = [...this.#subscriptions.values()];
        this.#subscriptions.clear();
        for (const { sink } of all) sink.bye(String(message.code), Number(message.retry_ms) || 0);
        this.#die(unreachable("the gateway said goodbye"));
        break;
      }
    }
  }

  async #readStream(stream: ReadableStream<Uint8Array>): Promise<void> {
    const records = new Records();
    const reader = stream.getReader();
    let subscription: Subscription | null = null;
    let error = unreachable("the connection ended before the stream did");
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        this.#alive();
        for (const body of records.push(value)) {
          const item = decode(body) as [number, unknown];
          if (!Array.isArray(item) || typeof item[0] !== "number") throw new RangeError("a record that is none");
          if (subscription === null) {
            if (item[0] !== HEADER) throw new RangeError("no header");
            const header = item[1] as Open & { subscription: number; retry_ms: number };
            subscription = this.#subscriptions.get(header.subscription) ?? null;
            // Unsubscribed meanwhile.
            if (subscription === null) return void reader.cancel().catch(() => {});
            subscription.confirmed = true;
            subscription.running = header.status === "running";
            subscription.seq = subscription.acked = Math.max(subscription.seq, header.after);
            subscription.sink.opened(header, header.retry_ms ?? null);
          } else this.#record(subscription, item);
        }
        if (records.fault !== null) throw records.fault;
        if (subscription === null) continue;
        if (!this.#subscriptions.has(subscription.number)) return void reader.cancel().catch(() => {});
        const full = subscription.sink.full();
        if (full !== null) await full;
        subscription.unackedBytes += value.length;
        // Here and not by the timer alone: a hidden page's timers are slow.
        const due = subscription.unackedBytes >= this.#ackBytes / 4 || this.environment.now() - subscription.ackedAt >= ACK_MS;
        if (due || !this.environment.visible()) this.#ack(subscription);
      }
    } catch (cause) {
      error = fault(cause);
      reader.cancel().catch(() => {});
    }
    // Nobody knows whose stream it was, so it concerns everybody.
    if (subscription === null && error.code === "protocol_error") return this.#die(error);
    if (subscription !== null && this.#drop(subscription)) {
      // A stream that broke alone is still open for the gateway.
      this.#send({ type: "unsubscribe", subscription: subscription.number });
      subscription.sink.closed(error);
    }
  }

  #record(subscription: Subscription, item: [number, unknown]): void {
    const { sink } = subscription;
    const tell = (event: Heard): void => {
      if (event.id !== null) subscription.seq = event.id;
      sink.event(event);
    };
    switch (item[0]) {
      case FRAME:
        if (!Array.isArray(item[1])) throw new RangeError("a frame that is no array");
        for (const event of item[1].map(heard)) tell(event);
        break;
      case END: {
        const event = heard(item[1]);
        subscription.running = false;
        this.#drop(subscription);
        tell(event);
        break;
      }
      case BYE: {
        const { code, retry_ms } = item[1] as { code: string; retry_ms: number };
        if (this.#drop(subscription)) sink.bye(String(code), Number(retry_ms) || 0);
        break;
      }
      case ERROR: {
        const message = item[1] as Message;
        if (this.#drop(subscription)) sink.failed(refusal(String(message.code), message));
        break;
      }
      case HEARTBEAT:
        break;
    }
  }

  #ack(subscription: Subscription): void {
    subscription.unackedBytes = 0;
    if (subscription.seq <= subscription.acked) return;
    subscription.acked = subscription.seq;
    subscription.ackedAt = this.environment.now();
    this.#send({ type: "ack", subscription: subscription.number, seq: subscription.seq });
  }

  #drop(subscription: Subscription): boolean {
    const was = this.#subscriptions.delete(subscription.number);
    if (this.#subscriptions.size === 0) this.#idleSince = this.environment.now();
    return was;
  }

  #alive(): void {
    this.#unanswered = null;
    const now = this.environment.now();
    this.#usual += (Math.min(now - this.#heard, PING_MS) - this.#usual) / 8;
    this.#heard = now;
    this.suspect = false;
  }

  #ping(): void {
    this.#pinged = this.environment.now();
    this.#unanswered ??= this.#pinged;
    this.#send({ type: "ping", t: this.#pinged });
  }

  /** Pings into the silence, acknowledges, and says when the silence has become too long. */
  #tick(): void {
    if (this.state !== "open") return;
    const { environment } = this;
    const now = environment.now();
    const subscriptions = [...this.#subscriptions.values()];
    if (subscriptions.length === 0 && now - this.#idleSince >= LINGER_MS) return this.close();
    const eager = environment.visible() && subscriptions.some(({ running }) => running);
    const silence = now - this.#heard;
    const since = now - this.#pinged;
    const patience = Math.min(PING_MS, Math.max(PING_MIN_MS, 3 * this.#usual));
    // The longer the silence, the fewer pings: they wait in line where nothing passes.
    const pause = Math.min(PING_MS, Math.max(patience, silence / 2));
    if (eager ? since >= MEASURE_MS || (silence >= patience && since >= pause) : silence >= PING_IDLE_MS && since >= PING_IDLE_MS / 2) this.#ping();
    // Not before a ping of this silence has had its time: a page that slept has heard nothing either.
    const unanswered = this.#unanswered === null ? 0 : now - this.#unanswered;
    if (silence >= (eager ? SILENT_MS : SILENT_IDLE_MS) && unanswered >= SILENT_MS - PING_MS - 100 && !this.suspect) {
      this.suspect = true;
      for (const { sink } of subscriptions) sink.silent();
    }
    for (const subscription of subscriptions) if (now - subscription.ackedAt >= ACK_MS) this.#ack(subscription);
    const due = Math.max(this.#heard + patience, this.#pinged + pause) - now;
    this.#cancelTick = environment.later(eager ? Math.min(100, Math.max(10, due)) : 500, () => this.#tick());
  }

  #tickSoon(): void {
    this.#cancelTick();
    this.#tick();
  }

  #die(error: TokencastError): void {
    if (this.state === "closed") return;
    // A handshake is left to end by itself: the browser punishes cancelled ones.
    const connecting = this.state === "connecting";
    this.state = "closed";
    this.#cancelTick();
    this.#writer = null;
    const close = (): void => {
      try {
        this.#transport?.close({ closeCode: 0, reason: "" });
      } catch {
        // Closed already.
      }
    };
    if (connecting) this.#transport?.ready.then(close, () => {});
    else close();
    const all = [...this.#subscriptions.values()];
    this.#subscriptions.clear();
    this.gone(this);
    for (const { sink } of all) sink.closed(error);
  }
}

export function handshakeFailed(): TokencastError {
  return new TokencastError("webtransport_failed", "the WebTransport handshake failed", null, null, true);
}

type Heard = Parameters<Sink["event"]>[0];

function heard(event: unknown): Heard {
  const [id, name, data] = event as [number | null, string, unknown];
  const valid = (id === null || Number.isSafeInteger(id)) && typeof name === "string" && typeof data === "object" && data !== null;
  if (!valid) throw new RangeError("an event that is none");
  return { id, event: name, data };
}

function fault(cause: unknown): TokencastError {
  return cause instanceof RangeError || cause instanceof TypeError ? protocolError(`garbage on the wire: ${cause.message}`) : unreachable("the session was lost");
}

const TRANSIENT = new Set(["too_many_subscriptions", "storage_error", "overloaded", "draining", "subscription_in_use"]);

function refusal(code: string, message: Message): TokencastError {
  return new TokencastError(code, String(message.message ?? code), null, (message.detail as Record<string, unknown>) ?? null, TRANSIENT.has(code));
}
