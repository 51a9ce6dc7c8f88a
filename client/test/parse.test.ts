import assert from "node:assert/strict";
import { test } from "node:test";
import { encode } from "../src/msgpack.js";
import { Records, record } from "../src/records.js";
import { SseParser } from "../src/sse.js";
import { join } from "./world.js";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

const BODY = "\ufeffretry: 640\r\nid: 0\r\nevent: open\r\ndata: {\"a\":1}\r\n\r\n: hb\n\nid: 2\revent: text\rdata:Grüße 🦀\rdata: two\r\r\n\nevent: nothing\n\nid: 5\ndata\n\ndata: last\n\ndata: cut";
const EVENTS = [
  { id: "0", event: "open", data: '{"a":1}' },
  { id: "2", event: "text", data: "Grüße 🦀\ntwo" },
  { id: "5", event: "message", data: "" },
  { id: null, event: "message", data: "last" },
];

test("SSE: any two cuts give the same events", () => {
  const all = bytes(BODY);
  for (let first = 0; first <= all.length; first++) {
    for (let second = first; second <= all.length; second += 7) {
      const parser = new SseParser();
      const events = [all.subarray(0, first), all.subarray(first, second), all.subarray(second)].flatMap((chunk) => parser.push(chunk));
      assert.deepEqual(events, EVENTS);
      assert.equal(parser.retryMs, 640);
    }
  }
});

test("SSE: byte by byte, with empty chunks between", () => {
  const parser = new SseParser();
  const events = [...bytes(BODY)].flatMap((byte) => [...parser.push(Uint8Array.of(byte)), ...parser.push(new Uint8Array())]);
  assert.deepEqual(events, EVENTS);
});

test("SSE: a line without an end is bounded", () => {
  const parser = new SseParser(1000);
  assert.throws(() => {
    for (let i = 0; i < 100; i++) parser.push(bytes("x".repeat(100)));
  }, RangeError);
  const many = new SseParser(1000);
  assert.throws(() => many.push(bytes("data: yyyyyyyyyyyyyyyyyyyy\n".repeat(100))), RangeError);
});

test("records: every cut, and byte by byte", () => {
  const bodies = [encode([2]), encode({ text: "x".repeat(300) }), encode([0, { a: 1 }])];
  const all = join(bodies.map(record));
  for (let cut = 0; cut <= all.length; cut++) {
    const records = new Records();
    const read = [all.subarray(0, cut), all.subarray(cut)].flatMap((chunk) => records.push(chunk));
    assert.deepEqual(read.map((item) => [...item]), bodies.map((item) => [...item]));
    assert.equal(records.partial, false);
  }
  const records = new Records();
  assert.deepEqual([...all].flatMap((byte) => records.push(Uint8Array.of(byte))).map((item) => [...item]), bodies.map((item) => [...item]));
});

test("records: a record larger than what is set aside for it grows", () => {
  const body = new Uint8Array(300_000).map((_, at) => at % 251);
  const all = record(body);
  const records = new Records();
  const read = [];
  for (let at = 0; at < all.length; at += 1000) read.push(...records.push(all.subarray(at, at + 1000)));
  assert.equal(read.length, 1);
  assert.deepEqual(read[0], body);
});

test("records: a length of nothing or of too much is refused", () => {
  assert.throws(() => new Records().push(Uint8Array.of(0, 0, 0, 0)), RangeError);
  assert.throws(() => new Records(100).push(Uint8Array.of(0, 0, 0, 101)), RangeError);
});
