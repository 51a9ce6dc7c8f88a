import assert from "node:assert/strict";
import { test } from "node:test";
import { AbstractChat, readUIMessageStream, type ChatState, type ChatStatus, type UIMessage, type UIMessageChunk } from "ai";
import { TokencastChatTransport, type TransportOptions } from "../src/ai.js";
import { Chunks } from "../src/chunks.js";
import type { StreamEvent } from "../src/event.js";
import { body, LOCATED, LOG, records, refused, settled, sse, TEXT, transport as webtransport, World } from "./world.js";

const QUESTION: UIMessage = { id: "q", role: "user", parts: [{ type: "text", text: "Why?" }] };
const SENT = { trigger: "submit-message" as const, chatId: "c/1", messageId: undefined, messages: [QUESTION], abortSignal: undefined };

type Log = typeof LOG;

/** What a gateway with one stream says, which may have begun and ended before. */
class Gateway {
  id = "s";
  message = "msg-s";
  log: Log = LOG;
  active = false;
  /** What a viewer gets instead of everything at once. */
  view: (after: number, signal: AbortSignal) => Response = (after) => body([sse(after, this.log)]);
  /** The bodies of the door's own answers that were let go. */
  released: string[] = [];
  readonly bodies: unknown[] = [];
  readonly world: World;

  constructor() {
    this.world = new World((url, signal, method) => this.answer(url, signal, method));
  }

  answer(url: URL, signal: AbortSignal, method: string): Response | Promise<Response> {
    if (url.pathname === "/v1/webtransport") return Response.json(LOCATED);
    if (url.pathname === `/v1/streams/${this.id}/events`) return this.view(Number(url.searchParams.get("after")), signal);
    if (method === "POST") this.active = true;
    if (method === "DELETE") this.active = false;
    if (method === "DELETE" || !this.active) return new Response(null, { status: 204 });
    const start = new TextEncoder().encode(`: hb\n\ndata: {"type":"start","messageId":"${this.message}"}\n\n`);
    const door = new ReadableStream({ start: (controller) => controller.enqueue(start), cancel: () => void this.released.push(method) });
    return new Response(door, { headers: { "tokencast-stream-id": this.id } });
  }

  transport(options: TransportOptions = {}): TokencastChatTransport {
    const { world } = this;
    const fetch = ((input: string, init: RequestInit) => {
      if (init.body !== undefined) this.bodies.push(JSON.parse(init.body as string));
      return world.fetch(input, init);
    }) as typeof globalThis.fetch;
    return new TokencastChatTransport({ gateway: "http://gateway", fetch, environment: world, ...options });
  }

  get deletes(): number {
    return this.world.requests.filter(({ method }) => method === "DELETE").length;
  }

  /** Lets time pass until there is a result. */
  async wait<Result>(result: Promise<Result>): Promise<Result> {
    let there = false;
    const told = (): void => void (there = true);
    result.then(told, told);
    for (let rounds = 0; !there && rounds < 200; rounds++) await this.world.run(100);
    assert.ok(there, "nothing within 20 s");
    return result;
  }

  async all(stream: Promise<ReadableStream<UIMessageChunk> | null>): Promise<UIMessageChunk[]> {
    const chunks: UIMessageChunk[] = [];
    await this.wait(stream.then(async (stream) => {
      for await (const chunk of stream!) chunks.push(chunk);
    }));
    return chunks;
  }
}

/** A log that ends as `reason` says, in the middle of its text. */
function cut(reason: string, code: string): Log {
  const end = { ...LOG.at(-1)!.data, reason, code, message: "the provider broke off", finish: null, blocks: 4 };
  return [...LOG.slice(0, 2), { id: 4, event: "text", data: { from: 4, text: "Grü" } }, { id: 5, event: "end", data: end }];
}

const at = (cursor: number): UIMessageChunk => ({ type: "data-tokencast", data: { id: "s", cursor }, transient: true });

const CHUNKS: UIMessageChunk[] = [
  { type: "start", messageId: "msg-s" },
  { type: "start-step" },
  { type: "reasoning-start", id: "reasoning-1" },
  { type: "reasoning-delta", id: "reasoning-1", delta: "Hm. " },
  at(3),
  { type: "reasoning-end", id: "reasoning-1" },
  { type: "text-start", id: "text-2" },
  { type: "text-delta", id: "text-2", delta: "Grüße 🦀" },
  { type: "text-end", id: "text-2" },
  { type: "tool-input-start", toolCallId: "c", toolName: "f" },
  { type: "tool-input-delta", toolCallId: "c", inputTextDelta: '{"a":' },
  at(6),
  { type: "tool-input-delta", toolCallId: "c", inputTextDelta: "1}" },
  at(7),
  { type: "tool-input-available", toolCallId: "c", toolName: "f", input: { a: 1 } },
  { type: "text-start", id: "text-3" },
  { type: "text-delta", id: "text-3", delta: " und\r\nmehr" },
  at(9),
  { type: "text-end", id: "text-3" },
  { type: "finish-step" },
  { type: "finish", finishReason: "tool-calls", messageMetadata: { usage: { inputTokens: 1, outputTokens: 2, totalTokens: 3 } } },
];

test("a chat is sent, and its answer followed", async () => {
  const gateway = new Gateway();
  const transport = gateway.transport({ headers: () => Promise.resolve({ "X-App": "1", "x-both": "1" }), body: { team: "t", id: "no" } });
  assert.deepEqual(await gateway.all(transport.sendMessages({ ...SENT, headers: { "x-both": "2" }, body: { extra: true } })), CHUNKS);
  const [post] = gateway.world.requests;
  assert.deepEqual([post!.method, post!.url.href], ["POST", "http://gateway/api/chat"]);
  assert.deepEqual(post!.headers, { "content-type": "application/json", "x-app": "1", "x-both": "2" });
  assert.deepEqual(gateway.bodies, [{ team: "t", extra: true, id: "c/1", messages: [QUESTION], trigger: "submit-message" }]);
});

test("the answer's own body is held until following stands", async () => {
  const gateway = new Gateway();
  let admit = (_: Response): void => {};
  const { answer } = gateway;
  gateway.answer = (url, signal, method) => (url.pathname.endsWith("/events") ? new Promise((resolve) => (admit = resolve)) : answer.call(gateway, url, signal, method));
  const chunks = gateway.all(gateway.transport().sendMessages(SENT));
  await gateway.world.run(1000);
  assert.deepEqual(gateway.released, []);
  admit(body([sse(0)]));
  assert.deepEqual(await chunks, CHUNKS);
  assert.deepEqual(gateway.released, ["POST"]);
});

test("over WebTransport where it can", async () => {
  const gateway = new Gateway();
  const { WebTransport, peers } = webtransport({
    message: (peer, { type, subscription }) => {
      if (type === "hello") peer.say({ type: "welcome", subscriptions_max: 64 });
      if (type === "subscribe") {
        peer.say({ type: "subscribed", subscription });
        peer.stream([records(subscription as number, 0)]);
      }
    },
  });
  gateway.world.WebTransport = WebTransport;
  assert.deepEqual(await gateway.all(gateway.transport({ ticket: (stream) => `ticket of ${stream}` }).sendMessages(SENT)), CHUNKS);
  assert.deepEqual(peers[0]!.said.filter(({ type }) => type === "subscribe").map(({ stream, ticket }) => [stream, ticket]), [["s", "ticket of s"]]);
  assert.deepEqual(gateway.world.asked("/events"), []);
});

test("wherever the network breaks, the chunks are the same", async () => {
  const whole = sse(0);
  for (let at = 0; at < whole.length; at += 17) {
    const gateway = new Gateway();
    let views = 0;
    gateway.view = (after) => (views++ === 0 ? body([whole.slice(0, at)], "break") : body([sse(after)]));
    const chunks = await gateway.all(gateway.transport().sendMessages(SENT));
    assert.deepEqual(chunks, CHUNKS, `broken at ${at}`);
    assert.equal(views, 2);
  }
});

test("a reconnect follows from the beginning, and asks for no more than where it begins", async () => {
  const gateway = new Gateway();
  const transport = gateway.transport({ api: "/api/chat?team=t" });
  assert.equal(await transport.reconnectToStream({ chatId: "c/1" }), null);
  gateway.active = true;
  const stream = transport.reconnectToStream({ chatId: "c/1" });
  await stream;
  assert.deepEqual(gateway.released, ["GET"]);
  assert.deepEqual(await gateway.all(stream), CHUNKS);
  assert.equal(gateway.world.requests[0]!.url.href, "http://gateway/api/chat/c%2F1/stream?team=t");
});

test("an end that is none is an error, and a stop an abort", async () => {
  const usage = { inputTokens: 1, outputTokens: 2, totalTokens: 3 };
  const said = [{ type: "message-metadata", messageMetadata: { usage } }, { type: "error", errorText: "the provider broke off" }];
  const stopped = [{ type: "abort", reason: "stopped" }, { type: "finish-step" }, { type: "finish", finishReason: "other", messageMetadata: { usage } }];
  for (const [reason, code, last] of [["failed", "upstream_cut", said], ["interrupted", "restart", said], ["cancelled", "stopped", stopped]] as const) {
    const gateway = new Gateway();
    gateway.log = cut(reason, code);
    const chunks = await gateway.all(gateway.transport().sendMessages(SENT));
    assert.deepEqual(chunks.slice(-3 - last.length), [{ type: "text-delta", id: "text-2", delta: "Grü" }, at(4), { type: "text-end", id: "text-2" }, ...last]);
  }
});

test("an aborted signal ends the viewing, and nothing else", async () => {
  const gateway = new Gateway();
  gateway.view = (after, signal) => body([sse(after, LOG.slice(0, 5))], "hang", signal);
  const abort = new AbortController();
  const reader = (await gateway.transport().sendMessages({ ...SENT, abortSignal: abort.signal })).getReader();
  await gateway.wait(reader.read());
  abort.abort();
  const rest = (async () => {
    while (!(await reader.read()).done);
  })();
  await assert.rejects(gateway.wait(rest), { name: "AbortError" });
  assert.deepEqual([gateway.deletes, gateway.active, gateway.world.timers], [0, true, 0]);
});

test("a stream that is cancelled is followed no more", async () => {
  const gateway = new Gateway();
  gateway.view = (after, signal) => body([sse(after, LOG.slice(0, 5))], "hang", signal);
  const reader = (await gateway.transport().sendMessages(SENT)).getReader();
  await gateway.wait(reader.read());
  await reader.cancel();
  await settled();
  assert.deepEqual([gateway.deletes, gateway.active, gateway.world.timers], [0, true, 0]);
});

test("a stop is said to the gateway, and again where it has overtaken the start", async () => {
  const gateway = new Gateway();
  const transport = gateway.transport({ headers: { authorization: "Bearer k" } });
  await transport.stop("c/1");
  const [{ method, url, headers }] = gateway.world.requests as [World["requests"][0]];
  assert.deepEqual([method, url.pathname, headers], ["DELETE", "/api/chat/c%2F1/stream", { authorization: "Bearer k" }]);
  let start = (): void => {};
  const { answer } = gateway;
  gateway.answer = (url, signal, method) =>
    method === "POST" ? new Promise((resolve) => (start = () => resolve(answer.call(gateway, url, signal, method)))) : answer.call(gateway, url, signal, method);
  const sending = transport.sendMessages(SENT);
  const stopped = transport.stop("c/1");
  await settled();
  assert.equal(gateway.deletes, 2);
  start();
  await stopped;
  assert.deepEqual([gateway.deletes, gateway.active], [3, false]);
  await (await sending).cancel();
});

test("a refusal is an error with its sentence, whoever refuses", async () => {
  for (const [answer, expected] of [
    [() => refused(503, "draining"), { name: "TokencastError", code: "draining", message: "it is draining", status: 503 }],
    [() => new Response("Please log in.", { status: 401 }), { name: "TokencastError", message: "Please log in.", status: 401 }],
    [() => new Response(null, { status: 502 }), { message: "the server answered 502" }],
    [() => new Response("no header"), { code: "not_tokencast", message: /tokencast-stream-id/ }],
    [() => Promise.reject(new TypeError("fetch failed")), { name: "TypeError" }],
  ] as const) {
    const transport = new TokencastChatTransport({ api: "http://h/chat", fetch: async () => answer() });
    await assert.rejects(transport.sendMessages(SENT), expected);
    await assert.rejects(transport.reconnectToStream({ chatId: "c" }), expected);
  }
});

test("a stream that is gone is an error of the stream", async () => {
  const gateway = new Gateway();
  gateway.view = () => refused(410, "gone");
  await assert.rejects(gateway.all(gateway.transport().sendMessages(SENT)), { name: "TokencastError", code: "gone" });
});

test("where things are asked for", async () => {
  const asked = async (options: TransportOptions): Promise<string[]> => {
    const gateway = new Gateway();
    gateway.world.base = "http://page/chat";
    const fetch = ((input: string, init: RequestInit) => gateway.world.fetch(new URL(input, gateway.world.base), init)) as typeof globalThis.fetch;
    await gateway.all(gateway.transport({ gateway: undefined, fetch, ...options }).sendMessages(SENT));
    return gateway.world.requests.map(({ url }) => url.origin + url.pathname);
  };
  assert.deepEqual(await asked({}), ["http://page/api/chat", "http://page/v1/streams/s/events"]);
  assert.deepEqual(await asked({ gateway: "http://g:1/" }), ["http://g:1/api/chat", "http://g:1/v1/streams/s/events"]);
  assert.deepEqual(await asked({ api: "http://app/ask" }), ["http://app/ask", "http://app/v1/streams/s/events"]);
  assert.deepEqual(await asked({ api: "http://app/ask", gateway: "http://g:1" }), ["http://app/ask", "http://g:1/v1/streams/s/events"]);
});

test("chunks: calls that are interleaved, nameless, without arguments, or with such as are no JSON", () => {
  const chunks = new Chunks("s");
  const push = (event: string, data: object): unknown[] => chunks.push({ id: null, event, data } as unknown as StreamEvent).map((chunk) => [chunk.type, "toolCallId" in chunk ? chunk.toolCallId : null, "input" in chunk ? chunk.input : null]);
  push("tool_call", { index: 0, id: "a", name: "f", arguments: "{" });
  assert.deepEqual(push("tool_call", { index: 1, arguments: '{"b"' }), []);
  assert.deepEqual(push("tool_call", { index: 0, arguments: "}" }), [["tool-input-delta", "a", null]]);
  assert.deepEqual(push("tool_call", { index: 2, id: "c", name: "g", arguments: "" }), [["tool-input-available", "a", {}], ["tool-input-start", "c", null]]);
  assert.deepEqual(push("tool_call", { index: 0, arguments: "more" }), []);
  assert.deepEqual(push("text", { choice: 1, text: "of another choice" }), []);
  assert.deepEqual(push("text", { text: "" }), []);
  assert.deepEqual(push("finish", { reason: "tool_use" }), [
    ["tool-input-start", "call_1_s", null],
    ["tool-input-delta", "call_1_s", null],
    ["tool-input-error", "call_1_s", '{"b"'],
    ["tool-input-available", "c", {}],
  ]);
  assert.deepEqual(chunks.push({ id: 9, event: "end", data: { reason: "completed", finish: "tool_use", usage: null } } as unknown as StreamEvent), [
    { type: "finish-step" },
    { type: "finish", finishReason: "tool-calls" },
  ]);
});

test("chunks: calls that take turns are not read again", (context) => {
  const chunks = new Chunks("s");
  const read = context.mock.method(JSON, "parse");
  for (let turn = 0; turn < 50; turn++) {
    for (let index = 0; index < 20; index++) {
      const rest = index % 2 === 0 ? "{}}" : "}";
      chunks.push({ id: null, event: "tool_call", data: { index, name: "f", arguments: turn === 0 ? '{"a":{}' : rest } } as unknown as StreamEvent);
    }
  }
  assert.equal(read.mock.callCount(), 10 + 2 * 10, "once for each call, and once more for what is given of it");
});

test("chunks: the providers' finish reasons", () => {
  const reason = (finish: string | null): unknown => {
    const [, , , last] = new Chunks("s").push({ id: 9, event: "end", data: { reason: "completed", finish, usage: null } } as unknown as StreamEvent);
    return last;
  };
  for (const [said, finishReason] of [[null, "stop"], ["end_turn", "stop"], ["MAX_TOKENS", "length"], ["SAFETY", "content-filter"], ["constructor", "other"]]) assert.deepEqual(reason(said!), { type: "finish", finishReason });
});

/** A chat without a framework. */
class Chat extends AbstractChat<UIMessage> {
  constructor(transport: TokencastChatTransport, messages: UIMessage[], onError?: (error: Error) => void) {
    const state: ChatState<UIMessage> = {
      status: "ready" as ChatStatus,
      error: undefined,
      messages,
      pushMessage: (message) => void (state.messages = [...state.messages, message]),
      popMessage: () => void (state.messages = state.messages.slice(0, -1)),
      replaceMessage: (index, message) => void (state.messages = state.messages.map((other, at) => (at === index ? structuredClone(message) : other))),
      snapshot: structuredClone,
    };
    super({ id: "c/1", transport, state, ...(onError && { onError }) });
  }
}

const text = (message: UIMessage | undefined): string => message?.parts.map((part) => (part.type === "text" ? part.text : "")).join("") ?? "";

test("the AI SDK reads a message out of it", async () => {
  const gateway = new Gateway();
  const problems: unknown[] = [];
  let message: UIMessage | undefined;
  const stream = await gateway.transport().sendMessages(SENT);
  await gateway.wait((async () => {
    for await (message of readUIMessageStream({ stream, onError: (error) => problems.push(error) }));
  })());
  assert.deepEqual([problems, message?.id, message?.metadata], [[], "msg-s", { usage: { inputTokens: 1, outputTokens: 2, totalTokens: 3 } }]);
  assert.deepEqual(message?.parts.map((part) => [part.type, "state" in part ? part.state : null]), [
    ["step-start", null],
    ["reasoning", "done"],
    ["text", "done"],
    ["tool-f", "input-available"],
    ["text", "done"],
  ]);
  assert.equal(text(message), TEXT);
});

test("a chat of the AI SDK: sent, and two tabs that come in the middle", async () => {
  const gateway = new Gateway();
  const half = LOG.slice(0, 3);
  let live: ReadableStreamDefaultController<Uint8Array>[] = [];
  gateway.view = () =>
    new Response(new ReadableStream({ start: (controller) => (live.push(controller), controller.enqueue(sse(0, half))) }), { headers: { "content-type": "text/event-stream" } });
  const first = new Chat(gateway.transport(), []);
  const sent = first.sendMessage({ text: "Why?" });
  await gateway.world.run(500);
  const second = new Chat(gateway.transport(), [QUESTION]);
  // A page that was loaded again has half of the answer already.
  const third = new Chat(gateway.transport(), [QUESTION, { id: "msg-s", role: "assistant", parts: [{ type: "text", text: "Grü" }] }]);
  const resumed = [second.resumeStream(), third.resumeStream()];
  await gateway.world.run(500);
  assert.deepEqual([first.status, second.status, third.status], ["streaming", "streaming", "streaming"]);
  const rest = new TextDecoder().decode(sse(0)).slice(new TextDecoder().decode(sse(0, half)).length);
  for (const controller of live) {
    controller.enqueue(new TextEncoder().encode(rest));
    controller.close();
  }
  await gateway.wait(Promise.all([sent, ...resumed]));
  for (const chat of [first, second, third]) {
    assert.deepEqual([chat.status, chat.error, chat.messages.map(({ role }) => role)], ["ready", undefined, ["user", "assistant"]]);
    assert.deepEqual(chat.lastMessage, first.lastMessage);
    assert.equal(text(chat.lastMessage), TEXT);
  }
});

test("a chat of the AI SDK: a cut is its error, a stop is none, and nothing is resumed afterwards", async () => {
  for (const [reason, status] of [["failed", "error"], ["cancelled", "ready"]] as const) {
    const gateway = new Gateway();
    gateway.log = cut(reason, "code");
    const errors: string[] = [];
    const chat = new Chat(gateway.transport(), [], ({ message }) => errors.push(message));
    await gateway.wait(chat.sendMessage({ text: "Why?" }));
    assert.deepEqual([chat.status, text(chat.lastMessage)], [status, "Grü"]);
    assert.deepEqual(errors, status === "error" ? ["the provider broke off"] : []);
    gateway.active = false;
    await gateway.wait(chat.resumeStream());
    assert.deepEqual([chat.status, chat.messages.length], ["ready", 2]);
  }
});

test("a chat of the AI SDK: what it stops goes on, and can be resumed", async () => {
  const gateway = new Gateway();
  gateway.view = (after, signal) => body([sse(after, LOG.slice(0, 5))], "hang", signal);
  const chat = new Chat(gateway.transport(), []);
  const sent = chat.sendMessage({ text: "Why?" });
  await gateway.world.run(500);
  await gateway.wait(Promise.all([chat.stop(), sent]));
  assert.deepEqual([chat.status, gateway.deletes, gateway.active], ["ready", 0, true]);
  gateway.view = (after) => body([sse(after)]);
  await gateway.wait(chat.resumeStream());
  assert.deepEqual([chat.status, chat.messages.length, text(chat.lastMessage)], ["ready", 2, TEXT]);
});

test("a chat of the AI SDK: the result of a tool continues the same message", async () => {
  const gateway = new Gateway();
  const chat = new Chat(gateway.transport(), []);
  await gateway.wait(chat.sendMessage({ text: "Why?" }));
  gateway.id = "t";
  await chat.addToolOutput({ tool: "f", toolCallId: "c", output: 5 } as never);
  gateway.log = [{ id: 1, event: "text", data: { from: 1, text: "Five." } }, { ...LOG.at(-1)!, id: 2 }];
  await gateway.wait(chat.sendMessage());
  assert.deepEqual([chat.status, chat.messages.map(({ id }) => id).slice(1), text(chat.lastMessage)], ["ready", ["msg-s"], TEXT + "Five."]);
  const [start] = await gateway.all(gateway.transport().reconnectToStream({ chatId: "c/1" }));
  assert.deepEqual(start, { type: "start", messageId: "msg-s" });
});

test("what is handed on without a body has the stream's own id", async () => {
  const gateway = new Gateway();
  for (const said of [null, "", "data: <html>\n\n", "data: {}\n\n"]) {
    const fetch = async (): Promise<Response> => new Response(said, { headers: { "tokencast-stream-id": "s" } });
    assert.deepEqual(await gateway.all(gateway.transport({ fetch }).reconnectToStream({ chatId: "c" })), CHUNKS);
  }
});
