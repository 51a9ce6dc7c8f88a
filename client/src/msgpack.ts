/** As much of MessagePack as the wire needs: everything but extensions, which are skipped and read as null. */

const DEPTH_MAX = 64;
const utf8 = new TextDecoder();
const encoder = new TextEncoder();

export function decode(bytes: Uint8Array): unknown {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const skip = (length: number): number => {
    const start = at;
    if (length > bytes.length - start) throw new RangeError("MessagePack breaks off");
    at += length;
    return start;
  };
  const uint = (width: number): number => {
    const start = skip(width);
    if (width === 1) return view.getUint8(start);
    if (width === 2) return view.getUint16(start);
    if (width === 4) return view.getUint32(start);
    return Number(view.getBigUint64(start));
  };
  const int = (width: number): number => {
    const start = skip(width);
    if (width === 1) return view.getInt8(start);
    if (width === 2) return view.getInt16(start);
    if (width === 4) return view.getInt32(start);
    return Number(view.getBigInt64(start));
  };
  const slice = (length: number): Uint8Array => {
    const start = skip(length);
    return bytes.subarray(start, start + length);
  };
  const text = (length: number): string => utf8.decode(slice(length));
  const array = (length: number, depth: number): unknown[] => {
    if (length > bytes.length - at) throw new RangeError("MessagePack breaks off");
    const items = [];
    for (let i = 0; i < length; i++) items.push(value(depth));
    return items;
  };
  const map = (length: number, depth: number): Record<string, unknown> => {
    if (length > bytes.length - at) throw new RangeError("MessagePack breaks off");
    const object: Record<string, unknown> = {};
    for (let i = 0; i < length; i++) {
      const key = String(value(depth));
      const item = value(depth);
      // Assigning to __proto__ would set the prototype; JSON.parse makes it a member, and so do we.
      if (key === "__proto__") Object.defineProperty(object, key, { value: item, enumerable: true, configurable: true, writable: true });
      else object[key] = item;
    }
    return object;
  };
  const extension = (length: number): null => (skip(length + 1), null);
  const value = (depth: number): unknown => {
    if (depth > DEPTH_MAX) throw new RangeError("MessagePack is nested too deeply");
    const kind = uint(1);
    if (kind < 0x80) return kind;
    if (kind < 0x90) return map(kind & 0x0f, depth + 1);
    if (kind < 0xa0) return array(kind & 0x0f, depth + 1);
    if (kind < 0xc0) return text(kind & 0x1f);
    if (kind >= 0xe0) return kind - 0x100;
    if (kind === 0xc0) return null;
    if (kind === 0xc2 || kind === 0xc3) return kind === 0xc3;
    if (kind >= 0xc4 && kind <= 0xc6) return slice(uint(1 << (kind - 0xc4)));
    if (kind >= 0xc7 && kind <= 0xc9) return extension(uint(1 << (kind - 0xc7)));
    if (kind === 0xca) return view.getFloat32(skip(4));
    if (kind === 0xcb) return view.getFloat64(skip(8));
    if (kind >= 0xcc && kind <= 0xcf) return uint(1 << (kind - 0xcc));
    if (kind >= 0xd0 && kind <= 0xd3) return int(1 << (kind - 0xd0));
    if (kind >= 0xd4 && kind <= 0xd8) return extension(1 << (kind - 0xd4));
    if (kind >= 0xd9 && kind <= 0xdb) return text(uint(1 << (kind - 0xd9)));
    if (kind === 0xdc || kind === 0xdd) return array(uint(kind === 0xdc ? 2 : 4), depth + 1);
    if (kind === 0xde || kind === 0xdf) return map(uint(kind === 0xde ? 2 : 4), depth + 1);
    throw new RangeError(`0x${kind.toString(16)} is no MessagePack`);
  };
  const result = value(0);
  if (at !== bytes.length) throw new RangeError("bytes behind the MessagePack");
  return result;
}

/** Null, booleans, finite numbers, strings, arrays, plain objects; members that are undefined are left out. */
export function encode(value: unknown): Uint8Array<ArrayBuffer> {
  const out: number[] = [];
  const big = (number: bigint | number, width: number): void => {
    for (let shift = BigInt(width - 1) * 8n; shift >= 0n; shift -= 8n) out.push(Number((BigInt(number) >> shift) & 0xffn));
  };
  const head = (length: number, fix: number, fixMax: number, wide: number, byte: boolean): void => {
    if (length <= fixMax) out.push(fix | length);
    else if (byte && length < 0x100) out.push(wide - 1, length);
    else if (length < 0x10000) (out.push(wide), big(length, 2));
    else (out.push(wide + 1), big(length, 4));
  };
  const write = (item: unknown): void => {
    if (item === null || item === undefined) out.push(0xc0);
    else if (typeof item === "boolean") out.push(item ? 0xc3 : 0xc2);
    else if (typeof item === "number") {
      if (!Number.isSafeInteger(item) || Object.is(item, -0)) {
        const view = new DataView(new ArrayBuffer(8));
        view.setFloat64(0, item);
        out.push(0xcb, ...new Uint8Array(view.buffer));
      } else if (item >= 0) {
        if (item < 0x80) out.push(item);
        else if (item < 0x100) out.push(0xcc, item);
        else if (item < 0x10000) (out.push(0xcd), big(item, 2));
        else if (item < 0x100000000) (out.push(0xce), big(item, 4));
        else (out.push(0xcf), big(item, 8));
      } else if (item >= -0x20) out.push(item + 0x100);
      else (out.push(0xd3), big(item, 8));
    } else if (typeof item === "string") {
      const bytes = encoder.encode(item);
      head(bytes.length, 0xa0, 31, 0xda, true);
      for (const byte of bytes) out.push(byte);
    } else if (Array.isArray(item)) {
      head(item.length, 0x90, 15, 0xdc, false);
      for (const entry of item) write(entry);
    } else {
      const entries = Object.entries(item as object).filter(([, member]) => member !== undefined);
      head(entries.length, 0x80, 15, 0xde, false);
      for (const [key, member] of entries) (write(key), write(member));
    }
  };
  write(value);
  return Uint8Array.from(out);
}
