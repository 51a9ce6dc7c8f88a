// src/react.ts
import { useCallback, useEffect, useRef, useState } from "react";
import { follow } from "./index.js";
var IDLE = { text: "", reasoning: "", refusal: "", toolCalls: [], choices: [], usage: null, model: null, state: "idle", end: null, error: null, stats: null };
function useTokenStream(stream, options = {}) {
  const { gateway = "", after, snapshot, transport, heartbeatMs } = options;
  const url = stream == null || stream === "" ? null : stream.includes("/") ? stream : `${gateway.replace(/\/$/, "")}/v1/streams/${stream}`;
  const [drawn, setDrawn] = useState({ ...IDLE, url });
  const current = useRef(null);
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
      ticket: typeof ticket === "function" ? () => latest.current.ticket() : ticket,
      onEvent: (event) => latest.current.onEvent?.(event),
      onOpen: (open, kind) => latest.current.onOpen?.(open, kind),
      onState: (state2) => latest.current.onState?.(state2),
      onEnd: (end2) => latest.current.onEnd?.(end2),
      onError: (error2) => latest.current.onError?.(error2)
    });
    current.current = following;
    following.paint((fold) => {
      const choices2 = fold.choices.map((choice) => ({ ...choice, tool_calls: choice.tool_calls.map((call) => ({ ...call })) }));
      const first = choices2[0];
      setDrawn({
        url,
        text: first?.text ?? "",
        reasoning: first?.reasoning ?? "",
        refusal: first?.refusal ?? "",
        toolCalls: first?.tool_calls ?? [],
        choices: choices2,
        usage: fold.usage,
        model: fold.model,
        state: following.state,
        end: fold.end,
        error: following.outcome?.error ?? null,
        stats: following.stats()
      });
    });
    return () => {
      following.close();
      if (current.current === following) current.current = null;
    };
  }, [url, after, snapshot, transport, heartbeatMs]);
  const stop = useCallback(() => void current.current?.stop(), []);
  const shown = drawn.url === url ? drawn : { ...IDLE, state: url === null ? "idle" : "connecting" };
  const { text, reasoning, refusal, toolCalls, choices, usage, model, state, end, error, stats } = shown;
  return { text, reasoning, refusal, toolCalls, choices, usage, model, state: state === "idle" && url !== null ? "connecting" : state, end, error, stats, stop };
}
export {
  useTokenStream
};
