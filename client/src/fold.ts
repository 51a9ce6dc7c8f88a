import type { Choice, End, StreamEvent, ToolCall, Usage } from "./event.js";

/** What the events so far amount to. Plain data that changes in place; `version` says whether it has. */
export class Fold {
  version = 0;
  choices: Choice[] = [];
  model: string | null = null;
  upstreamId: string | null = null;
  usage: Usage | null = null;
  /** What the provider said in band. */
  error: { code: string | null; message: string } | null = null;
  end: End | null = null;

  /** Of choice 0, as are `reasoning`, `refusal` and `toolCalls`. */
  get text(): string {
    return this.choices[0]?.text ?? "";
  }
  get reasoning(): string {
    return this.choices[0]?.reasoning ?? "";
  }
  get refusal(): string {
    return this.choices[0]?.refusal ?? "";
  }
  get toolCalls(): ToolCall[] {
    return this.choices[0]?.tool_calls ?? [];
  }

  push(item: StreamEvent): void {
    this.version++;
    const data = item.data;
    switch (item.event) {
      case "snapshot":
        this.choices = [];
        for (const { choice, ...folded } of item.data.choices) Object.assign(this.#choice(choice ?? 0), folded);
        this.usage = item.data.usage;
        break;
      case "meta":
        this.model = item.data.model;
        this.upstreamId = item.data.upstream_id;
        break;
      case "text":
      case "reasoning":
      case "refusal":
        this.#choice(item.data.choice ?? 0)[item.event] += string(item.data.text);
        break;
      case "tool_call": {
        const calls = this.#choice(item.data.choice ?? 0).tool_calls;
        let call = calls.find(({ index }) => index === item.data.index);
        if (call === undefined) {
          call = { index: item.data.index, id: null, name: null, arguments: "" };
          calls.push(call);
          calls.sort((a, b) => a.index - b.index);
        }
        call.id = item.data.id ?? call.id;
        call.name = item.data.name ?? call.name;
        call.arguments += string(item.data.arguments);
        break;
      }
      case "usage":
        this.usage = { input: item.data.input, output: item.data.output };
        break;
      case "finish":
        this.#choice(item.data.choice ?? 0).finish = item.data.reason;
        break;
      case "error":
        this.error = { code: item.data.code, message: item.data.message };
        break;
      case "end":
        this.end = data as End;
        this.usage = this.end.usage ?? this.usage;
        break;
    }
  }

  #choice(index: number): Choice {
    // A hole would break whoever walks over the choices. The gateway has at most 128.
    if (!Number.isInteger(index) || index < 0 || index > 1023) throw new RangeError(`choice ${index}`);
    while (this.choices.length <= index) this.choices.push({ text: "", reasoning: "", refusal: "", tool_calls: [], finish: null });
    return this.choices[index]!;
  }
}

/** "undefined" must not get into a text. */
function string(value: unknown): string {
  if (typeof value !== "string") throw new TypeError("no string where one belongs");
  return value;
}
