export interface SseEvent {
  id: string | null;
  event: string;
  data: string;
}

/** Incremental and linear: every character is looked at once, whatever the chunks. Lines end in LF, CR or CRLF. */
export class SseParser {
  /** The last `retry` that was said. */
  retryMs: number | null = null;
  #decoder = new TextDecoder();
  #pieces: string[] = [];
  #held = 0;
  #skipLf = false;
  #id: string | null = null;
  #event = "";
  #data: string[] = [];

  constructor(readonly charsMax = 32 * 1024 * 1024) {}

  push(chunk: Uint8Array): SseEvent[] {
    const text = this.#decoder.decode(chunk, { stream: true });
    const events: SseEvent[] = [];
    const border = /[\r\n]/g;
    let start = 0;
    if (this.#skipLf && text !== "") {
      if (text[0] === "\n") start = 1;
      this.#skipLf = false;
    }
    for (;;) {
      border.lastIndex = start;
      const found = border.exec(text);
      if (found === null) break;
      const line = this.#pieces.join("") + text.slice(start, found.index);
      this.#pieces = [];
      start = found.index + 1;
      if (found[0] === "\r") {
        if (start === text.length) this.#skipLf = true;
        else if (text[start] === "\n") start++;
      }
      this.#line(line, events);
    }
    if (start < text.length) this.#hold(this.#pieces, text.slice(start));
    return events;
  }

  #hold(into: string[], text: string): void {
    this.#held += text.length;
    if (this.#held > this.charsMax) throw new RangeError("an event that is too large");
    into.push(text);
  }

  #line(line: string, events: SseEvent[]): void {
    if (line === "") {
      if (this.#data.length > 0) events.push({ id: this.#id, event: this.#event || "message", data: this.#data.join("\n") });
      this.#id = null;
      this.#event = "";
      this.#data = [];
      this.#held = 0;
      return;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") this.#hold(this.#data, value);
    else if (name === "event") this.#event = value;
    // An id holds for its own block only: what tokencast sends without one has none.
    else if (name === "id") this.#id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
  }
}
