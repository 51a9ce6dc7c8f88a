export { follow, Follow, type Options, type Outcome, type State, type Stats } from "./follow.js";
export { TokencastError, type OwnCode } from "./error.js";
export type { Choice, End, Open, StreamEvent, ToolCall, Usage } from "./event.js";
export { Fold } from "./fold.js";
export type { Kind } from "./source.js";
