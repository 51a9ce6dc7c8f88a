import type { Cancel } from "./environment.js";
import type { Connection, Kind } from "./source.js";
interface Heard {
    id: number | null;
    event: string;
    data: unknown;
}
/** One connection of a follower, and the order of what it brings. */
export declare class Lane {
    #private;
    readonly kind: Kind;
    connection: Connection | null;
    /** Ends the wait for it to open. */
    cancelTimer: Cancel;
    /** The gateway has said where it begins. */
    opened: boolean;
    openedAt: number;
    progressed: boolean;
    /** It is silent, and another one is on its way. */
    suspect: boolean;
    /** The cursor that it was asked for. */
    after: number | "live" | null;
    constructor(kind: Kind);
    /** What of it is new behind `cursor`: a whole group up to an id. Null where it is none yet or was seen before; throws on a gap. */
    accept(event: Heard, cursor: number): Heard[] | null;
}
export {};
