import { type Choice, type End, type Options, type State, type Stats, type ToolCall, type TokencastError, type Usage } from "./index.js";
export interface TokenStreamOptions extends Omit<Options, "signal" | "environment"> {
    /** Where an id is looked for; default is the page's own origin. */
    gateway?: string | undefined;
}
export interface TokenStream {
    text: string;
    reasoning: string;
    refusal: string;
    toolCalls: ToolCall[];
    choices: Choice[];
    usage: Usage | null;
    model: string | null;
    /** "idle" without a stream. */
    state: State | "idle";
    end: End | null;
    error: TokencastError | null;
    stats: Stats | null;
    /** Stops the stream itself, for everybody. */
    stop: () => void;
}
/** Follows a stream while the component is mounted, and renders at most once per animation frame. Null follows nothing. */
export declare function useTokenStream(stream: string | null | undefined, options?: TokenStreamOptions): TokenStream;
