//! OpenAI's JSON: the chunks of a stream, the whole answer, errors.

use serde_json::{Value, json};

use super::ask::{Ask, Refusal};
use super::script::{EMOJI, Field, Say, Script, Usage, alphanumeric, rng};

/// The largest whole answer; a stream has no such limit, because it is never held in memory.
pub(super) const WHOLE_BYTES_MAX: usize = 64 << 20;

/// What is the same in every chunk of one answer.
#[derive(Debug)]
pub(super) struct Envelope {
    id: String,
    created: u64,
    model: String,
    fingerprint: String,
    /// Members before `choices`, as JSON.
    head: String,
    /// What follows a `choices` array, as JSON.
    tail: &'static str,
}

impl Envelope {
    pub(super) fn new(ask: &Ask) -> Self {
        let mut rng = rng(ask.seed, u64::MAX);
        let id = format!("chatcmpl-{}", alphanumeric(&mut rng, 29));
        let created = 1_700_000_000 + rng.u64(..100_000_000);
        let fingerprint = format!("fp_{:010x}", rng.u64(..1 << 40));
        let model = ask.model.clone();
        let head = format!(
            r#"{{"id":"{id}","object":"chat.completion.chunk","created":{created},"model":{},"service_tier":"default","system_fingerprint":"{fingerprint}","choices":["#,
            quoted(&model)
        );
        let tail = if ask.include_usage { r#"],"usage":null}"# } else { "]}" };
        Self { id, created, model, fingerprint, head, tail }
    }

    /// One chunk; `None` for what is not an event.
    pub(super) fn chunk(&self, say: &Say) -> Option<String> {
        let (choice, delta, reason) = match say {
            Say::Tick => return None,
            Say::Role { choice } => {
                (choice, r#"{"role":"assistant","content":"","refusal":null}"#.to_owned(), None)
            }
            Say::Delta { choice, field, text } => {
                (choice, format!(r#"{{"{}":{}}}"#, name(*field), quoted(text)), None)
            }
            Say::Half { choice, field, escape } => {
                (choice, format!(r#"{{"{}":"{escape}"}}"#, name(*field)), None)
            }
            Say::Call { choice, index, id, name } => (
                choice,
                format!(
                    r#"{{"tool_calls":[{{"index":{index},"id":"{id}","type":"function","function":{{"name":{},"arguments":""}}}}]}}"#,
                    quoted(name)
                ),
                None,
            ),
            Say::Arguments { choice, index, text } => (
                choice,
                format!(
                    r#"{{"tool_calls":[{{"index":{index},"function":{{"arguments":{}}}}}]}}"#,
                    quoted(text)
                ),
                None,
            ),
            Say::Finish { choice, reason } => (choice, "{}".to_owned(), Some(reason)),
        };
        let reason = reason.map_or_else(|| "null".to_owned(), |reason| quoted(reason));
        let (head, tail) = (&self.head, self.tail);
        Some(format!(
            r#"{head}{{"index":{choice},"delta":{delta},"logprobs":null,"finish_reason":{reason}}}{tail}"#
        ))
    }

    /// The chunk without choices that `stream_options.include_usage` asks for.
    pub(super) fn usage_chunk(&self, usage: Usage) -> String {
        format!(r#"{}],"usage":{}}}"#, self.head, usage_json(usage))
    }

    /// A chunk that says nothing, in exactly so many bytes, or as few as it takes.
    pub(super) fn padded_chunk(&self, bytes: usize) -> String {
        let mut chunk = format!(
            r#"{}{{"index":0,"delta":{{"content":""}},"logprobs":null,"finish_reason":null}}],"obfuscation":""#,
            self.head
        );
        let padding = bytes.saturating_sub(chunk.len() + 2);
        chunk.extend(std::iter::repeat_n('x', padding));
        chunk.push_str("\"}");
        chunk
    }

    /// The answer to a request without `"stream": true`. `None` when it is over [`WHOLE_BYTES_MAX`].
    pub(super) fn whole(&self, ask: &Ask, mut script: Script) -> Option<String> {
        let mut choices: Vec<Whole> = (0..ask.choices).map(|_| Whole::default()).collect();
        let mut bytes = 0;
        for say in script.by_ref() {
            bytes += choices.get_mut(say.choice()? as usize).map_or(0, |choice| choice.hear(say));
            if bytes > WHOLE_BYTES_MAX {
                return None;
            }
        }
        let choices: Vec<_> =
            choices.into_iter().enumerate().map(|(index, choice)| choice.into_json(index)).collect();
        let answer = json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": choices,
            "usage": usage_json(script.usage()),
            "service_tier": "default",
            "system_fingerprint": self.fingerprint,
        });
        Some(answer.to_string())
    }
}

/// One choice of a whole answer.
#[derive(Default)]
struct Whole {
    content: String,
    reasoning: String,
    refusal: String,
    calls: Vec<(String, String, String)>,
    reason: &'static str,
}

impl Whole {
    /// Takes in what was said and returns how many bytes it was.
    fn hear(&mut self, say: Say) -> usize {
        match say {
            Say::Tick | Say::Role { .. } => 0,
            Say::Delta { field, text, .. } => {
                self.field(field).push_str(&text);
                text.len()
            }
            Say::Half { field, escape, .. } => {
                // The first half brings the emoji, the second one nothing.
                if escape.starts_with("\\ud8") {
                    self.field(field).push(EMOJI);
                }
                EMOJI.len_utf8()
            }
            Say::Call { id, name, .. } => {
                let bytes = name.len();
                self.calls.push((id, name, String::new()));
                bytes
            }
            Say::Arguments { text, .. } => {
                if let Some((_, _, arguments)) = self.calls.last_mut() {
                    arguments.push_str(&text);
                }
                text.len()
            }
            Say::Finish { reason, .. } => {
                self.reason = reason;
                0
            }
        }
    }

    fn field(&mut self, field: Field) -> &mut String {
        match field {
            Field::Reasoning => &mut self.reasoning,
            Field::Content => &mut self.content,
            Field::Refusal => &mut self.refusal,
        }
    }

    fn into_json(self, index: usize) -> Value {
        let some = |text: String| if text.is_empty() { Value::Null } else { Value::String(text) };
        let mut message = json!({
            "role": "assistant",
            "content": some(self.content),
            "refusal": some(self.refusal),
        });
        if !self.reasoning.is_empty() {
            message["reasoning_content"] = Value::String(self.reasoning);
        }
        if !self.calls.is_empty() {
            let call = |(id, name, arguments): (String, String, String)| {
                let function = json!({"name": name, "arguments": arguments});
                json!({"id": id, "type": "function", "function": function})
            };
            message["tool_calls"] = self.calls.into_iter().map(call).collect();
        }
        json!({"index": index, "message": message, "logprobs": null, "finish_reason": self.reason})
    }
}

impl Say {
    /// Whose turn it is; a tick is nobody's, and counts for the first.
    fn choice(&self) -> Option<u64> {
        match self {
            Self::Tick => Some(0),
            Self::Role { choice }
            | Self::Delta { choice, .. }
            | Self::Half { choice, .. }
            | Self::Call { choice, .. }
            | Self::Arguments { choice, .. }
            | Self::Finish { choice, .. } => Some(*choice),
        }
    }
}

/// What vLLM says in mid-stream when its engine fails.
pub(super) fn stream_error() -> String {
    json!({"error": {
        "message": "The simulated provider failed on request.",
        "type": "InternalServerError",
        "param": null,
        "code": 500,
    }})
    .to_string()
}

pub(super) fn error(refusal: &Refusal) -> String {
    json!({"error": {
        "message": refusal.message,
        "type": refusal.kind(),
        "param": refusal.param,
        "code": refusal.code,
    }})
    .to_string()
}

pub(super) fn models() -> String {
    let model = |id| json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "tokencast"});
    json!({"object": "list", "data": [model("simulated"), model("simulated-reasoning")]}).to_string()
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}

fn name(field: Field) -> &'static str {
    match field {
        Field::Reasoning => "reasoning_content",
        Field::Content => "content",
        Field::Refusal => "refusal",
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::options::Options;
    use super::*;

    fn ask(extra: &str) -> Ask {
        let body = format!(r#"{{"model":"a \"b\"","messages":[1],{extra}}}"#);
        Ask::read(body.as_bytes(), &Options::default()).unwrap()
    }

    #[test]
    fn every_chunk_is_json_of_the_right_shape() {
        let ask = ask(
            r#""n":2,"tools":[{"type":"function","function":{"name":"f"}}],"stream_options":{"include_usage":true},
            "simulate":{"tokens":40,"reasoning":3,"tool_calls":1}"#,
        );
        let envelope = Envelope::new(&ask);
        for chunk in Script::new(&ask).filter_map(|say| envelope.chunk(&say)) {
            let json: Value = serde_json::from_str(&chunk).unwrap();
            assert_eq!(
                (&json["object"], &json["model"]),
                (&json!("chat.completion.chunk"), &json!("a \"b\""))
            );
            assert!(json["id"].as_str().unwrap().starts_with("chatcmpl-") && json["usage"].is_null());
            assert!(json["choices"][0]["delta"].is_object(), "{json}");
        }
        let usage: Value = serde_json::from_str(&envelope.usage_chunk(Usage::default())).unwrap();
        assert_eq!(usage["choices"], json!([]));
    }

    #[test]
    fn padding_is_exact() {
        let envelope = Envelope::new(&ask(r#""n":1"#));
        assert_eq!(envelope.padded_chunk(5000).len(), 5000);
        serde_json::from_str::<Value>(&envelope.padded_chunk(1)).unwrap();
    }

    #[test]
    fn whole_and_streamed_say_the_same() {
        let ask = ask(r#""tools":[{"type":"function","function":{"name":"f"}}],
            "simulate":{"tokens":40,"reasoning":3,"tool_calls":2,"emoji_halves":true}"#);
        let whole = Envelope::new(&ask).whole(&ask, Script::new(&ask)).unwrap();
        let whole: Value = serde_json::from_str(&whole).unwrap();
        let message = &whole["choices"][0]["message"];
        let mut content = String::new();
        for say in Script::new(&ask) {
            match say {
                Say::Delta { field: Field::Content, text, .. } => content.push_str(&text),
                Say::Half { escape: "\\ud83d", .. } => content.push(EMOJI),
                _ => {}
            }
        }
        assert_eq!(message["content"], content);
        assert!(content.contains('😀') && message["reasoning_content"].is_string());
        assert_eq!(message["tool_calls"].as_array().unwrap().len(), 2);
        assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");
        assert!(whole["usage"]["completion_tokens"].as_u64().unwrap() > 45);
    }
}
