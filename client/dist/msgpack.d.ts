/** As much of MessagePack as the wire needs: everything but extensions, which are skipped and read as null. */
export declare function decode(bytes: Uint8Array): unknown;
/** Null, booleans, finite numbers, strings, arrays, plain objects; members that are undefined are left out. */
export declare function encode(value: unknown): Uint8Array<ArrayBuffer>;
