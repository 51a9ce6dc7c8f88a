export interface SseEvent {
    id: string | null;
    event: string;
    data: string;
}
/** Incremental and linear: every character is looked at once, whatever the chunks. Lines end in LF, CR or CRLF. */
export declare class SseParser {
    #private;
    readonly charsMax: number;
    /** The last `retry` that was said. */
    retryMs: number | null;
    constructor(charsMax?: number);
    push(chunk: Uint8Array): SseEvent[];
}
