/** Cuts a byte stream into records: u32 big-endian length, then so many bytes. Chunks may end anywhere; linear. */
export declare class Records {
    #private;
    readonly bytesMax: number;
    /** What stands behind the last record is none: thrown at once only where no record is in front of it. */
    fault: RangeError | null;
    /** What has been begun and not ended; a stream must not finish here. */
    get partial(): boolean;
    constructor(bytesMax?: number);
    push(chunk: Uint8Array): Uint8Array[];
}
/** One record of what goes to the gateway. */
export declare function record(body: Uint8Array): Uint8Array<ArrayBuffer>;
