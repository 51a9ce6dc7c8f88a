import { Backoff } from "./backoff.js";
import { type Cancel, type Environment, type PageEvent, surroundings } from "./environment.js";
import { answerError, protocolError, TokencastError } from "./error.js";
import { type End, known, type Open, type StreamEvent } from "./event.js";
import { Fold } from "./fold.js";
import { type Gateway, gatewayAt, unsupported } from "./gateway.js";
import { Lane } from "./lane.js";
import { Meter } from "./meter.js";
import { Painter } from "./paint.js";
import { Queue } from "./queue.js";
import type { Attempt, Kind, Sink } from "./source.js";
import { authorize, openSse, unreachable } from "./sse-source.js";
import { parseTarget, type Target } from "./target.js";

/** WebTransport has this long before SSE is started as well. */
const RACE_MS = 600;
/** How soon a follower on SSE looks for WebTransport again. */
const UPGRADE_MS = 60_000;
/** A lane that has not said where it begins by now is given up. */
const OPEN_MS = 15_000;
/** Beyond so many streams over SSE a browser may be queueing the next. */
const QUEUEING = 4;
const STEADY_MS = 5000;
const FAULTS_MAX = 3;
const QUEUE_MAX = 4096;

export type State = "connecting" | "open" | "waiting" | "suspended" | "finished";

/** How following came out. */
export type Outcome =
  | { reason: "ended"; end: End; error: null }
  /** There was nothing behind `after`, and never will be. */
  | { reason: "over"; end: null; error: null }
  | { reason: "failed"; end: null; error: TokencastError }
  /** By `close()`, by the signal, or by leaving the loop. */
  | { reason: "closed"; end: null; error: null };

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

let shared: Environment | undefined;

/** Follows a stream, given its URL or that of its events. Begins by itself; never throws and never rejects but in the iterator. */
export function follow(url: string | URL, options: Options = {}): Follow {
  return new Follow(url, options);
}

export class Follow implements AsyncIterable<StreamEvent> {
  /** Text, reasoning and tool calls so far. */
  readonly fold = new Fold();
  /** Never rejects. */
  readonly done: Promise<Outcome>;
  outcome: Outcome | null = null;

  readonly #environment: Environment;
  readonly #options: Options;
  readonly #backoff: Backoff;
  readonly #meter = new Meter();
  readonly #queues = new Set<Queue<StreamEvent>>();
  readonly #painters = new Set<Painter>();
  readonly #lanes = new Set<Lane>();
  readonly #began: number;
  #target: Target | null = null;
  #gateway: Gateway | null = null;
  #settle: (outcome: Outcome) => void = () => {};
  #state: State = "connecting";
  #leader: Lane | null = null;
  #transport: Kind | null = null;
  /** Null until "live" has become a number. */
  #cursor: number | null = 0;
  #ticket: string | null = null;
  #ticketAsked = false;
  #ticketRefused = 0;
  #faults = 0;
  #handshakes = 0;
  #opens = 0;
  #events = 0;
  #tail = 0;
  #rtt: number | null = null;
  #firstToken: number | null = null;
  #lastEvent: number;
  #cancelRetry: Cancel = () => {};
  #cancelRace: Cancel = () => {};
  #cancelUpgrade: Cancel = () => {};
  #unlisten: Cancel = () => {};

  constructor(url: string | URL, options: Options) {
    this.#options = options;
    const environment = (this.#environment = options.environment ?? (shared ??= surroundings()));
    this.#backoff = new Backoff(environment.random);
    this.#began = this.#lastEvent = environment.now();
    this.done = new Promise((resolve) => (this.#settle = resolve));
    let target: Target | TokencastError;
    try {
      this.#target = target = parseTarget(url, environment.base);
      this.#gateway = gatewayAt(environment, target.gateway);
      this.#ticket = typeof options.ticket === "string" ? options.ticket : target.ticket;
    } catch (error) {
      target = error as TokencastError;
    }
    // In a task of its own: whoever follows may attach first, and closing at once costs nothing.
    this.#cancelRetry = environment.later(0, () => this.#begin(target));
    const { signal } = options;
    if (signal?.aborted) this.close();
    else {
      const aborted = (): void => this.close();
      signal?.addEventListener("abort", aborted, { once: true });
      this.done.then(() => signal?.removeEventListener("abort", aborted));
    }
  }

  get state(): State {
    return this.#state;
  }

  /** The seq of the last block that was given out. */
  get seq(): number {
    return this.#cursor ?? 0;
  }

  /** Every event from now on; begin in the same turn as `follow`. Leaving the loop closes, giving up throws. */
  [Symbol.asyncIterator](): AsyncIterator<StreamEvent, undefined> {
    const queue = new Queue<StreamEvent>(QUEUE_MAX);
    if (this.outcome !== null) queue.end(this.outcome.error);
    else this.#queues.add(queue);
    return {
      next: () => queue.next(),
      return: () => {
        this.#queues.delete(queue);
        queue.end();
        this.close();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  /** Calls `draw` at most once per animation frame, when something has changed. Returns what ends it. */
  paint(draw: (fold: Fold, follow: Follow) => void): Cancel {
    const painter = new Painter(this.#environment, () => {
      this.#guard(() => draw(this.fold, this));
      if (this.outcome !== null) this.#painters.delete(painter);
    });
    this.#painters.add(painter);
    painter.touch();
    return () => {
      painter.stop();
      this.#painters.delete(painter);
    };
  }

  stats(): Stats {
    const now = this.#environment.now();
    const transport = this.#transport;
    const note = this.#options.transport === "sse" ? "SSE was asked for" : (this.#gateway?.refusal() ?? null);
    return {
      state: this.#state,
      transport,
      transportNote: transport === "webtransport" ? null : note,
      seq: this.seq,
      behind: Math.max(0, this.#tail - this.seq),
      rttMs: this.#rtt,
      tokensPerSecond: this.#meter.perSecond(now),
      quietMs: now - this.#lastEvent,
      firstTokenMs: this.#firstToken,
      events: this.#events,
      reconnects: Math.max(0, this.#opens - 1),
    };
  }

  /** Stops the stream itself, for everybody. Null once the gateway has taken it; the end then comes as an event. */
  async stop(): Promise<TokencastError | null> {
    const target = this.#target;
    if (target === null) return this.outcome?.error ?? new TokencastError("invalid_url", "there is no stream at this URL");
    try {
      const url = new URL(`${target.gateway}/v1/streams/${target.id}`);
      const headers = authorize(this.#environment, url, this.#ticket);
      const response = await this.#environment.fetch(url, { method: "DELETE", headers, credentials: "omit" });
      return response.ok ? null : await answerError(response);
    } catch (cause) {
      if (cause instanceof TokencastError) return cause;
      // HTTP may be cut where QUIC is not.
      if (this.#leader?.connection?.stop === undefined) return unreachable(String((cause as Error)?.message ?? cause));
      this.#leader.connection.stop();
      return null;
    }
  }

  /** Breaks the connection, as a network would, and comes back. For tests and demonstrations. */
  reconnect(): void {
    if (this.outcome !== null || this.#state === "suspended") return;
    this.#closeLanes();
    this.#connect();
  }

  /** Follows no further. The stream goes on. */
  close(): void {
    this.#finish({ reason: "closed", end: null, error: null });
  }

  #begin(target: Target | TokencastError): void {
    if (target instanceof TokencastError) return this.#fail(target);
    const after = this.#options.after ?? (target.after === null ? 0 : Number(target.after));
    if (after !== "live" && (!Number.isSafeInteger(after) || after < 0)) return this.#fail(new TokencastError("invalid_cursor", 'after is a seq or "live"'));
    this.#cursor = after === "live" ? null : after;
    this.#ticketAsked = typeof this.#options.ticket !== "function";
    this.#unlisten = this.#environment.listen((event) => this.#page(event));
    this.#connect();
  }

  #connect(): void {
    if (this.outcome !== null || this.#state === "suspended") return;
    this.#cancelRetry();
    this.#cancelRace();
    if (this.#leader === null) this.#become("connecting");
    if (!this.#ticketAsked) return this.#askTicket();
    const transport = this.#options.transport ?? "auto";
    if (transport === "sse") return this.#open("sse");
    const refusal = transport === "auto" ? this.#gateway!.refusal() : unsupported(this.#environment);
    if (transport === "webtransport") {
      if (refusal !== null) return this.#fail(new TokencastError("webtransport_unavailable", refusal));
      return this.#open("webtransport");
    }
    if (refusal !== null) return this.#open("sse");
    this.#cancelRace = this.#environment.later(RACE_MS, () => this.#open("sse"));
    this.#open("webtransport");
  }

  #askTicket(): void {
    const ask = this.#options.ticket as () => string | Promise<string>;
    this.#ticketAsked = true;
    Promise.resolve()
      .then(ask)
      .then(
        (ticket) => {
          this.#ticket = ticket ?? null;
          this.#connect();
        },
        (cause: unknown) => {
          this.#ticketAsked = false;
          const error = new TokencastError("ticket_unavailable", `no ticket: ${String((cause as Error)?.message ?? cause)}`, null, null, true);
          if (this.#backoff.failures + 1 >= this.#attemptsMax) this.#fail(error);
          else this.#retry(error, null);
        },
      );
  }

  get #attemptsMax(): number {
    return this.#options.attemptsMax ?? 6;
  }

  #open(kind: Kind): void {
    if (this.outcome !== null || this.#state === "suspended") return;
    for (const lane of this.#lanes) if (lane.kind === kind && !lane.opened) return;
    const lane = new Lane(kind);
    this.#lanes.add(lane);
    const attempt = (): Attempt => {
      lane.after = this.#cursor ?? "live";
      return { after: lane.after, snapshot: this.#options.snapshot === true && this.#cursor === 0, ticket: this.#ticket, heartbeatMs: this.#options.heartbeatMs ?? null };
    };
    const alive = <Args extends unknown[]>(run: (...args: Args) => void) => (...args: Args) => {
      if (this.#lanes.has(lane)) run(...args);
    };
    const sink: Sink = {
      opened: alive((open, retryMs) => this.#opened(lane, open, retryMs)),
      event: alive((event) => this.#event(lane, event)),
      silent: alive(() => this.#silent(lane)),
      rtt: alive((ms) => (this.#rtt = ms)),
      bye: alive((code, retryMs) => this.#bye(lane, code, retryMs)),
      closed: alive((error) => this.#closed(lane, error)),
      failed: alive((error) => this.#refused(lane, error)),
      over: alive(() => this.#finish({ reason: "over", end: null, error: null })),
      full: () => this.#full(),
    };
    this.#await(lane);
    lane.connection = kind === "sse" ? openSse(this.#environment, this.#target!, attempt(), sink) : this.#gateway!.connect(this.#target!, attempt, sink);
  }

  #await(lane: Lane): void {
    lane.cancelTimer = this.#environment.later(OPEN_MS, () => {
      if (lane.kind === "sse" && this.#gateway!.streaming >= QUEUEING) this.#await(lane);
      else this.#closed(lane, unreachable("no answer in time"));
    });
  }

  #opened(lane: Lane, open: Open, retryMs: number | null): void {
    const { after, tail } = open;
    if (!Number.isSafeInteger(after) || (lane.after !== "live" && after !== lane.after)) return this.#fault(lane, protocolError(`asked for ${lane.after}, begins at ${after}`));
    if (this.#cursor === null) this.#cursor = after;
    // Two that asked for "live" may have been told different places.
    else if (lane.after === "live" && after !== this.#cursor) return this.#fault(lane, null);
    lane.opened = true;
    lane.cancelTimer();
    if (lane.kind === "sse") this.#gateway!.streaming++;
    lane.openedAt = this.#environment.now();
    if (retryMs !== null) this.#backoff.retryMs = Math.min(Math.max(retryMs, 100), Backoff.CAP_MS);
    const old = this.#leader;
    if (old !== null && old !== lane && !old.suspect && old.kind === "webtransport" && lane.kind === "sse") return this.#close(lane);
    this.#leader = lane;
    this.#transport = lane.kind;
    this.#opens++;
    this.#tail = Math.max(this.#tail, Number(tail) || 0);
    // A WebTransport that is still on its way is waited for; everything else has lost.
    for (const other of [...this.#lanes]) if (other !== lane && (other.opened || other.kind === "sse")) this.#close(other);
    if (lane.kind === "webtransport") this.#cancelRace();
    this.#planUpgrade();
    this.#become("open");
    this.#guard(() => this.#options.onOpen?.(open, lane.kind));
  }

  /** On SSE, though it need not be: looks again later, once. */
  #planUpgrade(): void {
    this.#cancelUpgrade();
    if ((this.#options.transport ?? "auto") !== "auto" || this.#leader?.kind !== "sse") return;
    const wait = this.#gateway!.retryIn();
    if (wait === null) return;
    this.#cancelUpgrade = this.#environment.later(Math.max(UPGRADE_MS, wait), () => {
      if (this.#leader?.kind === "sse" && this.#gateway!.refusal() === null) this.#open("webtransport");
    });
  }

  #event(lane: Lane, event: { id: number | null; event: string; data: unknown }): void {
    if (lane !== this.#leader || this.#cursor === null) return;
    let group;
    try {
      group = lane.accept(event, this.#cursor);
    } catch (error) {
      return this.#fault(lane, error as TokencastError);
    }
    if (group === null) return;
    lane.progressed = true;
    lane.suspect = false;
    this.#faults = this.#handshakes = this.#ticketRefused = 0;
    this.#backoff.succeeded();
    this.#cursor = event.event === "end" ? Math.max(event.id!, this.#cursor) : event.id!;
    this.#lastEvent = this.#environment.now();
    this.#meter.note(this.#lastEvent, this.#cursor);
    for (const item of group) if (known(item)) this.#tell(item);
    if (event.event === "end") {
      const end = event.data as End;
      this.#guard(() => this.#options.onEnd?.(end));
      this.#finish({ reason: "ended", end, error: null });
    }
  }

  #tell(event: StreamEvent): void {
    if (this.outcome !== null) return;
    try {
      this.fold.push(event);
    } catch (cause) {
      return this.#fail(protocolError(`${event.event} with data that is none: ${(cause as Error).message}`));
    }
    this.#events++;
    if (this.#firstToken === null && /^(text|reasoning|refusal|tool_call|snapshot)$/.test(event.event)) this.#firstToken = this.#lastEvent - this.#began;
    for (const queue of this.#queues) queue.push(event);
    this.#guard(() => this.#options.onEvent?.(event));
    for (const painter of this.#painters) painter.touch();
  }

  #full(): Promise<void> | null {
    for (const queue of this.#queues) {
      const full = queue.full();
      if (full !== null) return full;
    }
    return null;
  }

  #silent(lane: Lane): void {
    if (lane !== this.#leader || lane.suspect) return;
    lane.suspect = true;
    this.#connect();
  }

  /** What it said does not fit. Another connection may; a gateway that keeps on is given up. */
  #fault(lane: Lane, error: TokencastError | null): void {
    this.#close(lane);
    if (error !== null && ++this.#faults >= FAULTS_MAX) return this.#fail(error);
    if (this.#leader === null && this.#lanes.size === 0) this.#retry(error, null);
  }

  #bye(lane: Lane, code: string, retryMs: number): void {
    this.#close(lane);
    if (this.#leader !== null || this.#lanes.size > 0) return;
    if (code === "ticket_expired" && this.#renew()) return this.#connect();
    this.#retry(null, retryMs > 0 ? retryMs : null);
  }

  #closed(lane: Lane, error: TokencastError): void {
    const steady = lane.progressed || (lane.opened && this.#environment.now() - lane.openedAt >= STEADY_MS);
    if (error.code === "protocol_error") return this.#fault(lane, error);
    this.#close(lane);
    if (steady) this.#backoff.succeeded();
    // An upgrade that came to nothing.
    if (this.#leader !== null && !this.#leader.suspect) return this.#planUpgrade();
    if (lane.kind === "webtransport" && !lane.opened) {
      if (this.#options.transport !== "webtransport") {
        this.#cancelRace();
        return this.#open("sse");
      }
      if (error.code === "webtransport_unavailable") return this.#fail(error);
      if (error.code === "webtransport_failed" && ++this.#handshakes >= 2 && this.#opens === 0) return this.#fail(error);
    }
    if ([...this.#lanes].some((other) => other !== this.#leader)) return;
    // Browsers punish who hammers.
    const floor = error.code === "webtransport_failed" ? 2000 : error.retryMs;
    // A session that stood is tried again at once, and once; SSE comes along if it takes long.
    const now = lane.kind === "webtransport" && steady ? this.#environment.random() * 100 : null;
    this.#retry(error, floor, now);
  }

  #refused(lane: Lane, error: TokencastError): void {
    if (error.transient) return this.#closed(lane, error);
    this.#close(lane);
    const credential = error.code === "ticket_expired" || error.code === "invalid_ticket" || error.code === "unauthorized";
    if (credential && this.#ticketRefused++ === 0 && this.#renew()) {
      this.#closeLanes();
      return this.#connect();
    }
    this.#fail(error);
  }

  /** Whether there is somebody to ask for another ticket. */
  #renew(): boolean {
    if (typeof this.#options.ticket !== "function") return false;
    this.#ticketAsked = false;
    return true;
  }

  #retry(error: TokencastError | null, floor: number | null, exact: number | null = null): void {
    if (this.outcome !== null || this.#state === "suspended") return;
    if (error !== null && this.#opens === 0 && this.#backoff.failures + 1 >= this.#attemptsMax) return this.#fail(error);
    const jittered = this.#backoff.next(floor);
    this.#become("waiting");
    this.#cancelRetry();
    this.#cancelRetry = this.#environment.later(exact ?? jittered, () => this.#connect());
  }

  #page(event: PageEvent): void {
    if (this.outcome !== null) return;
    if (event === "pagehide") {
      this.#closeLanes();
      this.#cancelRetry();
      this.#become("suspended");
      return;
    }
    if (event === "hidden") return;
    if (this.#state === "suspended") {
      if (event !== "pageshow") return;
      this.#state = "connecting";
      this.#connect();
    } else if (this.#state === "waiting") this.#connect();
    else if (event === "online" || this.#leader?.kind === "webtransport") this.#leader?.connection?.probe();
  }

  #close(lane: Lane): void {
    if (!this.#lanes.delete(lane)) return;
    lane.cancelTimer();
    if (lane.opened && lane.kind === "sse") this.#gateway!.streaming--;
    if (this.#leader === lane) this.#leader = null;
    lane.connection?.close();
  }

  #closeLanes(): void {
    this.#cancelRace();
    this.#cancelUpgrade();
    for (const lane of [...this.#lanes]) this.#close(lane);
  }

  #become(state: State): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#guard(() => this.#options.onState?.(state));
    for (const painter of this.#painters) painter.touch();
  }

  #fail(error: TokencastError): void {
    this.#finish({ reason: "failed", end: null, error });
  }

  #finish(outcome: Outcome): void {
    if (this.outcome !== null) return;
    this.outcome = outcome;
    this.#closeLanes();
    this.#cancelRetry();
    this.#unlisten();
    this.#become("finished");
    if (outcome.error !== null) {
      const { error } = outcome;
      this.#guard(() => this.#options.onError?.(error));
    }
    for (const queue of this.#queues) queue.end(outcome.error);
    this.#queues.clear();
    if (outcome.reason === "closed") {
      for (const painter of this.#painters) painter.stop();
      this.#painters.clear();
    }
    this.#settle(outcome);
  }

  /** What a callback throws is its own affair: reported, and not ours to stumble over. */
  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      if (typeof reportError === "function") reportError(error);
      else console.error(error);
    }
  }
}
