/** What an iterator has not taken yet. It is never over by itself: beyond `max` the connection is read no further. */
export class Queue<Item> {
  #items: Item[] = [];
  #taken = 0;
  #waiting: ((result: IteratorResult<Item, undefined>) => void)[] = [];
  #refused: ((error: unknown) => void)[] = [];
  #ended: { error: unknown } | null = null;
  #drained: { promise: Promise<void>; resolve: () => void } | null = null;

  constructor(readonly max: number) {}

  get length(): number {
    return this.#items.length - this.#taken;
  }

  push(item: Item): void {
    const take = this.#waiting.shift();
    this.#refused.shift();
    if (take === undefined) this.#items.push(item);
    else take({ done: false, value: item });
  }

  /** A promise while there is too much; resolves at half. */
  full(): Promise<void> | null {
    if (this.length < this.max || this.#ended !== null) return this.#drained?.promise ?? null;
    if (this.#drained === null) {
      let resolve = (): void => {};
      const promise = new Promise<void>((done) => (resolve = done));
      this.#drained = { promise, resolve };
    }
    return this.#drained.promise;
  }

  next(): Promise<IteratorResult<Item, undefined>> {
    if (this.length > 0) {
      const value = this.#items[this.#taken++]!;
      if (this.#taken > 1024 && this.#taken * 2 > this.#items.length) {
        this.#items = this.#items.slice(this.#taken);
        this.#taken = 0;
      }
      if (this.length * 2 <= this.max) this.#release();
      return Promise.resolve({ done: false, value });
    }
    if (this.#ended !== null) {
      // An error is thrown once, as a generator does.
      const { error } = this.#ended;
      this.#ended = { error: null };
      return error === null ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push(resolve);
      this.#refused.push(reject);
    });
  }

  /** Nothing comes any more; what is there is still given out first. */
  end(error: unknown = null): void {
    if (this.#ended !== null) return;
    const waiting = this.#waiting.splice(0);
    const [refuse] = this.#refused.splice(0);
    this.#ended = { error: waiting.length > 0 ? null : error };
    waiting.forEach((resolve, index) => (index === 0 && error !== null ? refuse!(error) : resolve({ done: true, value: undefined })));
    this.#release();
  }

  #release(): void {
    this.#drained?.resolve();
    this.#drained = null;
  }
}
