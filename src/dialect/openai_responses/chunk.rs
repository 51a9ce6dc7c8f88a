//! What is read of an event: what a delta has in one pass, items and whole responses as leaves for later.

use crate::dialect::json::{Any, Leaf, List, shape};

shape! {
    /// One `data:` of the stream, whatever its type.
    Chunk {
        kind: Leaf<'a> = b"type",
        output_index: Leaf<'a> = b"output_index",
        item_id: Leaf<'a> = b"item_id",
        content_index: Leaf<'a> = b"content_index",
        summary_index: Leaf<'a> = b"summary_index",
        command_index: Leaf<'a> = b"command_index",
        delta: Leaf<'a> = b"delta",
        // What the deltas amount to is called otherwise in each `done`.
        text: Leaf<'a> = b"text",
        refusal: Leaf<'a> = b"refusal",
        arguments: Leaf<'a> = b"arguments",
        input: Leaf<'a> = b"input",
        code: Leaf<'a> = b"code",
        command: Leaf<'a> = b"command",
        diff: Leaf<'a> = b"diff",
        item: Leaf<'a> = b"item",
        response: Leaf<'a> = b"response",
        error: Leaf<'a> = b"error",
    }
}

shape! {
    /// A message, reasoning, or a call of any kind.
    Item {
        kind: Leaf<'a> = b"type",
        id: Leaf<'a> = b"id",
        call_id: Leaf<'a> = b"call_id",
        name: Leaf<'a> = b"name",
        content: Any<List<Part<'a>>> = b"content",
        summary: Any<List<Part<'a>>> = b"summary",
        arguments: Leaf<'a> = b"arguments",
        input: Leaf<'a> = b"input",
        code: Leaf<'a> = b"code",
        action: Leaf<'a> = b"action",
        operation: Leaf<'a> = b"operation",
        queries: Leaf<'a> = b"queries",
    }
}

shape! {
    Part {
        kind: Leaf<'a> = b"type",
        text: Leaf<'a> = b"text",
        refusal: Leaf<'a> = b"refusal",
    }
}

shape! {
    Response {
        id: Leaf<'a> = b"id",
        model: Leaf<'a> = b"model",
        status: Leaf<'a> = b"status",
        output: Any<List<Item<'a>>> = b"output",
        usage: Leaf<'a> = b"usage",
        error: Leaf<'a> = b"error",
        incomplete_details: Any<Incomplete<'a>> = b"incomplete_details",
    }
}

shape! {
    Incomplete {
        reason: Leaf<'a> = b"reason",
    }
}

shape! {
    Usage {
        input_tokens: Leaf<'a> = b"input_tokens",
        output_tokens: Leaf<'a> = b"output_tokens",
    }
}
