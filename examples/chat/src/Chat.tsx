import { useChat } from "@ai-sdk/react";
import { TokencastChatTransport } from "@tokencast/client/ai";
import type { UIMessage } from "ai";
import { useEffect, useState, type FormEvent } from "react";

const transport = new TokencastChatTransport({ gateway: import.meta.env.VITE_GATEWAY ?? "http://127.0.0.1:8080" });

/** In production your own server keeps the messages. */
const load = (id: string): UIMessage[] => JSON.parse(localStorage.getItem(id) ?? "[]");
const save = (id: string, messages: UIMessage[]) => localStorage.setItem(id, JSON.stringify(messages));

export function Chat({ id }: { id: string }) {
  const [kept] = useState(() => load(id));
  const { messages, setMessages, sendMessage, resumeStream, status, error } = useChat({ id, messages: kept, resume: true, transport });
  const [problem, setProblem] = useState("");
  const busy = status === "submitted" || status === "streaming";

  useEffect(() => save(id, messages), [status]);

  // What was asked in another tab is shown here, too, and its answer followed.
  useEffect(() => {
    const told = ({ key }: StorageEvent) => {
      if (key !== id || busy) return;
      setMessages(load(id));
      void resumeStream();
    };
    addEventListener("storage", told);
    return () => removeEventListener("storage", told);
  }, [id, busy]);

  function ask(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const text = String(new FormData(event.currentTarget).get("question")).trim();
    if (text === "") return;
    setProblem("");
    void sendMessage({ text });
    event.currentTarget.reset();
  }

  return (
    <>
      {messages.map(({ id, role, parts }) => (
        <article key={id} className={role}>
          {parts.map((part, at) => part.type === "text" ? <p key={at}>{part.text}</p> : part.type === "reasoning" ? <em key={at}>{part.text}</em> : null)}
        </article>
      ))}
      <form onSubmit={ask}>
        <input name="question" aria-label="Your question" placeholder="Ask something" autoComplete="off" autoFocus />
        {/* `stop` of useChat would end this tab's viewing; this one stops the answer itself, for every tab. */}
        {busy ? <button type="button" onClick={() => transport.stop(id).catch(({ message }) => setProblem(message))}>Stop</button> : <button>Send</button>}
      </form>
      <footer role="status">{problem || error?.message || status}</footer>
    </>
  );
}
