/** Cuts a byte stream into records: u32 big-endian length, then so many bytes. Chunks may end anywhere; linear. */
export class Records {
  #head = new Uint8Array(4);
  #headLength = 0;
  #body: Uint8Array | null = null;
  #filled = 0;

  /** What stands behind the last record is none: thrown at once only where no record is in front of it. */
  fault: RangeError | null = null;

  /** What has been begun and not ended; a stream must not finish here. */
  get partial(): boolean {
    return this.#headLength > 0 || this.#body !== null;
  }

  constructor(readonly bytesMax = 32 * 1024 * 1024) {}

  push(chunk: Uint8Array): Uint8Array[] {
    if (this.fault !== null) throw this.fault;
    const records: Uint8Array[] = [];
    let at = 0;
    while (at < chunk.length) {
      if (this.#body === null) {
        this.#head[this.#headLength++] = chunk[at++]!;
        if (this.#headLength < 4) continue;
        const length = new DataView(this.#head.buffer).getUint32(0);
        if (length === 0 || length > this.bytesMax) {
          this.fault = new RangeError(`a record of ${length} bytes`);
          if (records.length === 0) throw this.fault;
          return records;
        }
        this.#headLength = 0;
        // A record that is whole in this chunk needs no copy.
        if (length <= chunk.length - at) {
          records.push(chunk.subarray(at, at + length));
          at += length;
        } else {
          // Grown by what has really come, so that a lying length costs nothing.
          this.#body = new Uint8Array(Math.min(length, 64 * 1024));
          this.#filled = 0;
          this.#length = length;
        }
      } else {
        const take = Math.min(this.#length - this.#filled, chunk.length - at);
        if (this.#filled + take > this.#body.length) {
          const grown = new Uint8Array(Math.min(this.#length, Math.max(this.#body.length * 2, this.#filled + take)));
          grown.set(this.#body.subarray(0, this.#filled));
          this.#body = grown;
        }
        this.#body.set(chunk.subarray(at, at + take), this.#filled);
        this.#filled += take;
        at += take;
        if (this.#filled === this.#length) {
          records.push(this.#body.subarray(0, this.#length));
          this.#body = null;
        }
      }
    }
    return records;
  }

  #length = 0;
}

/** One record of what goes to the gateway. */
export function record(body: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4 + body.length);
  new DataView(bytes.buffer).setUint32(0, body.length);
  bytes.set(body, 4);
  return bytes;
}
