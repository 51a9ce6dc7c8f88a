/** The events of the native view, as docs/protocol.md names them. */
export interface Usage {
    input: number | null;
    output: number | null;
}
export interface ToolCall {
    index: number;
    id: string | null;
    name: string | null;
    arguments: string;
}
export interface Choice {
    text: string;
    reasoning: string;
    refusal: string;
    tool_calls: ToolCall[];
    finish: string | null;
}
export interface End {
    reason: "completed" | "failed" | "limit" | "cancelled" | "interrupted" | (string & {});
    code: string | null;
    message: string | null;
    finish: string | null;
    usage: Usage | null;
    blocks: number;
    bytes: number;
    hash: string;
}
export interface Open {
    stream: string;
    after: number;
    tail: number;
    status: string;
    started_at: string;
}
interface From {
    from: number;
    choice?: number;
}
interface Data {
    snapshot: {
        upto: number;
        choices: (Partial<Choice> & {
            choice?: number;
        })[];
        usage: Usage | null;
    };
    meta: From & {
        model: string | null;
        upstream_id: string | null;
    };
    text: From & {
        text: string;
    };
    reasoning: From & {
        text: string;
    };
    refusal: From & {
        text: string;
    };
    tool_call: From & {
        index: number;
        id?: string;
        name?: string;
        arguments: string;
    };
    usage: From & Usage;
    finish: From & {
        reason: string;
    };
    error: From & {
        code: string | null;
        message: string;
    };
    end: End;
}
/** `id` is a valid cursor; null where more events of the same block follow. */
export type StreamEvent = {
    [Name in keyof Data]: {
        id: number | null;
        event: Name;
        data: Data[Name];
    };
}[keyof Data];
/** Whether this client knows such an event. An unknown one may still carry an id. */
export declare function known(event: {
    event: string;
}): event is StreamEvent;
export {};
