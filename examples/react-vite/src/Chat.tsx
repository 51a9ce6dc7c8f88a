import { useTokenStream } from "@tokencast/client/react";
import { useEffect, useRef, useState, type FormEvent } from "react";

const GATEWAY: string = import.meta.env.VITE_GATEWAY ?? "http://127.0.0.1:8080";
const MODEL: string = import.meta.env.VITE_MODEL ?? "gpt-simulated";

interface Message {
  role: "user" | "assistant";
  content: string;
}

interface Turn {
  question: string;
  id: string;
  ticket: string;
}

/** In production your own server does this, with its key, and hands id and ticket to the page. */
async function start(messages: Message[]): Promise<{ id: string; ticket: string }> {
  const response = await fetch(`${GATEWAY}/v1/streams`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ request: { model: MODEL, messages } }),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error?.message ?? `the gateway answered ${response.status}`);
  return answer;
}

export function Chat() {
  // A page that is loaded again follows the same streams again, finished or not.
  const [turns, setTurns] = useState<Turn[]>(() => JSON.parse(sessionStorage.getItem("turns") ?? "[]"));
  const [problem, setProblem] = useState("");
  const answers = useRef<Record<string, string>>({});
  useEffect(() => sessionStorage.setItem("turns", JSON.stringify(turns)), [turns]);

  async function ask(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = event.currentTarget;
    const question = String(new FormData(form).get("question")).trim();
    if (question === "") return;
    const earlier = turns.flatMap((turn): Message[] => [
      { role: "user", content: turn.question },
      { role: "assistant", content: answers.current[turn.id] ?? "" },
    ]);
    try {
      const { id, ticket } = await start([...earlier, { role: "user", content: question }]);
      setTurns((before) => [...before, { question, id, ticket }]);
      setProblem("");
      form.reset();
    } catch (error) {
      setProblem((error as Error).message);
    }
  }

  return (
    <>
      {turns.map((turn) => (
        <section key={turn.id}>
          <p className="question">{turn.question}</p>
          <Answer {...turn} told={(text) => (answers.current[turn.id] = text)} />
        </section>
      ))}
      <form onSubmit={ask}>
        <input name="question" aria-label="Your question" placeholder="Ask something" autoComplete="off" autoFocus />
        <button>Send</button>
      </form>
      {problem !== "" && <p role="alert">{problem}</p>}
    </>
  );
}

function Answer({ id, ticket, told }: Turn & { told: (text: string) => void }) {
  const { text, state, end, error, stats, stop } = useTokenStream(id, { gateway: GATEWAY, ticket });
  useEffect(() => {
    told(text);
  }, [text]);
  return (
    <article aria-busy={state !== "finished"}>
      <p className="answer">{text}</p>
      <footer>
        <small>{error?.message ?? end?.reason ?? `${state}, ${stats?.transport ?? "…"}, ${(stats?.tokensPerSecond ?? 0).toFixed(0)} tokens/s`}</small>
        {state === "open" && <button onClick={stop}>Stop</button>}
      </footer>
    </article>
  );
}
