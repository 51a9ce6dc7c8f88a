//! What is read of an event: a delta in one pass, what is rarer as leaves for later.

use crate::dialect::json::{Any, Leaf, shape};

shape! {
    /// One `data:` of the stream, whatever its type.
    Chunk {
        kind: Leaf<'a> = b"type",
        index: Leaf<'a> = b"index",
        delta: Any<Delta<'a>> = b"delta",
        content_block: Leaf<'a> = b"content_block",
        message: Leaf<'a> = b"message",
        usage: Leaf<'a> = b"usage",
        error: Leaf<'a> = b"error",
    }
}

shape! {
    /// Of a content block, or of the message.
    Delta {
        kind: Leaf<'a> = b"type",
        text: Leaf<'a> = b"text",
        thinking: Leaf<'a> = b"thinking",
        partial_json: Leaf<'a> = b"partial_json",
        stop_reason: Leaf<'a> = b"stop_reason",
    }
}

shape! {
    /// A block as it starts.
    Start {
        kind: Leaf<'a> = b"type",
        text: Leaf<'a> = b"text",
        thinking: Leaf<'a> = b"thinking",
        id: Leaf<'a> = b"id",
        name: Leaf<'a> = b"name",
        input: Leaf<'a> = b"input",
    }
}

shape! {
    /// The message as it starts.
    Message {
        id: Leaf<'a> = b"id",
        model: Leaf<'a> = b"model",
        usage: Leaf<'a> = b"usage",
    }
}

shape! {
    Usage {
        input_tokens: Leaf<'a> = b"input_tokens",
        output_tokens: Leaf<'a> = b"output_tokens",
    }
}
