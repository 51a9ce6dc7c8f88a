//! Ollama's chat and generate: a JSON object a line, the last of which has the counts; tool calls are whole.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::super::ask::Ask;
use super::super::script::{Field, Say, Script, Usage, rng};
use super::turn::{Call, Calls, Turn};
use super::{Endpoint, Event, FAILURE, MODELS, Writer, padded, quoted};

/// How much later each line says that it is.
const LINE: Duration = Duration::from_micros(23_417);

#[derive(Debug)]
pub(super) struct Ollama {
    model: String,
    /// Whether the text stands beside the counts, not in a message.
    generate: bool,
    /// What the next line says is the time.
    time: SystemTime,
    calls: Calls,
}

impl Ollama {
    pub(super) fn new(ask: &Ask) -> Self {
        let seconds = 1_700_000_000 + rng(ask.seed, u64::MAX).u64(..100_000_000);
        Self {
            model: ask.model.clone(),
            generate: ask.endpoint == Endpoint::OllamaGenerate,
            time: UNIX_EPOCH + Duration::from_secs(seconds),
            calls: Calls::default(),
        }
    }

    /// Members are JSON that begins with a comma, as are those of the message.
    fn line(&mut self, text: &str, thinking: Option<&str>, calls: &[Call], end: &str) -> Event {
        self.time += LINE;
        let (model, time) = (quoted(&self.model), humantime::format_rfc3339_micros(self.time));
        let thinking = thinking.map_or_else(String::new, |text| format!(r#","thinking":{text}"#));
        let calls = match calls {
            [] => String::new(),
            calls => format!(r#","tool_calls":{}"#, calls.iter().map(call).collect::<Value>()),
        };
        let said = if self.generate {
            format!(r#""response":{text}{thinking}"#)
        } else {
            format!(r#""message":{{"role":"assistant","content":{text}{thinking}{calls}}}"#)
        };
        Event::plain(format!(r#"{{"model":{model},"created_at":"{time}",{said},{end}}}"#))
    }
}

const GOES_ON: &str = r#""done":false"#;
const NOTHING: &str = r#""""#;

impl Writer for Ollama {
    fn say(&mut self, say: &Say, usage: Usage) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(call) = self.calls.hear(say) {
            events.push(self.line(NOTHING, None, &[call], GOES_ON));
        }
        match say.text() {
            Some((Field::Reasoning, text)) => events.push(self.line(NOTHING, Some(&text), &[], GOES_ON)),
            Some((_, text)) => events.push(self.line(&text, None, &[], GOES_ON)),
            None => {}
        }
        if let Say::Finish { reason, .. } = say {
            events.push(self.line(NOTHING, None, &[], &done(reason, usage)).last());
        }
        events
    }

    fn end(&mut self, _usage: Usage) -> Vec<Event> {
        Vec::new()
    }

    fn fail(&mut self) -> Vec<Event> {
        vec![Event::plain(error(FAILURE))]
    }

    fn pad(&mut self, bytes: usize) -> Vec<Event> {
        vec![Event::plain(padded(self.line(NOTHING, None, &[], GOES_ON).data, bytes))]
    }

    fn whole(&mut self, mut script: Script) -> Option<String> {
        let turn = Turn::all(&mut script)?.pop()?;
        let thinking = (!turn.reasoning.is_empty()).then(|| quoted(&turn.reasoning));
        let end = done(turn.reason, script.usage());
        Some(self.line(&quoted(&turn.text()), thinking.as_deref(), &turn.calls, &end).data)
    }
}

fn call(call: &Call) -> Value {
    json!({"function": {"name": call.name, "arguments": call.arguments()}})
}

/// How the last line ends: durations in nanoseconds.
fn done(reason: &str, usage: Usage) -> String {
    let reason = if reason == "length" { "length" } else { "stop" };
    let (prompt, eval) = (usage.prompt * 1_000_000, usage.completion * 25_000_000);
    format!(
        r#""done":true,"done_reason":"{reason}","total_duration":{},"load_duration":50000000,"prompt_eval_count":{},"prompt_eval_duration":{prompt},"eval_count":{},"eval_duration":{eval}"#,
        50_000_000 + prompt + eval,
        usage.prompt,
        usage.completion
    )
}

pub(super) fn error(message: &str) -> String {
    json!({"error": message}).to_string()
}

pub(super) fn models() -> String {
    let model = |id| {
        let name = format!("{id}:latest");
        json!({
            "name": name,
            "model": name,
            "modified_at": "2025-01-01T00:00:00Z",
            "size": 1,
            "digest": "0".repeat(64),
            "details": {
                "parent_model": "",
                "format": "gguf",
                "family": "simulated",
                "families": ["simulated"],
                "parameter_size": "0B",
                "quantization_level": "F16",
            },
        })
    };
    json!({"models": MODELS.map(model)}).to_string()
}
