//! What a response of OpenAI's is made of, and the names of the events that say it.

use serde_json::{Value, json};

/// The item that is being said.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) id: String,
    /// So far.
    pub(super) text: String,
}

#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    Reasoning,
    Message,
    Refusal,
    Call { id: String, name: String },
}

/// The events of a kind of item.
pub(super) struct Names {
    pub(super) delta: &'static str,
    pub(super) done: &'static str,
    /// The member of the latter that repeats the text.
    pub(super) text: &'static str,
    /// More members of both, as JSON that begins with a comma.
    pub(super) members: &'static str,
    /// Added and done; a call has no parts.
    pub(super) part: Option<[&'static str; 2]>,
    /// More members of these, as JSON that begins with a comma.
    pub(super) part_members: &'static str,
}

impl Kind {
    pub(super) fn names(&self) -> Names {
        let (summary, content) = (r#","summary_index":0"#, r#","content_index":0"#);
        let part = Some(["response.content_part.added", "response.content_part.done"]);
        match self {
            Self::Reasoning => Names {
                delta: "response.reasoning_summary_text.delta",
                done: "response.reasoning_summary_text.done",
                text: "text",
                part: Some(["response.reasoning_summary_part.added", "response.reasoning_summary_part.done"]),
                members: summary,
                part_members: summary,
            },
            Self::Message => Names {
                delta: "response.output_text.delta",
                done: "response.output_text.done",
                text: "text",
                part,
                part_members: content,
                members: r#","content_index":0,"logprobs":[]"#,
            },
            Self::Refusal => Names {
                delta: "response.refusal.delta",
                done: "response.refusal.done",
                text: "refusal",
                part,
                part_members: content,
                members: content,
            },
            Self::Call { .. } => Names {
                delta: "response.function_call_arguments.delta",
                done: "response.function_call_arguments.done",
                text: "arguments",
                members: "",
                part: None,
                part_members: "",
            },
        }
    }

    fn prefix(&self) -> &'static str {
        match self {
            Self::Reasoning => "rs",
            Self::Message | Self::Refusal => "msg",
            Self::Call { .. } => "fc",
        }
    }
}

impl Item {
    pub(super) fn new(kind: Kind, id: &str) -> Self {
        Self { id: format!("{}_{id}", kind.prefix()), kind, text: String::new() }
    }

    pub(super) fn part(&self) -> Value {
        match self.kind {
            Kind::Reasoning => json!({"type": "summary_text", "text": self.text}),
            Kind::Refusal => json!({"type": "refusal", "refusal": self.text}),
            Kind::Message | Kind::Call { .. } => {
                json!({"type": "output_text", "annotations": [], "logprobs": [], "text": self.text})
            }
        }
    }

    /// Without a status it has only begun.
    pub(super) fn json(&self, status: Option<&str>) -> Value {
        let parts: Vec<_> = status.map(|_| self.part()).into_iter().collect();
        let status = status.unwrap_or("in_progress");
        match &self.kind {
            Kind::Reasoning => json!({"id": self.id, "type": "reasoning", "summary": parts}),
            Kind::Message | Kind::Refusal => json!({
                "id": self.id, "type": "message", "status": status, "content": parts, "role": "assistant",
            }),
            Kind::Call { id, name } => json!({
                "id": self.id, "type": "function_call", "status": status, "arguments": self.text,
                "call_id": id, "name": name,
            }),
        }
    }
}
