// What stands on a stream: u32 big-endian length, then so many bytes of MessagePack. Runs in the page and in Node.
import { decode, encode } from '../node_modules/@msgpack/msgpack/dist.esm/index.mjs'

export const HEADER = 0, FRAME = 1, HEARTBEAT = 2, ERROR = 3, BYE = 4, END = 5

const RECORD_BYTES_MAX = 32 << 20

/** Cuts bytes into decoded values, however they are chunked. */
export class Splitter {
  #rest = new Uint8Array(0)

  push(chunk) {
    const bytes = new Uint8Array(this.#rest.length + chunk.length)
    bytes.set(this.#rest)
    bytes.set(chunk, this.#rest.length)
    const view = new DataView(bytes.buffer)
    const values = []
    let at = 0
    while (bytes.length - at >= 4) {
      const length = view.getUint32(at)
      if (length === 0 || length > RECORD_BYTES_MAX) throw new Error(`a length of ${length}`)
      if (bytes.length - at - 4 < length) break
      // decode() throws where a value is short of its length, or bytes are left behind it.
      values.push(decode(bytes.subarray(at + 4, at + 4 + length)))
      at += 4 + length
    }
    this.#rest = bytes.slice(at)
    return values
  }

  /** Bytes of a value that is not whole. */
  get rest() {
    return this.#rest.length
  }
}

/** One value with its length in front. */
export function framed(value) {
  const body = encode(value)
  const bytes = new Uint8Array(4 + body.length)
  new DataView(bytes.buffer).setUint32(0, body.length)
  bytes.set(body, 4)
  return bytes
}
