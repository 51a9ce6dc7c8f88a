import type { UIMessageChunk } from "ai";
import type { StreamEvent } from "./event.js";
/** Turns a stream's events into the parts of one UI message of the AI SDK. Of several choices, the first. */
export declare class Chunks {
    #private;
    readonly stream: string;
    readonly messageId: string;
    /** Who continues a message of the assistant, as with the results of tools, gives its id. */
    constructor(stream: string, messageId?: string);
    push({ event, data }: StreamEvent): UIMessageChunk[];
}
