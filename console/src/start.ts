import { at, make, write } from "./dom.js";
import type { Gateway, Provider } from "./gateway.js";

/** A prompt as a provider of that dialect takes it. */
function ask(dialect: string, model: string, prompt: string): object {
  const messages = [{ role: "user", content: prompt }];
  switch (dialect) {
    case "anthropic":
      return { model, max_tokens: 4096, messages };
    case "gemini":
      return { model, contents: [{ role: "user", parts: [{ text: prompt }] }] };
    default:
      return { model, messages };
  }
}

/** The form that starts a stream. */
export class Start {
  readonly #form = at<HTMLFormElement>("start");
  readonly #problem = at("start-problem");
  #providers: Provider[] = [];

  constructor(
    readonly gateway: Gateway,
    started: (id: string) => void,
  ) {
    const { provider, prompt } = this.#fields();
    provider.addEventListener("change", () => this.#offerModels());
    prompt.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.#form.requestSubmit();
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit(started);
    });
  }

  show(providers: Provider[]): void {
    this.#providers = providers;
    const { provider } = this.#fields();
    provider.replaceChildren(...providers.map(({ name }) => make("option", "", name)));
    this.#offerModels();
  }

  #fields(): { provider: HTMLSelectElement; model: HTMLInputElement; prompt: HTMLTextAreaElement } {
    const field = <T>(name: string): T => this.#form.elements.namedItem(name) as T;
    return { provider: field("provider"), model: field("model"), prompt: field("prompt") };
  }

  /** Globs are no names; what is left of them can be chosen. */
  #offerModels(): void {
    const { provider, model } = this.#fields();
    const chosen = this.#providers.find(({ name }) => name === provider.value);
    const names = (chosen?.models ?? []).filter((glob) => !/[*?]/.test(glob));
    at("models").replaceChildren(...names.map((name) => Object.assign(make("option"), { value: name })));
    if (names.length > 0 && !names.includes(model.value)) model.value = names[0]!;
  }

  async #submit(started: (id: string) => void): Promise<void> {
    const { provider, model, prompt } = this.#fields();
    const button = this.#form.querySelector("button")!;
    button.disabled = true;
    write(this.#problem, "");
    try {
      const dialect = this.#providers.find(({ name }) => name === provider.value)?.dialect ?? "openai";
      const request = ask(dialect, model.value, prompt.value);
      started((await this.gateway.start(provider.value, request)).id);
    } catch (error) {
      write(this.#problem, (error as Error).message);
    } finally {
      button.disabled = false;
    }
  }
}
