//! What is read of a chunk: the three levels that every token has in one pass, the rarer ones as leaves for
//! later.

use crate::dialect::json::{Any, Leaf, List, shape};

shape! {
    /// One `data:` of the stream.
    Chunk {
        id: Leaf<'a> = b"id",
        model: Leaf<'a> = b"model",
        object: Leaf<'a> = b"object",
        choices: Any<List<Choice<'a>>> = b"choices",
        usage: Leaf<'a> = b"usage",
        x_groq: Leaf<'a> = b"x_groq",
        error: Leaf<'a> = b"error",
        message: Leaf<'a> = b"message",
    }
}

shape! {
    Choice {
        index: Leaf<'a> = b"index",
        delta: Any<Delta<'a>> = b"delta",
        // Legacy completions; some servers send it beside the delta, with the same content.
        text: Leaf<'a> = b"text",
        finish_reason: Leaf<'a> = b"finish_reason",
        usage: Leaf<'a> = b"usage",
    }
}

shape! {
    Delta {
        // A string, or Mistral's list of parts.
        content: Leaf<'a> = b"content",
        reasoning_content: Leaf<'a> = b"reasoning_content",
        reasoning: Leaf<'a> = b"reasoning",
        reasoning_details: Leaf<'a> = b"reasoning_details",
        refusal: Leaf<'a> = b"refusal",
        tool_calls: Leaf<'a> = b"tool_calls",
        function_call: Leaf<'a> = b"function_call",
    }
}

shape! {
    /// `{"type":"text","text":"…"}`, `{"type":"thinking","thinking":[…]}` and OpenRouter's reasoning details.
    Part {
        kind: Leaf<'a> = b"type",
        text: Leaf<'a> = b"text",
        thinking: Leaf<'a> = b"thinking",
        summary: Leaf<'a> = b"summary",
    }
}

shape! {
    ToolCall {
        index: Leaf<'a> = b"index",
        id: Leaf<'a> = b"id",
        function: Leaf<'a> = b"function",
        custom: Leaf<'a> = b"custom",
    }
}

shape! {
    /// What is called; a custom tool has `input` in place of `arguments`.
    Callee {
        name: Leaf<'a> = b"name",
        arguments: Leaf<'a> = b"arguments",
        input: Leaf<'a> = b"input",
    }
}

shape! {
    Usage {
        prompt_tokens: Leaf<'a> = b"prompt_tokens",
        input_tokens: Leaf<'a> = b"input_tokens",
        completion_tokens: Leaf<'a> = b"completion_tokens",
        output_tokens: Leaf<'a> = b"output_tokens",
    }
}

shape! {
    /// Groq's own corner of the chunk.
    Groq {
        usage: Leaf<'a> = b"usage",
    }
}
