import type { Choice, Fold } from "@tokencast/client";
import { make, write } from "./dom.js";

/** A text that only grows is appended to: laying out 5,000 tokens sixty times a second would be felt. */
class Growing {
  readonly #node = document.createTextNode("");
  #length = 0;

  constructor(
    readonly element: HTMLElement,
    into: HTMLElement,
  ) {
    element.append(this.#node);
    element.hidden = true;
    into.append(element);
  }

  show(text: string): void {
    if (text.length === this.#length) return;
    if (text.length > this.#length) this.#node.appendData(text.slice(this.#length));
    else this.#node.data = text;
    this.#length = text.length;
    this.element.hidden = text === "";
  }
}

class ChoiceShown {
  readonly #label = make("p", "label");
  readonly #reasoning: Growing;
  readonly #text: Growing;
  readonly #refusal: Growing;
  readonly #calls = make("div");

  constructor(
    readonly number: number,
    into: HTMLElement,
  ) {
    this.#label.hidden = true;
    into.append(this.#label);
    this.#reasoning = new Growing(make("p", "reasoning"), into);
    this.#text = new Growing(make("p"), into);
    this.#refusal = new Growing(make("p", "refusal"), into);
    into.append(this.#calls);
  }

  show(choice: Choice, several: boolean): void {
    this.#label.hidden = !several;
    write(this.#label, several ? `Choice ${this.number}` : "");
    this.#reasoning.show(choice.reasoning);
    this.#text.show(choice.text);
    this.#refusal.show(choice.refusal);
    choice.tool_calls.forEach((call, index) => {
      const shown = (this.#calls.children[index] as HTMLElement | undefined) ?? this.#calls.appendChild(make("pre"));
      write(shown, `${call.name ?? "tool"}(${call.arguments})`);
    });
  }
}

/** What a fold amounts to, as a person reads it. A live one stays at the end while its reader is there. */
export class Transcript {
  #choices: ChoiceShown[] = [];

  #atEnd: boolean;
  #top = 0;

  constructor(
    readonly element: HTMLElement,
    staysAtEnd: boolean,
  ) {
    this.#atEnd = staysAtEnd;
    if (!staysAtEnd) return;
    // Only who scrolls up leaves the end: a pane that becomes smaller has not been scrolled.
    element.addEventListener("scroll", () => {
      const { scrollTop, scrollHeight, clientHeight } = element;
      if (scrollHeight - scrollTop - clientHeight < 40) this.#atEnd = true;
      else if (scrollTop < this.#top) this.#atEnd = false;
      this.#top = scrollTop;
    });
  }

  show(fold: Fold): void {
    const { element } = this;
    // A scroll that is not told yet.
    if (element.scrollTop < this.#top && element.scrollHeight - element.scrollTop - element.clientHeight >= 40) this.#atEnd = false;
    fold.choices.forEach((choice, number) => {
      this.#choices[number] ??= new ChoiceShown(number, element);
      this.#choices[number].show(choice, fold.choices.length > 1);
    });
    if (!this.#atEnd) return;
    element.scrollTop = element.scrollHeight;
    this.#top = element.scrollTop;
  }
}
