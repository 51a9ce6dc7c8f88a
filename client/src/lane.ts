import type { Cancel } from "./environment.js";
import { protocolError, type TokencastError } from "./error.js";
import type { Connection, Kind } from "./source.js";

interface Heard {
  id: number | null;
  event: string;
  data: unknown;
}

/** One connection of a follower, and the order of what it brings. */
export class Lane {
  connection: Connection | null = null;
  /** Ends the wait for it to open. */
  cancelTimer: Cancel = () => {};
  /** The gateway has said where it begins. */
  opened = false;
  openedAt = 0;
  progressed = false;
  /** It is silent, and another one is on its way. */
  suspect = false;
  /** The cursor that it was asked for. */
  after: number | "live" | null = null;
  /** Events behind the last id. They are provisional and wait for it, so nothing ever has to be taken back. */
  #pending: Heard[] = [];

  constructor(readonly kind: Kind) {}

  /** What of it is new behind `cursor`: a whole group up to an id. Null where it is none yet or was seen before; throws on a gap. */
  accept(event: Heard, cursor: number): Heard[] | null {
    if (event.id === null) {
      this.#pending.push(event);
      return null;
    }
    const group = [...this.#pending, event];
    this.#pending = [];
    if (event.event === "end") return group;
    if (event.id <= cursor) return null;
    if (event.event === "snapshot" ? cursor !== 0 : from(group[0]!) !== cursor + 1) throw misfit(group[0]!, cursor);
    return group;
  }
}

function from(event: Heard): unknown {
  return (event.data as { from?: unknown }).from;
}

function misfit(event: Heard, cursor: number): TokencastError {
  return protocolError(`${event.event} from ${String(from(event))} does not follow ${cursor}`);
}
