/** The calls of the gateway that this page is from. docs/protocol.md has them all. */

export interface Facts {
  id: string;
  status: string;
  provider: string;
  model: string | null;
  usage: { input: number | null; output: number | null } | null;
  blocks: number;
  frames: number;
  bytes: number;
  viewers: number;
  ttft_ms: number | null;
  metadata: unknown;
  started_at: string;
  ended_at: string | null;
  expires_at: string | null;
}

export interface Whole extends Facts {
  upstream_id: string | null;
  end: { reason: string; code: string | null; message: string | null; finish: string | null } | null;
  hash: string;
}

export interface Provider {
  name: string;
  dialect: string;
  models: string[];
}

export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

const KEY = "tokencast.key";

export class Gateway {
  key: string | null = remembered();

  use(key: string | null): void {
    this.key = key;
    try {
      if (key === null) sessionStorage.removeItem(KEY);
      else sessionStorage.setItem(KEY, key);
    } catch {
      // Denied by the browser's settings: it is kept until the page goes.
    }
  }

  async providers(): Promise<Provider[]> {
    return (await this.#json<{ providers: Provider[] }>("v1/providers")).providers;
  }

  async streams(status: string): Promise<Facts[]> {
    const query = new URLSearchParams({ limit: "100" });
    if (status !== "") query.set("status", status);
    return (await this.#json<{ streams: Facts[] }>(`v1/streams?${query}`)).streams;
  }

  state(id: string): Promise<Whole> {
    return this.#json<Whole>(`v1/streams/${id}`);
  }

  start(provider: string, request: object): Promise<{ id: string }> {
    const body = JSON.stringify({ provider, request });
    return this.#json("v1/streams", { method: "POST", body, headers: { "content-type": "application/json" } });
  }

  stop(id: string): Promise<unknown> {
    return this.#json(`v1/streams/${id}`, { method: "DELETE" });
  }

  /** The provider's bytes, as far as they have come when it is running no more. */
  async raw(id: string): Promise<Blob> {
    return (await this.#call(`v1/streams/${id}/raw`)).blob();
  }

  async #json<T>(path: string, init: RequestInit = {}): Promise<T> {
    return (await this.#call(path, init)).json() as Promise<T>;
  }

  async #call(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.key !== null) headers.set("authorization", `Bearer ${this.key}`);
    const response = await fetch(path, { ...init, headers, cache: "no-store" });
    if (response.ok) return response;
    const said = (await response.json().catch(() => null)) as { error?: { code: string; message: string } } | null;
    throw new Refused(response.status, said?.error?.code ?? "unknown", said?.error?.message ?? `the gateway answered ${response.status}`);
  }
}

function remembered(): string | null {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}
