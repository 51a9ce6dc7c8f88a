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
  /** Text or reasoning that has been begun and not ended. */
  #open = null;
  #parts = 0;
  #calls = /* @__PURE__ */ new Map();
  #finish = null;
  #usage = null;
  push({ event, data }) {
    const said = [];
    if (!this.#begun) said.push({ type: "start", messageId: this.messageId }, { type: "start-step" });
    this.#begun = true;
    if ("choice" in data && (data.choice ?? 0) !== 0) return said;
    switch (event) {
      case "text":
      case "refusal":
        this.#delta("text", data.text, said);
        break;
      case "reasoning":
        this.#delta("reasoning", data.text, said);
        break;
      case "tool_call": {
        let call = this.#calls.get(data.index);
        if (call === void 0) {
          this.#close(said);
          call = { toolCallId: data.id || `call-${this.stream}-${data.index}`, toolName: data.name || "unknown", arguments: "" };
          this.#calls.set(data.index, call);
          said.push({ type: "tool-input-start", toolCallId: call.toolCallId, toolName: call.toolName });
        }
        call.arguments += data.arguments;
        if (data.arguments !== "") said.push({ type: "tool-input-delta", toolCallId: call.toolCallId, inputTextDelta: data.arguments });
        break;
      }
      case "usage":
        this.#usage = data;
        break;
      case "finish":
        this.#finish = data.reason;
        break;
      case "end":
        this.#end(data, said);
        break;
    }
    return said;
  }
  #delta(type, delta, said) {
    if (delta === "") return;
    if (this.#open?.type !== type) {
      this.#close(said);
      this.#open = { type, id: `${type}-${this.#parts++}` };
      said.push({ type: `${type}-start`, id: this.#open.id });
    }
    said.push({ type: `${type}-delta`, id: this.#open.id, delta });
  }
  #close(said) {
    if (this.#open !== null) said.push({ type: `${this.#open.type}-end`, id: this.#open.id });
    this.#open = null;
  }
  #end(end, said) {
    this.#close(said);
    if (end.reason === "cancelled") return void said.push({ type: "abort", reason: end.code ?? end.reason });
    if (end.reason !== "completed") return void said.push({ type: "error", errorText: end.message ?? end.code ?? end.reason });
    for (const call of this.#calls.values()) said.push(available(call));
    const usage = end.usage ?? this.#usage;
    const messageMetadata = usage === null ? {} : { messageMetadata: { usage: { inputTokens: usage.input, outputTokens: usage.output } } };
    said.push({ type: "finish-step" }, { type: "finish", finishReason: finishReason(this.#finish ?? end.finish), ...messageMetadata });
  }
};
function available({ toolCallId, toolName, arguments: text }) {
  try {
    return { type: "tool-input-available", toolCallId, toolName, input: text.trim() === "" ? {} : JSON.parse(text) };
  } catch (cause) {
    return { type: "tool-input-error", toolCallId, toolName, input: text, errorText: `arguments that are no JSON: ${cause.message}` };
  }
}
var REASONS = {
  stop: "stop",
  end_turn: "stop",
  stop_sequence: "stop",
  completed: "stop",
  length: "length",
  max_tokens: "length",
  max_output_tokens: "length",
  tool_calls: "tool-calls",
  function_call: "tool-calls",
  tool_use: "tool-calls",
  content_filter: "content-filter",
  safety: "content-filter",
  refusal: "content-filter",
  error: "error"
};
function finishReason(reason) {
  return REASONS[(reason ?? "").toLowerCase()] ?? "other";
}

// src/ai.ts
import { follow, TokencastError } from "./index.js";
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
    release(response);
    return this.#follow(response, abortSignal);
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
    return this.#follow(response, abortSignal, trigger === "submit-message" && last?.role === "assistant" ? last.id : void 0);
  }
  #chat(chatId) {
    return `${this.#api.replace(/\/$/, "")}/${encodeURIComponent(chatId)}/stream`;
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
      ticket: typeof ticket === "function" ? () => ticket(stream) : ticket,
      // The answer's own body is held until following stands, or has failed once: the stream is never without a viewer.
      onState: (state) => {
        if (state !== "connecting") release(response);
      }
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
