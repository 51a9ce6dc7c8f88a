/** What an iterator has not taken yet. It is never over by itself: beyond `max` the connection is read no further. */
export declare class Queue<Item> {
    #private;
    readonly max: number;
    constructor(max: number);
    get length(): number;
    push(item: Item): void;
    /** A promise while there is too much; resolves at half. */
    full(): Promise<void> | null;
    next(): Promise<IteratorResult<Item, undefined>>;
    /** Nothing comes any more; what is there is still given out first. */
    end(error?: unknown): void;
}
