import type { Environment } from "./environment.js";
import { TokencastError } from "./error.js";
import { handshakeFailed, Session } from "./session.js";
import type { Attempt, Connection, Sink } from "./source.js";
import { unreachable } from "./sse-source.js";
import type { Target } from "./target.js";

const REMEMBER_MS = 15 * 60_000;
const LOCATE_MS = 5000;

/** Why WebTransport is not used in this browser, or null. */
export function unsupported(environment: Environment): string | null {
  const agent = environment.userAgent;
  if (environment.WebTransport === undefined) return "this browser has no WebTransport, or the page is not served securely";
  const apple = /iP(hone|ad|od)/.test(agent) || (/Macintosh/.test(agent) && environment.touch);
  if (apple || (/Safari\//.test(agent) && !/Chrom(e|ium)\//.test(agent))) return "WebTransport stalls in Safari";
  const firefox = /Firefox\/(\d+)/.exec(agent);
  if (firefox !== null && Number(firefox[1]) < 153) return "Firefox before 153 allows too few streams";
  return null;
}

/** What a page knows of one gateway: its sessions, and whether WebTransport gets through. */
export class Gateway {
  /** Streams that are open over SSE. A browser has six connections of HTTP/1.1 for them; more have to queue. */
  streaming = 0;
  #sessions: Session[] = [];
  #opening: Promise<Session> | null = null;
  #failedUntil = 0;
  /** A session has stood here before: a failure is then the gateway's restart rather than the network's refusal. */
  #worked = false;

  constructor(
    readonly environment: Environment,
    readonly url: string,
  ) {
    environment.listen((event) => {
      if (event === "online") this.forgive();
      // An open session would keep the page out of the back/forward cache.
      if (event === "pagehide") for (const session of [...this.#sessions]) session.close();
    });
  }

  /** Why WebTransport is not tried now, or null. */
  refusal(): string | null {
    return unsupported(this.environment) ?? (this.#wait() > 0 ? "WebTransport failed here within the last 15 minutes" : null);
  }

  /** Milliseconds until WebTransport may be tried again. */
  #wait(): number {
    const until = Number(this.#stored()?.getItem(this.#key) ?? 0);
    return Math.max(this.#failedUntil, Number.isFinite(until) ? until : 0) - this.environment.wall();
  }

  /** When a follower on SSE may look again; null for never. */
  retryIn(): number | null {
    return unsupported(this.environment) === null ? Math.max(0, this.#wait()) : null;
  }

  /** The network is another one. */
  forgive(): void {
    this.#failedUntil = 0;
    this.#store("0");
  }

  connect(target: Target, attempt: () => Attempt, sink: Sink): Connection {
    let closed = false;
    let connection: Connection | null = null;
    const place = async (): Promise<void> => {
      while (!closed) {
        const session = this.#sessions.find(({ takes }) => takes) ?? (await this.#opened());
        if (closed) return;
        if (session.state === "closed") throw handshakeFailed();
        // Looked at and taken in one breath: others wait for the same session.
        if (session.takes) return void (connection = session.subscribe(target, attempt, sink));
      }
    };
    place().catch((error: TokencastError) => {
      if (!closed) sink.closed(error);
    });
    return {
      close() {
        closed = true;
        connection?.close();
      },
      probe: () => connection?.probe(),
      stop: () => connection?.stop?.(),
    };
  }

  /** A new session; callers of the same moment share it. */
  #opened(): Promise<Session> {
    this.#opening ??= this.#open().finally(() => (this.#opening = null));
    return this.#opening;
  }

  async #open(): Promise<Session> {
    const { environment } = this;
    const { url, hashes } = await this.#locate();
    const session = new Session(
      environment,
      url,
      hashes,
      (ready) => {
        if (ready) {
          this.#worked = true;
          return;
        }
        this.#failed(this.#worked ? 60_000 : REMEMBER_MS);
        this.#worked = false;
      },
      (gone) => (this.#sessions = this.#sessions.filter((other) => other !== gone)),
    );
    if (session.state !== "closed") this.#sessions.push(session);
    return session;
  }

  /** Asked for every session: certificates of development change. That the gateway does not answer says nothing about WebTransport. */
  async #locate(): Promise<{ url: string; hashes: Uint8Array<ArrayBuffer>[] }> {
    const abort = new AbortController();
    const cancel = this.environment.later(LOCATE_MS, () => abort.abort());
    try {
      const response = await this.environment.fetch(`${this.url}/v1/webtransport`, { signal: abort.signal, cache: "no-store", credentials: "omit" });
      if (response.status >= 500) throw unreachable(`it answered ${response.status}`);
      const said = response.status === 200 ? ((await response.json()) as { url: string | null; certificate_hashes: { algorithm: string; value: string }[] }) : null;
      if (typeof said?.url !== "string") {
        this.#failed(REMEMBER_MS);
        throw new TokencastError("webtransport_unavailable", "WebTransport is off at this gateway");
      }
      const hashes = said.certificate_hashes.filter(({ algorithm }) => algorithm === "sha-256").map(({ value }) => bytes(value));
      return { url: said.url, hashes };
    } catch (cause) {
      if (cause instanceof TokencastError) throw cause;
      throw unreachable(String((cause as Error)?.message ?? cause));
    } finally {
      cancel();
    }
  }

  #failed(ms: number): void {
    this.#failedUntil = this.environment.wall() + ms;
    this.#store(String(this.#failedUntil));
  }

  get #key(): string {
    return `tokencast.webtransport.failed ${this.url}`;
  }

  #stored(): Storage | undefined {
    try {
      return this.environment.storage();
    } catch {
      return undefined;
    }
  }

  #store(until: string): void {
    try {
      this.#stored()?.setItem(this.#key, until);
    } catch {
      // Full or denied: memory has it.
    }
  }
}

function bytes(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

const gateways = new WeakMap<Environment, Map<string, Gateway>>();

export function gatewayAt(environment: Environment, url: string): Gateway {
  let known = gateways.get(environment);
  if (known === undefined) gateways.set(environment, (known = new Map()));
  let gateway = known.get(url);
  if (gateway === undefined) known.set(url, (gateway = new Gateway(environment, url)));
  return gateway;
}
