/** A stream at a gateway. */
export interface Target {
    /** What stands before /v1, without a slash at its end. */
    gateway: string;
    id: string;
    /** What the URL's query said. */
    ticket: string | null;
    after: string | null;
}
/** Takes a stream's URL or that of its events; a relative one is taken from the page. */
export declare function parseTarget(url: string | URL, base: string | undefined): Target;
