import type { ChatTransport, UIMessage, UIMessageChunk } from "ai";
import { Chunks } from "./chunks.js";
import { follow, TokencastError, type Options } from "./index.js";
import { SseParser } from "./sse.js";

type Resolvable<Value> = Value | Promise<Value> | (() => Value | Promise<Value>);
type Headed = Record<string, string> | Headers;

export interface TransportOptions extends Pick<Options, "transport" | "heartbeatMs" | "attemptsMax" | "environment"> {
  /** Where chats are sent to: the gateway's own door, or a route of your server that hands on to it. Default "/api/chat". */
  api?: string | undefined;
  /** Origin of the gateway. Default that of `api`, or the page's own. */
  gateway?: string | undefined;
  /** A ticket or key to follow with, or a function that gets one for a stream. Default: the ticket that came with the answer. */
  ticket?: string | ((stream: string) => string | Promise<string>) | undefined;
  headers?: Resolvable<Headed> | undefined;
  credentials?: Resolvable<RequestCredentials> | undefined;
  /** Goes into the body of every chat that is sent. */
  body?: Resolvable<object> | undefined;
  fetch?: typeof fetch | undefined;
}

type Sent<Message extends UIMessage> = Parameters<ChatTransport<Message>["sendMessages"]>[0];
type Reconnected<Message extends UIMessage> = Parameters<ChatTransport<Message>["reconnectToStream"]>[0] & { abortSignal?: AbortSignal | undefined };

/** `useChat` over tokencast: the answer is followed by `follow`, so it survives the network, reloads and the gateway's restart. */
export class TokencastChatTransport<Message extends UIMessage = UIMessage> implements ChatTransport<Message> {
  /** Whoever reconnects gets the whole answer from its beginning, under the same id. */
  readonly resumeStreamIsReplay = true;
  readonly #options: TransportOptions;
  readonly #api: string;
  readonly #gateway: string;
  /** Chats that are being sent, until their answers begin. */
  readonly #sending = new Map<string, Promise<unknown>>();

  constructor(options: TransportOptions = {}) {
    const { api = "/api/chat", gateway } = options;
    const absolute = /^https?:/i.test(api);
    this.#options = options;
    this.#gateway = (gateway ?? (absolute ? new URL(api).origin : "")).replace(/\/$/, "");
    this.#api = absolute ? api : this.#gateway + api;
  }

  async sendMessages(sent: Sent<Message>): Promise<ReadableStream<UIMessageChunk>> {
    const sending = this.#send(sent);
    this.#sending.set(sent.chatId, sending);
    try {
      return await sending;
    } finally {
      if (this.#sending.get(sent.chatId) === sending) this.#sending.delete(sent.chatId);
    }
  }

  async reconnectToStream({ chatId, headers, abortSignal }: Reconnected<Message>): Promise<ReadableStream<UIMessageChunk> | null> {
    const response = await this.#call("GET", this.#chat(chatId), headers, abortSignal);
    if (response.status === 204) return null;
    return this.#follow(response, abortSignal, await begun(response));
  }

  /** Stops the answer itself, in every tab and at the provider. `stop` of `useChat` only ends this page's viewing. */
  async stop(chatId: string): Promise<void> {
    const sending = this.#sending.get(chatId);
    release(await this.#call("DELETE", this.#chat(chatId)));
    if (sending === undefined) return;
    // It may have overtaken the start.
    await sending.catch(() => {});
    release(await this.#call("DELETE", this.#chat(chatId)));
  }

  async #send({ chatId, messages, trigger, messageId, headers, body, abortSignal }: Sent<Message>): Promise<ReadableStream<UIMessageChunk>> {
    const all = { ...(await resolve(this.#options.body)), ...body, id: chatId, messages, trigger, messageId };
    const response = await this.#call("POST", this.#api, headers, abortSignal, JSON.stringify(all));
    const last = messages.at(-1);
    // An answer to the result of a tool belongs to the message that has called it.
    return this.#follow(response, abortSignal, last?.role === "assistant" ? last.id : undefined);
  }

  #chat(chatId: string): string {
    // In front of a query, where there is one.
    return this.#api.replace(/\/?(?=\?|$)/, `/${encodeURIComponent(chatId)}/stream`);
  }

  async #call(method: string, url: string, headers?: Headed, signal?: AbortSignal, body?: string): Promise<Response> {
    const all = new Headers(await resolve(this.#options.headers));
    new Headers(headers).forEach((value, name) => all.set(name, value));
    if (body !== undefined) all.set("content-type", "application/json");
    const request: RequestInit = { method, headers: Object.fromEntries(all) };
    const credentials = await resolve(this.#options.credentials);
    if (credentials !== undefined) request.credentials = credentials;
    if (signal !== undefined) request.signal = signal;
    if (body !== undefined) request.body = body;
    const response = await (this.#options.fetch ?? globalThis.fetch)(url, request);
    if (!response.ok) throw await refusal(response);
    return response;
  }

  #follow(response: Response, signal: AbortSignal | undefined, messageId?: string): ReadableStream<UIMessageChunk> {
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
      ticket: typeof ticket === "function" ? () => ticket(stream) : (ticket ?? response.headers.get("tokencast-ticket")),
      // The answer's own body is held until following stands, or has failed once: the stream is never without a viewer.
      onState: () => release(response),
    });
    const chunks = new Chunks(stream, messageId);
    const events = following[Symbol.asyncIterator]();
    return new ReadableStream<UIMessageChunk>({
      async pull(controller) {
        for (;;) {
          const { done, value } = await events.next();
          if (done === true) {
            // As a fetch that was aborted would say.
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
      },
    });
  }
}

async function resolve<Value>(value: Resolvable<Value> | undefined): Promise<Value | undefined> {
  return typeof value === "function" ? (value as () => Value | Promise<Value>)() : value;
}

/** The id of the message, which the first chunk says. No more is wanted of the body. */
async function begun(response: Response): Promise<string | undefined> {
  const reader = response.body?.getReader();
  const parser = new SseParser();
  try {
    for (;;) {
      const { done, value } = await reader!.read();
      if (done) return undefined;
      const [first] = parser.push(value);
      if (first !== undefined) return (JSON.parse(first.data) as { messageId?: string }).messageId;
    }
  } catch {
    // Whoever hands the answer on has handed on its head alone.
    return undefined;
  } finally {
    reader?.cancel().catch(() => {});
  }
}

function release(response: Response): void {
  response.body?.cancel().catch(() => {});
}

/** Whoever answered may be your own server: whatever it says is the message. */
async function refusal(response: Response): Promise<TokencastError> {
  const { status } = response;
  const text = await response.text().catch(() => "");
  try {
    const { error } = JSON.parse(text) as { error: { code: string; message: string; detail?: Record<string, unknown> } };
    if (typeof error.code === "string") return new TokencastError(error.code, String(error.message), status, error.detail ?? null);
  } catch {
    // Falls through: no error of ours.
  }
  return new TokencastError("not_tokencast", text || `the server answered ${status}`, status);
}
