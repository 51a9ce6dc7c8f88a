import type { ChatTransport, UIMessage, UIMessageChunk } from "ai";
import { type Options } from "./index.js";
type Resolvable<Value> = Value | Promise<Value> | (() => Value | Promise<Value>);
type Headed = Record<string, string> | Headers;
export interface TransportOptions extends Pick<Options, "transport" | "heartbeatMs" | "attemptsMax" | "environment"> {
    /** Where chats are sent to: the gateway's own door, or a route of your server that hands on to it. Default "/api/chat". */
    api?: string | undefined;
    /** Origin of the gateway. Default that of `api`, or the page's own. */
    gateway?: string | undefined;
    /** A ticket or key to follow with, or a function that gets one for a stream. Default: the ticket that came with the answer. */
    ticket?: string | ((stream: string) => string | Promise<string>) | undefined;
    headers?: Resolvable<Headed> | undefined;
    credentials?: Resolvable<RequestCredentials> | undefined;
    /** Goes into the body of every chat that is sent. */
    body?: Resolvable<object> | undefined;
    fetch?: typeof fetch | undefined;
}
type Sent<Message extends UIMessage> = Parameters<ChatTransport<Message>["sendMessages"]>[0];
type Reconnected<Message extends UIMessage> = Parameters<ChatTransport<Message>["reconnectToStream"]>[0] & {
    abortSignal?: AbortSignal | undefined;
};
/** `useChat` over tokencast: the answer is followed by `follow`, so it survives the network, reloads and the gateway's restart. */
export declare class TokencastChatTransport<Message extends UIMessage = UIMessage> implements ChatTransport<Message> {
    #private;
    /** Whoever reconnects gets the whole answer from its beginning, under the same id. */
    readonly resumeStreamIsReplay = true;
    constructor(options?: TransportOptions);
    sendMessages(sent: Sent<Message>): Promise<ReadableStream<UIMessageChunk>>;
    reconnectToStream({ chatId, headers, abortSignal }: Reconnected<Message>): Promise<ReadableStream<UIMessageChunk> | null>;
    /** Stops the answer itself, in every tab and at the provider. `stop` of `useChat` only ends this page's viewing. */
    stop(chatId: string): Promise<void>;
}
export {};
