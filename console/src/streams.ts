import { at, make, write } from "./dom.js";
import type { Facts } from "./gateway.js";
import { ago, count, tone } from "./words.js";

/** The list of streams. */
export class Streams {
  readonly #list = at("streams");
  readonly #rows = new Map<string, HTMLLIElement>();

  constructor(readonly chosen: (facts: Facts) => void) {}

  /** Rows are kept and changed in place, so that the focus stays where it is. */
  show(streams: Facts[], current: string | null): void {
    const ids = new Set(streams.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    streams.forEach((facts, index) => {
      const row = this.#row(facts, facts.id === current);
      if (this.#list.children[index] !== row) this.#list.insertBefore(row, this.#list.children[index] ?? null);
    });
    at("streams-empty").hidden = streams.length > 0;
  }

  #row(facts: Facts, isCurrent: boolean): HTMLLIElement {
    let row = this.#rows.get(facts.id);
    if (row === undefined) {
      row = make("li");
      const button = make("button");
      button.type = "button";
      button.append(make("span", "id", facts.id), make("span", "chip"), make("span", "more"));
      row.append(button);
      this.#rows.set(facts.id, row);
    }
    const button = row.firstElementChild as HTMLButtonElement;
    button.onclick = () => this.chosen(facts);
    button.setAttribute("aria-current", String(isCurrent));
    const [, chip, more] = button.children as unknown as [HTMLElement, HTMLElement, HTMLElement];
    write(chip, facts.status);
    chip.className = `chip ${tone(facts.status)}`;
    const viewers = facts.status === "running" ? ` · ${count(facts.viewers, "viewer")}` : "";
    write(more, `${facts.model ?? facts.provider} · ${count(facts.blocks, "block")}${viewers} · ${ago(facts.started_at)}`);
    return row;
  }
}
