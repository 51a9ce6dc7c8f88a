// src/chunks.ts
var Chunks = class {
  /** Who continues a message of the assistant, as with the results of tools, gives its id. */
  constructor(stream, messageId = `msg-${stream}`) {
    this.stream = stream;
    this.messageId = messageId;
  }
  stream;
  messageId;
  #begun = false;
  /** What is being said, in which part. */
  #prose = null;
  #part = "";
  #runs = 0;
  /** Tool calls of which more may come, those of which nothing is told any more, and the one that was told of last. */
  #open = /* @__PURE__ */ new Map();
  #closed = /* @__PURE__ */ new Set();
  #told = null;
  #said = [];
  push({ id, event, data }) {
    if (!this.#begun) this.#said.push({ type: "start", messageId: this.messageId }, { type: "start-step" });
    this.#begun = true;
    const before = this.#said.length;
    if (!("choice" in data) || data.choice === 0 || data.choice === void 0) {
      if (event === "text" || event === "reasoning" || event === "refusal") this.#say(event, data.text);
      else if (event === "tool_call") this.#call(data.index, data);
      else if (event === "finish") this.#closeAll();
      else if (event === "end") this.#end(data);
    }
    if (this.#said.length > before && id !== null && event !== "end") this.#said.push({ type: "data-tokencast", data: { id: this.stream, cursor: id }, transient: true });
    return this.#said.splice(0);
  }
  #say(kind, delta) {
    if (delta === "") return;
    const type = kind === "reasoning" ? "reasoning" : "text";
    if (this.#prose !== kind) {
      this.#hush();
      this.#leave(null);
      this.#prose = kind;
      this.#part = `${type}-${++this.#runs}`;
      this.#said.push({ type: `${type}-start`, id: this.#part });
    }
    this.#said.push({ type: `${type}-delta`, id: this.#part, delta });
  }
  #hush() {
    if (this.#prose !== null) this.#said.push({ type: this.#prose === "reasoning" ? "reasoning-end" : "text-end", id: this.#part });
    this.#prose = null;
  }
  /** It begins when its name is known. */
  #call(index, said) {
    this.#hush();
    this.#leave(index);
    if (this.#closed.has(index)) return;
    this.#told = index;
    let call = this.#open.get(index);
    if (call === void 0) this.#open.set(index, call = { id: null, name: null, arguments: "", hasBegun: false, depth: 0, isText: false, isEscaped: false, closedAt: void 0 });
    call.id ??= said.id ?? null;
    call.name ??= said.name ?? null;
    take(call, said.arguments);
    if (call.hasBegun) this.#input(call, said.arguments);
    else if (call.name !== null) this.#begin(call, index);
  }
  #begin(call, index) {
    call.hasBegun = true;
    call.id ??= `call_${index}_${this.stream}`;
    call.name ??= "unknown";
    this.#said.push({ type: "tool-input-start", toolCallId: call.id, toolName: call.name });
    this.#input(call, call.arguments);
  }
  #input(call, inputTextDelta) {
    if (inputTextDelta !== "") this.#said.push({ type: "tool-input-delta", toolCallId: call.id, inputTextDelta });
  }
  /** Something else is said than more of the call that was told of last, unless it is the next one: closes it if it has all of its arguments. */
  #leave(next) {
    const index = this.#told;
    if (index === null || index === next) return;
    this.#told = null;
    const call = this.#open.get(index);
    if (call === void 0 || !call.hasBegun || !isWhole(call)) return;
    this.#open.delete(index);
    this.#closed.add(index);
    this.#close(call);
  }
  #closeAll() {
    this.#hush();
    for (const [index, call] of [...this.#open].sort(([a], [b]) => a - b)) {
      if (!call.hasBegun) this.#begin(call, index);
      this.#close(call);
      this.#closed.add(index);
    }
    this.#open.clear();
    this.#told = null;
  }
  #close(call) {
    const [toolCallId, toolName] = [call.id, call.name];
    const input = call.arguments.trim() === "" ? {} : parsed(call.arguments);
    if (!(input instanceof SyntaxError)) this.#said.push({ type: "tool-input-available", toolCallId, toolName, input });
    else this.#said.push({ type: "tool-input-error", toolCallId, toolName, input: call.arguments, errorText: `the arguments are no JSON: ${input.message}` });
  }
  #end({ reason, code, message, finish, usage }) {
    this.#hush();
    const metadata = usage === null ? {} : { messageMetadata: { usage: counted(usage) } };
    if (reason === "completed") {
      this.#closeAll();
      this.#said.push({ type: "finish-step" }, { type: "finish", finishReason: finishReason(finish, this.#closed.size > 0), ...metadata });
    } else if (reason === "cancelled") {
      this.#said.push({ type: "abort", reason: code ?? reason }, { type: "finish-step" }, { type: "finish", finishReason: "other", ...metadata });
    } else {
      if (metadata.messageMetadata !== void 0) this.#said.push({ type: "message-metadata", messageMetadata: metadata.messageMetadata });
      this.#said.push({ type: "error", errorText: message ?? `the stream ended: ${code ?? reason}` });
    }
  }
};
function take(call, more) {
  for (let at = 0; at < more.length; at++) {
    const letter = more[at];
    if (call.isEscaped) call.isEscaped = false;
    else if (letter === "\\" && call.isText) call.isEscaped = true;
    else if (letter === '"') call.isText = !call.isText;
    else if (call.isText) continue;
    else if (letter === "{" || letter === "[") call.depth++;
    else if (letter === "}" || letter === "]") call.depth = Math.max(0, call.depth - 1);
    if (letter === "}" && call.depth === 0 && call.closedAt === void 0) call.closedAt = call.arguments.length + at + 1;
  }
  call.arguments += more;
}
function isWhole(call) {
  if (call.closedAt === void 0) return false;
  const isAtEnd = call.closedAt === call.arguments.length;
  call.closedAt = null;
  return isAtEnd && !(parsed(call.arguments) instanceof SyntaxError);
}
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    return error;
  }
}
var WORDS = [
  ["stop", "stop end_turn stop_sequence completed"],
  ["length", "length max_tokens max_output_tokens model_context_window_exceeded"],
  ["tool-calls", "tool_calls tool_use function_call"],
  ["content-filter", "content_filter refusal safety recitation blocklist prohibited_content spii image_safety"],
  ["error", "error malformed_function_call"]
];
var REASONS = new Map(WORDS.flatMap(([reason, words]) => words.split(" ").map((word) => [word, reason])));
function finishReason(said, hasCalls) {
  const reason = REASONS.get(said?.toLowerCase() ?? "stop") ?? "other";
  return reason === "stop" && hasCalls ? "tool-calls" : reason;
}
function counted({ input, output }) {
  const known = Object.entries({ inputTokens: input, outputTokens: output, totalTokens: input === null || output === null ? null : input + output });
  return Object.fromEntries(known.filter((entry) => entry[1] !== null));
}

// src/ai.ts
import { follow, TokencastError } from "./index.js";

// src/sse.ts
var SseParser = class {
  constructor(charsMax = 32 * 1024 * 1024) {
    this.charsMax = charsMax;
  }
  charsMax;
  /** The last `retry` that was said. */
  retryMs = null;
  #decoder = new TextDecoder();
  #pieces = [];
  #held = 0;
  #skipLf = false;
  #id = null;
  #event = "";
  #data = [];
  push(chunk) {
    const text = this.#decoder.decode(chunk, { stream: true });
    const events = [];
    const border = /[\r\n]/g;
    let start = 0;
    if (this.#skipLf && text !== "") {
      if (text[0] === "\n") start = 1;
      this.#skipLf = false;
    }
    for (; ; ) {
      border.lastIndex = start;
      const found = border.exec(text);
      if (found === null) break;
      const line = this.#pieces.join("") + text.slice(start, found.index);
      this.#pieces = [];
      start = found.index + 1;
      if (found[0] === "\r") {
        if (start === text.length) this.#skipLf = true;
        else if (text[start] === "\n") start++;
      }
      this.#line(line, events);
    }
    if (start < text.length) this.#hold(this.#pieces, text.slice(start));
    return events;
  }
  #hold(into, text) {
    this.#held += text.length;
    if (this.#held > this.charsMax) throw new RangeError("an event that is too large");
    into.push(text);
  }
  #line(line, events) {
    if (line === "") {
      if (this.#data.length > 0) events.push({ id: this.#id, event: this.#event || "message", data: this.#data.join("\n") });
      this.#id = null;
      this.#event = "";
      this.#data = [];
      this.#held = 0;
      return;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") this.#hold(this.#data, value);
    else if (name === "event") this.#event = value;
    else if (name === "id") this.#id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
  }
};

// src/ai.ts
var TokencastChatTransport = class {
  /** Whoever reconnects gets the whole answer from its beginning, under the same id. */
  resumeStreamIsReplay = true;
  #options;
  #api;
  #gateway;
  /** Chats that are being sent, until their answers begin. */
  #sending = /* @__PURE__ */ new Map();
  constructor(options = {}) {
    const { api = "/api/chat", gateway } = options;
    const absolute = /^https?:/i.test(api);
    this.#options = options;
    this.#gateway = (gateway ?? (absolute ? new URL(api).origin : "")).replace(/\/$/, "");
    this.#api = absolute ? api : this.#gateway + api;
  }
  async sendMessages(sent) {
    const sending = this.#send(sent);
    this.#sending.set(sent.chatId, sending);
    try {
      return await sending;
    } finally {
      if (this.#sending.get(sent.chatId) === sending) this.#sending.delete(sent.chatId);
    }
  }
  async reconnectToStream({ chatId, headers, abortSignal }) {
    const response = await this.#call("GET", this.#chat(chatId), headers, abortSignal);
    if (response.status === 204) return null;
    return this.#follow(response, abortSignal, await begun(response));
  }
  /** Stops the answer itself, in every tab and at the provider. `stop` of `useChat` only ends this page's viewing. */
  async stop(chatId) {
    const sending = this.#sending.get(chatId);
    release(await this.#call("DELETE", this.#chat(chatId)));
    if (sending === void 0) return;
    await sending.catch(() => {
    });
    release(await this.#call("DELETE", this.#chat(chatId)));
  }
  async #send({ chatId, messages, trigger, messageId, headers, body, abortSignal }) {
    const all = { ...await resolve(this.#options.body), ...body, id: chatId, messages, trigger, messageId };
    const response = await this.#call("POST", this.#api, headers, abortSignal, JSON.stringify(all));
    const last = messages.at(-1);
    return this.#follow(response, abortSignal, last?.role === "assistant" ? last.id : void 0);
  }
  #chat(chatId) {
    return this.#api.replace(/\/?(?=\?|$)/, `/${encodeURIComponent(chatId)}/stream`);
  }
  async #call(method, url, headers, signal, body) {
    const all = new Headers(await resolve(this.#options.headers));
    new Headers(headers).forEach((value, name) => all.set(name, value));
    if (body !== void 0) all.set("content-type", "application/json");
    const request = { method, headers: Object.fromEntries(all) };
    const credentials = await resolve(this.#options.credentials);
    if (credentials !== void 0) request.credentials = credentials;
    if (signal !== void 0) request.signal = signal;
    if (body !== void 0) request.body = body;
    const response = await (this.#options.fetch ?? globalThis.fetch)(url, request);
    if (!response.ok) throw await refusal(response);
    return response;
  }
  #follow(response, signal, messageId) {
    const stream = response.headers.get("tokencast-stream-id");
    if (stream === null) {
      release(response);
      throw new TokencastError("not_tokencast", "the answer has no tokencast-stream-id; a server in between has to hand it on, and to expose it to pages of other origins", response.status);
    }
    const { ticket, transport, heartbeatMs, attemptsMax, environment } = this.#options;
    const following = follow(`${this.#gateway}/v1/streams/${stream}`, {
      transport,
      heartbeatMs,
      attemptsMax,
      environment,
      signal,
      ticket: typeof ticket === "function" ? () => ticket(stream) : ticket ?? response.headers.get("tokencast-ticket"),
      // The answer's own body is held until following stands, or has failed once: the stream is never without a viewer.
      onState: () => release(response)
    });
    const chunks = new Chunks(stream, messageId);
    const events = following[Symbol.asyncIterator]();
    return new ReadableStream({
      async pull(controller) {
        for (; ; ) {
          const { done, value } = await events.next();
          if (done === true) {
            if (signal?.aborted) throw new DOMException("the viewing was aborted", "AbortError");
            return controller.close();
          }
          const said = chunks.push(value);
          for (const chunk of said) controller.enqueue(chunk);
          if (said.length > 0) return;
        }
      },
      cancel() {
        following.close();
      }
    });
  }
};
async function resolve(value) {
  return typeof value === "function" ? value() : value;
}
async function begun(response) {
  const reader = response.body?.getReader();
  const parser = new SseParser();
  try {
    for (; ; ) {
      const { done, value } = await reader.read();
      if (done) return void 0;
      const [first] = parser.push(value);
      if (first !== void 0) return JSON.parse(first.data).messageId;
    }
  } catch {
    return void 0;
  } finally {
    reader?.cancel().catch(() => {
    });
  }
}
function release(response) {
  response.body?.cancel().catch(() => {
  });
}
async function refusal(response) {
  const { status } = response;
  const text = await response.text().catch(() => "");
  try {
    const { error } = JSON.parse(text);
    if (typeof error.code === "string") return new TokencastError(error.code, String(error.message), status, error.detail ?? null);
  } catch {
  }
  return new TokencastError("not_tokencast", text || `the server answered ${status}`, status);
}
export {
  TokencastChatTransport
};
