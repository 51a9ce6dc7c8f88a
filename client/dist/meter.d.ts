/** How fast a number grows, over the last two seconds. */
export declare class Meter {
    #private;
    note(now: number, value: number): void;
    perSecond(now: number): number;
}
