import { useCallback, useEffect, useRef, useState } from "react";
import { follow, type Choice, type End, type Follow, type Options, type State, type Stats, type ToolCall, type TokencastError, type Usage } from "./index.js";

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

type Drawn = Omit<TokenStream, "stop">;

const IDLE: Drawn = { text: "", reasoning: "", refusal: "", toolCalls: [], choices: [], usage: null, model: null, state: "idle", end: null, error: null, stats: null };

/** Follows a stream while the component is mounted, and renders at most once per animation frame. Null follows nothing. */
export function useTokenStream(stream: string | null | undefined, options: TokenStreamOptions = {}): TokenStream {
  const { gateway = "", after, snapshot, transport, heartbeatMs } = options;
  const url = stream == null || stream === "" ? null : stream.includes("/") ? stream : `${gateway.replace(/\/$/, "")}/v1/streams/${stream}`;
  const [drawn, setDrawn] = useState<Drawn & { url: string | null }>({ ...IDLE, url });
  const current = useRef<Follow | null>(null);
  // Callbacks and the ticket may be other functions at every render; they are no reason to connect anew.
  const latest = useRef(options);
  useEffect(() => {
    latest.current = options;
  });

  useEffect(() => {
    if (url === null) return setDrawn({ ...IDLE, url });
    const { ticket } = latest.current;
    const following = follow(url, {
      after,
      snapshot,
      transport,
      heartbeatMs,
      attemptsMax: latest.current.attemptsMax,
      ticket: typeof ticket === "function" ? () => (latest.current.ticket as () => string | Promise<string>)() : ticket,
      onEvent: (event) => latest.current.onEvent?.(event),
      onOpen: (open, kind) => latest.current.onOpen?.(open, kind),
      onState: (state) => latest.current.onState?.(state),
      onEnd: (end) => latest.current.onEnd?.(end),
      onError: (error) => latest.current.onError?.(error),
    });
    current.current = following;
    following.paint((fold) => {
      const choices = fold.choices.map((choice) => ({ ...choice, tool_calls: choice.tool_calls.map((call) => ({ ...call })) }));
      const first = choices[0];
      setDrawn({
        url,
        text: first?.text ?? "",
        reasoning: first?.reasoning ?? "",
        refusal: first?.refusal ?? "",
        toolCalls: first?.tool_calls ?? [],
        choices,
        usage: fold.usage,
        model: fold.model,
        state: following.state,
        end: fold.end,
        error: following.outcome?.error ?? null,
        stats: following.stats(),
      });
    });
    return () => {
      following.close();
      if (current.current === following) current.current = null;
    };
  }, [url, after, snapshot, transport, heartbeatMs]);

  const stop = useCallback(() => void current.current?.stop(), []);
  // The first render with another stream must not show the text of the one before.
  const shown = drawn.url === url ? drawn : { ...IDLE, state: url === null ? ("idle" as const) : ("connecting" as const) };
  const { text, reasoning, refusal, toolCalls, choices, usage, model, state, end, error, stats } = shown;
  return { text, reasoning, refusal, toolCalls, choices, usage, model, state: state === "idle" && url !== null ? "connecting" : state, end, error, stats, stop };
}
