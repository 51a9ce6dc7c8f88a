//! What is read of a chunk: down to the parts, which every token has, in one pass; the rarer things as leaves for
//! later.

use serde::de::{Deserialize, Deserializer, IgnoredAny};

use crate::dialect::json::{Any, Leaf, List, shape};

shape! {
    /// One `data:` of the stream: a `GenerateContentResponse`.
    Chunk {
        candidates: Any<List<Candidate<'a>>> = b"candidates",
        prompt_feedback: Leaf<'a> = b"promptFeedback",
        usage: Leaf<'a> = b"usageMetadata",
        model: Leaf<'a> = b"modelVersion",
        id: Leaf<'a> = b"responseId",
        error: Leaf<'a> = b"error",
    }
}

shape! {
    Candidate {
        index: Leaf<'a> = b"index",
        content: Any<Content<'a>> = b"content",
        finish_reason: Leaf<'a> = b"finishReason",
    }
}

shape! {
    Content {
        parts: Any<List<Part<'a>>> = b"parts",
    }
}

shape! {
    /// Code, its results, files and signatures are not read.
    Part {
        text: Leaf<'a> = b"text",
        thought: Leaf<'a> = b"thought",
        function_call: Leaf<'a> = b"functionCall",
    }
}

shape! {
    FunctionCall {
        id: Leaf<'a> = b"id",
        name: Leaf<'a> = b"name",
        args: Leaf<'a> = b"args",
        partial_args: Leaf<'a> = b"partialArgs",
        will_continue: Leaf<'a> = b"willContinue",
    }
}

shape! {
    /// One value among the arguments of a call that is streamed, or a piece of a string there.
    PartialArg {
        json_path: Leaf<'a> = b"jsonPath",
        string: Leaf<'a> = b"stringValue",
        number: Leaf<'a> = b"numberValue",
        bool: Leaf<'a> = b"boolValue",
        null: Present = b"nullValue",
        will_continue: Leaf<'a> = b"willContinue",
    }
}

shape! {
    PromptFeedback {
        block_reason: Leaf<'a> = b"blockReason",
        message: Leaf<'a> = b"blockReasonMessage",
    }
}

shape! {
    Usage {
        prompt: Leaf<'a> = b"promptTokenCount",
        tool_use_prompt: Leaf<'a> = b"toolUsePromptTokenCount",
        candidates: Leaf<'a> = b"candidatesTokenCount",
        thoughts: Leaf<'a> = b"thoughtsTokenCount",
    }
}

/// Whether a member is there, be it `null`: Google writes the value null so, or as `"NULL_VALUE"`.
#[derive(Debug, Default)]
pub(super) struct Present(pub(super) bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}
