import type { UIMessageChunk } from "ai";
import type { StreamEvent } from "./event.js";
/** Turns a stream's events into one UI message of the AI SDK, as the gateway's view `ui` does: docs/protocol.md. Of several choices, the first. */
export declare class Chunks {
    #private;
    readonly stream: string;
    readonly messageId: string;
    /** Who continues a message of the assistant, as with the results of tools, gives its id. */
    constructor(stream: string, messageId?: string);
    push({ id, event, data }: StreamEvent): UIMessageChunk[];
}
