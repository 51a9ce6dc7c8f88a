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
    createBidirectionalStream(): Promise<{
        readable: ReadableStream<Uint8Array>;
        writable: WritableStream<Uint8Array>;
    }>;
    close(info?: {
        closeCode: number;
        reason: string;
    }): void;
}
/** The page, worker or process that this runs in. */
export declare function surroundings(): Environment;
