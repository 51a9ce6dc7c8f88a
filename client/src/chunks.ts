import type { FinishReason, UIMessageChunk } from "ai";
import type { End, StreamEvent, Usage } from "./event.js";

interface Call {
  id: string | null;
  name: string | null;
  arguments: string;
  hasBegun: boolean;
  /** How deep the arguments are nested so far. */
  depth: number;
  isText: boolean;
  isEscaped: boolean;
  /** How long the arguments were when their brackets were closed for the first time; null once that was looked at. */
  closedAt: number | null | undefined;
}

type Prose = "text" | "reasoning" | "refusal";

/** Turns a stream's events into one UI message of the AI SDK, as the gateway's view `ui` does: docs/protocol.md. Of several choices, the first. */
export class Chunks {
  #begun = false;
  /** What is being said, in which part. */
  #prose: Prose | null = null;
  #part = "";
  #runs = 0;
  /** Tool calls of which more may come, those of which nothing is told any more, and the one that was told of last. */
  #open = new Map<number, Call>();
  #closed = new Set<number>();
  #told: number | null = null;
  #said: UIMessageChunk[] = [];

  /** Who continues a message of the assistant, as with the results of tools, gives its id. */
  constructor(
    readonly stream: string,
    readonly messageId = `msg-${stream}`,
  ) {}

  push({ id, event, data }: StreamEvent): UIMessageChunk[] {
    // Not before there is something: an empty message would take the place of the one that a reload begins with.
    if (!this.#begun) this.#said.push({ type: "start", messageId: this.messageId }, { type: "start-step" });
    this.#begun = true;
    const before = this.#said.length;
    if (!("choice" in data) || data.choice === 0 || data.choice === undefined) {
      if (event === "text" || event === "reasoning" || event === "refusal") this.#say(event, data.text);
      else if (event === "tool_call") this.#call(data.index, data);
      else if (event === "finish") this.#closeAll();
      else if (event === "end") this.#end(data);
    }
    if (this.#said.length > before && id !== null && event !== "end") this.#said.push({ type: "data-tokencast", data: { id: this.stream, cursor: id }, transient: true });
    return this.#said.splice(0);
  }

  #say(kind: Prose, delta: string): void {
    if (delta === "") return;
    // A refusal is what the model says: nobody who reads the answer may miss it.
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

  #hush(): void {
    if (this.#prose !== null) this.#said.push({ type: this.#prose === "reasoning" ? "reasoning-end" : "text-end", id: this.#part });
    this.#prose = null;
  }

  /** It begins when its name is known. */
  #call(index: number, said: { id?: string; name?: string; arguments: string }): void {
    this.#hush();
    this.#leave(index);
    if (this.#closed.has(index)) return;
    this.#told = index;
    let call = this.#open.get(index);
    if (call === undefined) this.#open.set(index, (call = { id: null, name: null, arguments: "", hasBegun: false, depth: 0, isText: false, isEscaped: false, closedAt: undefined }));
    call.id ??= said.id ?? null;
    call.name ??= said.name ?? null;
    take(call, said.arguments);
    if (call.hasBegun) this.#input(call, said.arguments);
    else if (call.name !== null) this.#begin(call, index);
  }

  #begin(call: Call, index: number): void {
    call.hasBegun = true;
    // A result is known by the id of its call: there has to be one, and no other may have it.
    call.id ??= `call_${index}_${this.stream}`;
    call.name ??= "unknown";
    this.#said.push({ type: "tool-input-start", toolCallId: call.id, toolName: call.name });
    this.#input(call, call.arguments);
  }

  #input(call: Call, inputTextDelta: string): void {
    if (inputTextDelta !== "") this.#said.push({ type: "tool-input-delta", toolCallId: call.id!, inputTextDelta });
  }

  /** Something else is said than more of the call that was told of last, unless it is the next one: closes it if it has all of its arguments. */
  #leave(next: number | null): void {
    const index = this.#told;
    if (index === null || index === next) return;
    this.#told = null;
    const call = this.#open.get(index);
    if (call === undefined || !call.hasBegun || !isWhole(call)) return;
    this.#open.delete(index);
    this.#closed.add(index);
    this.#close(call);
  }

  #closeAll(): void {
    this.#hush();
    for (const [index, call] of [...this.#open].sort(([a], [b]) => a - b)) {
      if (!call.hasBegun) this.#begin(call, index);
      this.#close(call);
      this.#closed.add(index);
    }
    this.#open.clear();
    this.#told = null;
  }

  #close(call: Call): void {
    const [toolCallId, toolName] = [call.id!, call.name!];
    const input = call.arguments.trim() === "" ? {} : parsed(call.arguments);
    if (!(input instanceof SyntaxError)) this.#said.push({ type: "tool-input-available", toolCallId, toolName, input });
    else this.#said.push({ type: "tool-input-error", toolCallId, toolName, input: call.arguments, errorText: `the arguments are no JSON: ${input.message}` });
  }

  #end({ reason, code, message, finish, usage }: End): void {
    this.#hush();
    const metadata = usage === null ? {} : { messageMetadata: { usage: counted(usage) } };
    if (reason === "completed") {
      this.#closeAll();
      this.#said.push({ type: "finish-step" }, { type: "finish", finishReason: finishReason(finish, this.#closed.size > 0), ...metadata });
    } else if (reason === "cancelled") {
      this.#said.push({ type: "abort", reason: code ?? reason }, { type: "finish-step" }, { type: "finish", finishReason: "other", ...metadata });
    } else {
      if (metadata.messageMetadata !== undefined) this.#said.push({ type: "message-metadata", messageMetadata: metadata.messageMetadata });
      this.#said.push({ type: "error", errorText: message ?? `the stream ended: ${code ?? reason}` });
    }
  }
}

/** More arguments. Nothing that comes behind brackets that are closed makes an object of them, or another one. */
function take(call: Call, more: string): void {
  for (let at = 0; at < more.length; at++) {
    const letter = more[at];
    if (call.isEscaped) call.isEscaped = false;
    else if (letter === "\\" && call.isText) call.isEscaped = true;
    else if (letter === '"') call.isText = !call.isText;
    else if (call.isText) continue;
    else if (letter === "{" || letter === "[") call.depth++;
    else if (letter === "}" || letter === "]") call.depth = Math.max(0, call.depth - 1);
    if (letter === "}" && call.depth === 0 && call.closedAt === undefined) call.closedAt = call.arguments.length + at + 1;
  }
  call.arguments += more;
}

/** Whether the arguments are an object, and whole. They are read once, however often it is asked. */
function isWhole(call: Call): boolean {
  if (call.closedAt === undefined) return false;
  const isAtEnd = call.closedAt === call.arguments.length;
  call.closedAt = null;
  return isAtEnd && !(parsed(call.arguments) instanceof SyntaxError);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    return error;
  }
}

const WORDS: [FinishReason, string][] = [
  ["stop", "stop end_turn stop_sequence completed"],
  ["length", "length max_tokens max_output_tokens model_context_window_exceeded"],
  ["tool-calls", "tool_calls tool_use function_call"],
  ["content-filter", "content_filter refusal safety recitation blocklist prohibited_content spii image_safety"],
  ["error", "error malformed_function_call"],
];
const REASONS = new Map(WORDS.flatMap(([reason, words]) => words.split(" ").map((word): [string, FinishReason] => [word, reason])));

/** A provider's word for it, in the AI SDK's. */
function finishReason(said: string | null, hasCalls: boolean): FinishReason {
  const reason = REASONS.get(said?.toLowerCase() ?? "stop") ?? "other";
  // Several families say this of tool calls, too, or nothing at all.
  return reason === "stop" && hasCalls ? "tool-calls" : reason;
}

function counted({ input, output }: Usage): Record<string, number> {
  const known = Object.entries({ inputTokens: input, outputTokens: output, totalTokens: input === null || output === null ? null : input + output });
  return Object.fromEntries(known.filter((entry): entry is [string, number] => entry[1] !== null));
}
