//! Anthropic's messages: blocks of thinking, text and tool use, one after the other, in named events.

use fastrand::Rng;
use serde_json::{Value, json};

use super::super::ask::{Ask, Refusal};
use super::super::script::{Field, Say, Script, Usage, alphanumeric, rng};
use super::turn::Turn;
use super::{Event, FAILURE, MODELS, Writer, quoted};

/// The most white space that stands before the last brace of an event, as it does in real ones.
const PADDING_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Message {
    id: String,
    model: String,
    /// What vouches for the thinking.
    signature: String,
    refusal: bool,
    padding: Rng,
    /// Of the block that is open, or comes next.
    index: u64,
    open: Option<Block>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Thinking,
    Text,
    ToolUse,
}

impl Message {
    pub(super) fn new(ask: &Ask) -> Self {
        let mut rng = rng(ask.seed, u64::MAX);
        Self {
            id: format!("msg_01{}", alphanumeric(&mut rng, 22)),
            model: ask.model.clone(),
            signature: format!("{}==", alphanumeric(&mut rng, 186)),
            refusal: ask.options.refusal,
            padding: rng,
            index: 0,
            open: None,
        }
    }

    /// Members are JSON that begins with a comma.
    fn event(&mut self, name: &'static str, members: &str) -> Event {
        let padding = self.padding.usize(..PADDING_MAX);
        let data = format!(r#"{{"type":"{name}"{members}{:padding$}}}"#, "");
        Event { name: Some(name), data, is_last: false }
    }

    fn start(&mut self, usage: Usage) -> Vec<Event> {
        let message = json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": usage_json(Usage { completion: 1, ..usage }),
        });
        vec![self.event("message_start", &format!(r#","message":{message}"#)), ping(String::new())]
    }

    /// Makes sure that such a block is open. Each use of a tool is a block of its own.
    fn open(&mut self, block: Block, content: &Value, events: &mut Vec<Event>) {
        if self.open == Some(block) && block != Block::ToolUse {
            return;
        }
        self.close(events);
        self.open = Some(block);
        let members = format!(r#","index":{},"content_block":{content}"#, self.index);
        events.push(self.event("content_block_start", &members));
    }

    fn close(&mut self, events: &mut Vec<Event>) {
        let Some(block) = self.open.take() else { return };
        if block == Block::Thinking {
            let signature = quoted(&self.signature);
            events.push(self.delta("signature_delta", "signature", &signature));
        }
        let members = format!(r#","index":{}"#, self.index);
        events.push(self.event("content_block_stop", &members));
        self.index += 1;
    }

    fn delta(&mut self, kind: &str, member: &str, text: &str) -> Event {
        let members = format!(r#","index":{},"delta":{{"type":"{kind}","{member}":{text}}}"#, self.index);
        self.event("content_block_delta", &members)
    }

    fn stop_reason(&self, reason: &str) -> &'static str {
        match reason {
            _ if self.refusal => "refusal",
            "length" => "max_tokens",
            "tool_calls" => "tool_use",
            _ => "end_turn",
        }
    }
}

impl Writer for Message {
    fn say(&mut self, say: &Say, usage: Usage) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some((field, text)) = say.text() {
            let (kind, member) = if field == Field::Reasoning {
                self.open(
                    Block::Thinking,
                    &json!({"type": "thinking", "thinking": "", "signature": ""}),
                    &mut events,
                );
                ("thinking_delta", "thinking")
            } else {
                self.open(Block::Text, &json!({"type": "text", "text": ""}), &mut events);
                ("text_delta", "text")
            };
            events.push(self.delta(kind, member, &text));
        }
        match say {
            Say::Role { .. } => events.extend(self.start(usage)),
            Say::Call { id, name, .. } => {
                let content = json!({"type": "tool_use", "id": tool_id(id), "name": name, "input": {}});
                self.open(Block::ToolUse, &content, &mut events);
                events.push(self.delta("input_json_delta", "partial_json", r#""""#));
            }
            Say::Arguments { text, .. } => {
                events.push(self.delta("input_json_delta", "partial_json", &quoted(text)));
            }
            Say::Finish { reason, .. } => {
                self.close(&mut events);
                let reason = self.stop_reason(reason);
                let (delta, usage) =
                    (json!({"stop_reason": reason, "stop_sequence": null}), usage_json(usage));
                events.push(self.event("message_delta", &format!(r#","delta":{delta},"usage":{usage}"#)));
            }
            Say::Tick | Say::Delta { .. } | Say::Half { .. } => {}
        }
        events
    }

    fn end(&mut self, _usage: Usage) -> Vec<Event> {
        vec![self.event("message_stop", "").last()]
    }

    fn fail(&mut self) -> Vec<Event> {
        let error = json!({"type": "overloaded_error", "message": FAILURE});
        vec![Event { name: Some("error"), ..Event::plain(format!(r#"{{"type":"error","error":{error}}}"#)) }]
    }

    fn pad(&mut self, bytes: usize) -> Vec<Event> {
        vec![ping(" ".repeat(bytes.saturating_sub(PING.len())))]
    }

    fn whole(&mut self, mut script: Script) -> Option<String> {
        let turn = Turn::all(&mut script)?.pop()?;
        let mut content = Vec::new();
        if !turn.reasoning.is_empty() {
            content.push(json!({
                "type": "thinking", "thinking": turn.reasoning, "signature": self.signature,
            }));
        }
        let text = turn.text();
        if !text.is_empty() {
            content.push(json!({"type": "text", "text": text}));
        }
        content.extend(turn.calls.iter().map(|call| {
            json!({
                "type": "tool_use", "id": tool_id(&call.id), "name": call.name, "input": call.arguments(),
            })
        }));
        let answer = json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": self.stop_reason(turn.reason),
            "stop_sequence": null,
            "usage": usage_json(script.usage()),
        });
        Some(answer.to_string())
    }
}

const PING: &str = r#"{"type": "ping"}"#;

/// With its space, as the real ones have it.
fn ping(padding: String) -> Event {
    let data = PING.replace('}', &(padding + "}"));
    Event { name: Some("ping"), data, is_last: false }
}

fn tool_id(id: &str) -> String {
    id.replace("call_", "toolu_01")
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.prompt,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": usage.completion,
        "service_tier": "standard",
    })
}

pub(super) fn error(refusal: &Refusal) -> String {
    let kind = match refusal.status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": refusal.message}}).to_string()
}

pub(super) fn models() -> String {
    let model =
        |id| json!({"type": "model", "id": id, "display_name": id, "created_at": "2025-01-01T00:00:00Z"});
    let [first, .., last] = MODELS;
    json!({"data": MODELS.map(model), "has_more": false, "first_id": first, "last_id": last}).to_string()
}
