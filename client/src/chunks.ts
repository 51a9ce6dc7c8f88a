import type { FinishReason, UIMessageChunk } from "ai";
import type { End, StreamEvent, Usage } from "./event.js";

interface Call {
  toolCallId: string;
  toolName: string;
  arguments: string;
}

/** Turns a stream's events into the parts of one UI message of the AI SDK. Of several choices, the first. */
export class Chunks {
  #begun = false;
  /** Text or reasoning that has been begun and not ended. */
  #open: { type: "text" | "reasoning"; id: string } | null = null;
  #parts = 0;
  #calls = new Map<number, Call>();
  #finish: string | null = null;
  #usage: Usage | null = null;

  /** Who continues a message of the assistant, as with the results of tools, gives its id. */
  constructor(
    readonly stream: string,
    readonly messageId = `msg-${stream}`,
  ) {}

  push({ event, data }: StreamEvent): UIMessageChunk[] {
    const said: UIMessageChunk[] = [];
    // Not before there is something: an empty message would take the place of the one that a reload begins with.
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
        if (call === undefined) {
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

  #delta(type: "text" | "reasoning", delta: string, said: UIMessageChunk[]): void {
    if (delta === "") return;
    if (this.#open?.type !== type) {
      this.#close(said);
      this.#open = { type, id: `${type}-${this.#parts++}` };
      said.push({ type: `${type}-start`, id: this.#open.id });
    }
    said.push({ type: `${type}-delta`, id: this.#open.id, delta });
  }

  #close(said: UIMessageChunk[]): void {
    if (this.#open !== null) said.push({ type: `${this.#open.type}-end`, id: this.#open.id });
    this.#open = null;
  }

  #end(end: End, said: UIMessageChunk[]): void {
    this.#close(said);
    if (end.reason === "cancelled") return void said.push({ type: "abort", reason: end.code ?? end.reason });
    if (end.reason !== "completed") return void said.push({ type: "error", errorText: end.message ?? end.code ?? end.reason });
    // Only what is whole may be run.
    for (const call of this.#calls.values()) said.push(available(call));
    const usage = end.usage ?? this.#usage;
    const messageMetadata = usage === null ? {} : { messageMetadata: { usage: { inputTokens: usage.input, outputTokens: usage.output } } };
    said.push({ type: "finish-step" }, { type: "finish", finishReason: finishReason(this.#finish ?? end.finish), ...messageMetadata });
  }
}

function available({ toolCallId, toolName, arguments: text }: Call): UIMessageChunk {
  try {
    return { type: "tool-input-available", toolCallId, toolName, input: text.trim() === "" ? {} : JSON.parse(text) };
  } catch (cause) {
    return { type: "tool-input-error", toolCallId, toolName, input: text, errorText: `arguments that are no JSON: ${(cause as Error).message}` };
  }
}

const REASONS: Record<string, FinishReason> = {
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
  error: "error",
};

/** The providers' words for it, in the AI SDK's. */
function finishReason(reason: string | null): FinishReason {
  return REASONS[(reason ?? "").toLowerCase()] ?? "other";
}
