import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../src/backoff.js";
import type { StreamEvent } from "../src/event.js";
import { Fold } from "../src/fold.js";
import { follow } from "../src/follow.js";
import { unsupported } from "../src/gateway.js";
import { Meter } from "../src/meter.js";
import { Painter } from "../src/paint.js";
import { Queue } from "../src/queue.js";
import { parseTarget } from "../src/target.js";
import { LOCATED, LOG, records, TEXT, transport, World } from "./world.js";

test("fold: channels are kept apart, and the end is there", () => {
  const fold = new Fold();
  for (const event of LOG) fold.push(event as unknown as StreamEvent);
  assert.equal(fold.text, TEXT);
  assert.equal(fold.reasoning, "Hm. ");
  assert.deepEqual(fold.toolCalls, [{ index: 0, id: "c", name: "f", arguments: '{"a":1}' }]);
  assert.equal(fold.choices[1]!.text, "zwei");
  assert.equal(fold.choices[0]!.finish, "stop");
  assert.deepEqual([fold.model, fold.usage, fold.end?.reason], ["m", { input: 1, output: 2 }, "completed"]);
});

test("fold: a snapshot stands for everything before it", () => {
  const fold = new Fold();
  fold.push({ id: 3, event: "snapshot", data: { upto: 3, usage: null, choices: [{ text: "ab", tool_calls: [{ index: 0, id: "c", name: "f", arguments: "{" }], finish: null }, { choice: 2, text: "x" }] } });
  fold.push({ id: 4, event: "text", data: { from: 4, text: "c" } });
  fold.push({ id: 5, event: "tool_call", data: { from: 5, index: 0, arguments: "}" } });
  assert.equal(fold.text, "abc");
  assert.equal(fold.toolCalls[0]!.arguments, "{}");
  assert.deepEqual(fold.choices.map(({ text }) => text), ["abc", "", "x"]);
});

test("fold: an index out of all proportion is refused", () => {
  assert.throws(() => new Fold().push({ id: 1, event: "text", data: { from: 1, text: "", choice: 1e9 } }), RangeError);
});

test("backoff: full jitter, doubling, capped, and what the gateway asks for is kept", () => {
  const bounds = (random: number): number[] => {
    const backoff = new Backoff(() => random);
    return Array.from({ length: 9 }, () => backoff.next());
  };
  assert.deepEqual(bounds(1), [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  assert.deepEqual(bounds(0), Array(9).fill(0));
  const backoff = new Backoff(() => 0.5);
  assert.equal(backoff.next(3000), 3000);
  backoff.next();
  backoff.succeeded();
  backoff.retryMs = 1000;
  assert.equal(backoff.next(), 500);
});

test("target: what is a stream and what is not", () => {
  const of = (url: string, base?: string): unknown => Object.values(parseTarget(url, base));
  assert.deepEqual(of("http://h:1/v1/streams/a_b-C"), ["http://h:1", "a_b-C", null, null]);
  assert.deepEqual(of("https://h/p/v1/streams/a/events?ticket=t&after=3"), ["https://h/p", "a", "t", "3"]);
  assert.deepEqual(of("/v1/streams/a", "http://h/page"), ["http://h", "a", null, null]);
  for (const url of ["", "x", "/v1/streams/a", "http://h/", "http://h/v1/streams/", "http://h/v1/streams/a/raw", "http://h/v1/streams/a%20b", "ftp://h/v1/streams/a"]) assert.throws(() => parseTarget(url, undefined), { code: "invalid_url" });
});

test("browsers that go to SSE", () => {
  const world = new World(() => Promise.reject(new Error("none")));
  assert.match(unsupported(world)!, /no WebTransport/);
  world.WebTransport = class {} as never;
  const verdict = (agent: string, touch = false): boolean => ((world.userAgent = agent), (world.touch = touch), unsupported(world) === null);
  const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36";
  assert.ok(verdict(chrome));
  assert.ok(verdict(chrome + " Edg/156.0"));
  assert.ok(verdict("Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"));
  assert.ok(!verdict("Mozilla/5.0 (X11; Linux x86_64; rv:152.0) Gecko/20100101 Firefox/152.0"));
  assert.ok(!verdict("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.4 Safari/605.1.15"));
  assert.ok(!verdict("Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/156.0 Mobile/15E148 Safari/604.1"));
  assert.ok(!verdict("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15", true));
});

test("queue: order, bound, end and error", async () => {
  const queue = new Queue<number>(4);
  const first = queue.next();
  for (let i = 0; i < 6; i++) queue.push(i);
  assert.deepEqual(await first, { done: false, value: 0 });
  const full = queue.full();
  assert.ok(full !== null);
  for (let i = 1; i < 6; i++) assert.deepEqual(await queue.next(), { done: false, value: i });
  await full;
  const waiting = queue.next();
  queue.end(new Error("why"));
  await assert.rejects(waiting, /why/);
  assert.deepEqual(await queue.next(), { done: true, value: undefined });
});

test("queue: an end without a reader refuses nobody until somebody asks", async () => {
  const queue = new Queue<number>(4);
  queue.push(1);
  queue.end(new Error("why"));
  assert.deepEqual(await queue.next(), { done: false, value: 1 });
  await assert.rejects(queue.next(), /why/);
  assert.deepEqual(await queue.next(), { done: true, value: undefined });
});

test("paint: once per frame, and without frames all the same", async () => {
  const world = new World(() => Promise.reject(new Error("none")));
  const frames: (() => void)[] = [];
  world.frame = (run) => {
    frames.push(run);
    return () => void frames.splice(frames.indexOf(run), 1);
  };
  let drawn = 0;
  const painter = new Painter(world, () => drawn++);
  for (let i = 0; i < 100; i++) painter.touch();
  assert.deepEqual([frames.length, drawn], [1, 0]);
  frames[0]!();
  assert.deepEqual([drawn, world.timers, frames.length], [1, 0, 0]);
  painter.touch();
  await world.run(250);
  assert.deepEqual([drawn, frames.length], [2, 0]);
  painter.touch();
  painter.stop();
  await world.run(1000);
  assert.deepEqual([drawn, frames.length, world.timers], [2, 0, 0]);
});

test("meter: blocks per second over two seconds", () => {
  const meter = new Meter();
  assert.equal(meter.perSecond(0), 0);
  for (let at = 0; at <= 10_000; at += 10) meter.note(at, at / 10);
  assert.ok(Math.abs(meter.perSecond(10_000) - 100) < 1);
  assert.equal(meter.perSecond(20_000), 0);
});

test("session: what the gateway closed because it was idle is opened again for the next stream", async () => {
  const world = new World(() => Response.json(LOCATED));
  const { WebTransport, peers } = transport({
    message: (peer, { type, subscription }) => {
      if (type === "hello") peer.say({ type: "welcome", subscriptions_max: 64 });
      if (type !== "subscribe") return;
      peer.say({ type: "subscribed", subscription });
      peer.stream([records(subscription as number, 0)]);
    },
  });
  world.WebTransport = WebTransport;
  const next = async (): Promise<void> => {
    const stream = follow("https://gateway/v1/streams/s", { transport: "webtransport", environment: world });
    await world.run(1000);
    assert.deepEqual([stream.outcome?.reason, stream.fold.text, stream.stats().reconnects], ["ended", TEXT, 0]);
  };
  await next();
  await next();
  assert.equal(peers.length, 1, "it is kept for the next one");
  peers[0]!.say({ type: "bye", code: "idle", retry_ms: 0 });
  await next();
  assert.equal(peers.length, 2);
  // Told while the next subscription was on its way.
  const late = transport({ message: (peer, { type }) => (type === "subscribe" ? peer.say({ type: "bye", code: "idle", retry_ms: 0 }) : undefined) });
  await world.run(20_000);
  world.WebTransport = late.WebTransport;
  const stream = follow("https://gateway/v1/streams/s", { transport: "webtransport", environment: world });
  await world.run(100);
  world.WebTransport = WebTransport;
  await world.run(5000);
  assert.deepEqual([late.peers.length, stream.outcome?.reason, stream.fold.text], [1, "ended", TEXT]);
});
