//! OpenAI's chat completions: the chunks of a stream, the whole answer, errors.

use serde_json::{Value, json};

use super::super::ask::{Ask, Refusal};
use super::super::script::{Field, Say, Script, Usage, alphanumeric, rng};
use super::turn::{Call, Turn};
use super::{Event, FAILURE, MODELS, Writer, quoted};

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
    include_usage: bool,
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
        let include_usage = ask.include_usage;
        let tail = if include_usage { r#"],"usage":null}"# } else { "]}" };
        Self { id, created, model, fingerprint, head, tail, include_usage }
    }

    /// One chunk; `None` for what is not an event.
    fn chunk(&self, say: &Say) -> Option<String> {
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
    fn usage_chunk(&self, usage: Usage) -> String {
        format!(r#"{}],"usage":{}}}"#, self.head, usage_json(usage))
    }

    /// A chunk that says nothing, in exactly so many bytes, or as few as it takes.
    fn padded_chunk(&self, bytes: usize) -> String {
        let mut chunk = format!(
            r#"{}{{"index":0,"delta":{{"content":""}},"logprobs":null,"finish_reason":null}}],"obfuscation":""#,
            self.head
        );
        let padding = bytes.saturating_sub(chunk.len() + 2);
        chunk.extend(std::iter::repeat_n('x', padding));
        chunk.push_str("\"}");
        chunk
    }
}

impl Writer for Envelope {
    fn say(&mut self, say: &Say, _usage: Usage) -> Vec<Event> {
        self.chunk(say).map(Event::plain).into_iter().collect()
    }

    fn end(&mut self, usage: Usage) -> Vec<Event> {
        let usage = self.include_usage.then(|| Event::plain(self.usage_chunk(usage)));
        usage.into_iter().chain([done()]).collect()
    }

    fn fail(&mut self) -> Vec<Event> {
        vec![Event::plain(stream_error()), done()]
    }

    fn pad(&mut self, bytes: usize) -> Vec<Event> {
        vec![Event::plain(self.padded_chunk(bytes))]
    }

    fn whole(&mut self, mut script: Script) -> Option<String> {
        let turns = Turn::all(&mut script)?;
        let choices: Vec<_> =
            turns.into_iter().enumerate().map(|(index, turn)| choice(index, turn)).collect();
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

fn done() -> Event {
    Event::plain("[DONE]".to_owned()).last()
}

/// One choice of a whole answer.
fn choice(index: usize, turn: Turn) -> Value {
    let some = |text: String| if text.is_empty() { Value::Null } else { Value::String(text) };
    let mut message = json!({
        "role": "assistant",
        "content": some(turn.content),
        "refusal": some(turn.refusal),
    });
    if !turn.reasoning.is_empty() {
        message["reasoning_content"] = Value::String(turn.reasoning);
    }
    if !turn.calls.is_empty() {
        let call = |Call { id, name, arguments }| {
            let function = json!({"name": name, "arguments": arguments});
            json!({"id": id, "type": "function", "function": function})
        };
        message["tool_calls"] = turn.calls.into_iter().map(call).collect();
    }
    json!({"index": index, "message": message, "logprobs": null, "finish_reason": turn.reason})
}

/// What vLLM says in mid-stream when its engine fails.
fn stream_error() -> String {
    json!({"error": {
        "message": FAILURE,
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
    json!({"object": "list", "data": MODELS.map(model)}).to_string()
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

#[cfg(test)]
mod tests {
    use super::super::super::options::Options;
    use super::super::super::script::EMOJI;
    use super::super::Endpoint;
    use super::*;

    fn ask(extra: &str) -> Ask {
        let body = format!(r#"{{"model":"a \"b\"","messages":[1],{extra}}}"#);
        Ask::read(Endpoint::OpenaiChat, body.as_bytes(), &Options::default()).unwrap()
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
        let whole = Envelope::new(&ask).whole(Script::new(&ask)).unwrap();
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
