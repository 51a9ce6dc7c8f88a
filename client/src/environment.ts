/** Everything that is not logic: clock, network, page. Tests hand in their own. */
export interface Environment {
  /** Milliseconds, never back. */
  now(): number;
  /** Milliseconds since 1970: what outlives the page. */
  wall(): number;
  random(): number;
  later(ms: number, run: () => void): Cancel;
  fetch: typeof fetch;
  WebTransport: (new (url: string, options?: object) => Transport) | undefined;
  storage(): Storage | undefined;
  userAgent: string;
  touch: boolean;
  /** The URL that relative ones are taken from, and whose origin is the page's. */
  base: string | undefined;
  visible(): boolean;
  frame: ((run: () => void) => Cancel) | undefined;
  /** Told of: the network is back, the page is shown or hidden, the page goes into or comes out of the cache. */
  listen(heard: (event: PageEvent) => void): Cancel;
}

export type Cancel = () => void;
export type PageEvent = "online" | "visible" | "hidden" | "pagehide" | "pageshow";

/** As much of WebTransport as is used here. */
export interface Transport {
  ready: Promise<unknown>;
  closed: Promise<unknown>;
  incomingUnidirectionalStreams: ReadableStream<ReadableStream<Uint8Array>>;
  createBidirectionalStream(): Promise<{ readable: ReadableStream<Uint8Array>; writable: WritableStream<Uint8Array> }>;
  close(info?: { closeCode: number; reason: string }): void;
}

type Scope = typeof globalThis & { WebTransport?: unknown; navigator?: Navigator };

/** The page, worker or process that this runs in. */
export function surroundings(): Environment {
  const scope = globalThis as Scope;
  const page = typeof document === "undefined" ? undefined : document;
  return {
    now: () => performance.now(),
    wall: Date.now,
    random: Math.random,
    later(ms, run) {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
    fetch: (...args) => fetch(...args),
    WebTransport: scope.WebTransport as Environment["WebTransport"],
    storage() {
      try {
        return scope.sessionStorage;
      } catch {
        // Denied by the browser's settings.
        return undefined;
      }
    },
    userAgent: scope.navigator?.userAgent ?? "",
    touch: (scope.navigator?.maxTouchPoints ?? 0) > 1,
    base: typeof location === "undefined" ? undefined : location.href,
    visible: () => page === undefined || page.visibilityState !== "hidden",
    frame:
      typeof requestAnimationFrame === "undefined"
        ? undefined
        : (run) => {
            const handle = requestAnimationFrame(run);
            return () => cancelAnimationFrame(handle);
          },
    listen(heard) {
      const changed = (): void => heard(page!.visibilityState === "hidden" ? "hidden" : "visible");
      const told = (event: Event): void => heard(event.type as PageEvent);
      page?.addEventListener("visibilitychange", changed);
      const names = ["online", "pagehide", "pageshow"];
      for (const name of names) scope.addEventListener?.(name, told);
      return () => {
        page?.removeEventListener("visibilitychange", changed);
        for (const name of names) scope.removeEventListener?.(name, told);
      };
    },
  };
}
