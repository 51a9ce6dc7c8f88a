import type { Choice, End, StreamEvent, ToolCall, Usage } from "./event.js";
/** What the events so far amount to. Plain data that changes in place; `version` says whether it has. */
export declare class Fold {
    #private;
    version: number;
    choices: Choice[];
    model: string | null;
    upstreamId: string | null;
    usage: Usage | null;
    /** What the provider said in band. */
    error: {
        code: string | null;
        message: string;
    } | null;
    end: End | null;
    /** Of choice 0, as are `reasoning`, `refusal` and `toolCalls`. */
    get text(): string;
    get reasoning(): string;
    get refusal(): string;
    get toolCalls(): ToolCall[];
    push(item: StreamEvent): void;
}
