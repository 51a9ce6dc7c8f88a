import assert from "node:assert/strict";
import { test } from "node:test";
import * as oracle from "@msgpack/msgpack";
import { decode, encode } from "../src/msgpack.js";

const numbers = [0, 1, 127, 128, 255, 256, 65535, 65536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER, -1, -32, -33, -128, -129, -32768, -32769, -(2 ** 31), -(2 ** 31) - 1, Number.MIN_SAFE_INTEGER, 0.5, -0.1, 1e300, Infinity, -Infinity];
const strings = ["", "a", "x".repeat(31), "x".repeat(32), "ü".repeat(127), "x".repeat(255), "x".repeat(256), "🦀".repeat(16384), "x".repeat(65536)];
const arrays = [[], [1], Array(15).fill(null), Array(16).fill(true), Array(65536).fill(7)];
const maps = [{}, { a: 1 }, Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`k${i}`, i])), Object.fromEntries(Array.from({ length: 70000 }, (_, i) => [`k${i}`, i]))];
const values: unknown[] = [null, true, false, ...numbers, ...strings, ...arrays, ...maps, { a: [{ b: [null, { c: "d" }] }] }];

test("what the oracle writes is read", () => {
  for (const value of values) assert.deepEqual(decode(oracle.encode(value)), value);
  assert.deepEqual(decode(oracle.encode(1.5, { forceFloat32: true })), 1.5);
  assert.deepEqual(decode(oracle.encode(new Uint8Array([1, 2, 3]))), new Uint8Array([1, 2, 3]));
});

test("what is written the oracle reads", () => {
  // The oracle itself writes -0 as the integer.
  for (const value of [...values, -0]) assert.deepEqual(oracle.decode(encode(value)), value);
});

test("every width of every integer", () => {
  for (const bytes of [[0xcc, 7], [0xcd, 0, 7], [0xce, 0, 0, 0, 7], [0xcf, 0, 0, 0, 0, 0, 0, 0, 7], [0xd0, 7], [0xd1, 0, 7], [0xd2, 0, 0, 0, 7], [0xd3, 0, 0, 0, 0, 0, 0, 0, 7]]) assert.equal(decode(Uint8Array.from(bytes)), 7);
  for (const bytes of [[0xd0, 0xf9], [0xd1, 0xff, 0xf9], [0xd2, 0xff, 0xff, 0xff, 0xf9], [0xd3, ...Array(7).fill(0xff), 0xf9]]) assert.equal(decode(Uint8Array.from(bytes)), -7);
});

test("an extension is skipped", () => {
  for (const size of [1, 2, 4, 8, 16, 17, 300, 70000]) {
    const extended = oracle.encode([new oracle.ExtData(5, new Uint8Array(size)), "next"]);
    assert.deepEqual(decode(extended), [null, "next"]);
  }
});

test("garbage is a RangeError, wherever it breaks off", () => {
  const whole = encode({ a: [1, "two", { three: 3.5 }], b: 2 ** 40 });
  for (let cut = 0; cut < whole.length; cut++) assert.throws(() => decode(whole.subarray(0, cut)), RangeError);
  assert.throws(() => decode(Uint8Array.from([0xc1])), RangeError);
  assert.throws(() => decode(Uint8Array.from([0xdd, 0xff, 0xff, 0xff, 0xff])), RangeError);
  assert.throws(() => decode(Uint8Array.from([0xc0, 0xc0])), RangeError);
  assert.throws(() => decode(new Uint8Array(1000).fill(0x91)), RangeError);
});

test("__proto__ is a member like any other", () => {
  const read = decode(oracle.encode(JSON.parse('{"__proto__":{"evil":1}}'))) as Record<string, unknown>;
  assert.equal(read.evil, undefined);
  assert.deepEqual(Object.keys(read), ["__proto__"]);
});
