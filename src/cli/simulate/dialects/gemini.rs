//! Gemini's `generateContent`: every chunk is an answer of its own, with the usage so far; tool calls are whole.

use serde_json::{Value, json};

use super::super::ask::{Ask, Refusal};
use super::super::script::{Field, Say, Script, Usage, alphanumeric, rng};
use super::turn::{Call, Calls, Turn};
use super::{Event, FAILURE, MODELS, Writer, padded, quoted};

#[derive(Debug)]
pub(super) struct Gemini {
    response_id: String,
    model: String,
    /// What vouches for the thinking, if there is any.
    signature: Option<String>,
    refusal: bool,
    /// So far.
    usage: Usage,
    calls: Calls,
}

impl Gemini {
    pub(super) fn new(ask: &Ask) -> Self {
        let mut rng = rng(ask.seed, u64::MAX);
        Self {
            response_id: alphanumeric(&mut rng, 22),
            model: ask.model.clone(),
            // As long as base64 is.
            signature: (ask.options.reasoning > 0).then(|| alphanumeric(&mut rng, 120)),
            refusal: ask.options.refusal,
            usage: Usage::default(),
            calls: Calls::default(),
        }
    }

    /// A chunk with one part. Both are JSON.
    fn chunk(&self, choice: u64, part: &str, reason: Option<&str>) -> Event {
        let reason = reason.map_or_else(String::new, |reason| format!(r#","finishReason": "{reason}""#));
        let candidate =
            format!(r#"{{"content": {{"parts": [{part}],"role": "model"}}{reason},"index": {choice}}}"#);
        Event::plain(self.answer(&candidate))
    }

    fn answer(&self, candidates: &str) -> String {
        format!(
            r#"{{"candidates": [{candidates}],"usageMetadata": {},"modelVersion": {},"responseId": "{}"}}"#,
            usage_json(self.usage),
            quoted(&self.model),
            self.response_id
        )
    }

    fn finish_reason(&self, reason: &str) -> &'static str {
        match reason {
            _ if self.refusal => "SAFETY",
            "length" => "MAX_TOKENS",
            _ => "STOP",
        }
    }

    /// The last part of a candidate: empty, but for what vouches for the thinking.
    fn last_part(&self) -> Value {
        match &self.signature {
            Some(signature) => json!({"text": "", "thoughtSignature": signature}),
            None => json!({"text": ""}),
        }
    }
}

impl Writer for Gemini {
    fn say(&mut self, say: &Say, usage: Usage) -> Vec<Event> {
        self.usage = usage;
        let choice = say.choice();
        let mut events = Vec::new();
        if let Some(call) = self.calls.hear(say) {
            events.push(self.chunk(choice, &part(&call).to_string(), None));
        }
        if let Some((field, text)) = say.text() {
            let thought = if field == Field::Reasoning { r#","thought": true"# } else { "" };
            events.push(self.chunk(choice, &format!(r#"{{"text": {text}{thought}}}"#), None));
        }
        if let Say::Finish { reason, .. } = say {
            let (part, reason) = (self.last_part().to_string(), self.finish_reason(reason));
            events.push(self.chunk(choice, &part, Some(reason)).last());
        }
        events
    }

    fn end(&mut self, _usage: Usage) -> Vec<Event> {
        Vec::new()
    }

    fn fail(&mut self) -> Vec<Event> {
        let error = json!({"error": {"code": 503, "message": FAILURE, "status": "UNAVAILABLE"}});
        vec![Event::plain(error.to_string())]
    }

    fn pad(&mut self, bytes: usize) -> Vec<Event> {
        vec![Event::plain(padded(self.chunk(0, r#"{"text": ""}"#, None).data, bytes))]
    }

    fn whole(&mut self, mut script: Script) -> Option<String> {
        let turns = Turn::all(&mut script)?;
        self.usage = script.usage();
        let candidates = turns.iter().enumerate().map(|(index, turn)| {
            let mut parts = Vec::new();
            if !turn.reasoning.is_empty() {
                parts.push(json!({"text": turn.reasoning, "thought": true}));
            }
            let text = turn.text();
            if !text.is_empty() {
                parts.push(json!({"text": text}));
            }
            parts.extend(turn.calls.iter().map(part));
            parts.push(self.last_part());
            let content = json!({"parts": parts, "role": "model"});
            let reason = self.finish_reason(turn.reason);
            json!({"content": content, "finishReason": reason, "index": index}).to_string()
        });
        let candidates = candidates.collect::<Vec<_>>().join(",");
        Some(self.answer(&candidates))
    }
}

fn part(call: &Call) -> Value {
    json!({"functionCall": {"name": call.name, "args": call.arguments()}})
}

fn usage_json(usage: Usage) -> Value {
    let mut json = json!({
        "promptTokenCount": usage.prompt,
        "candidatesTokenCount": usage.completion - usage.reasoning,
        "totalTokenCount": usage.prompt + usage.completion,
    });
    if usage.reasoning > 0 {
        json["thoughtsTokenCount"] = usage.reasoning.into();
    }
    json
}

pub(super) fn error(refusal: &Refusal) -> String {
    let status = match refusal.status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        501 => "UNIMPLEMENTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    };
    let code = refusal.status.as_u16();
    json!({"error": {"code": code, "message": refusal.message, "status": status}}).to_string()
}

pub(super) fn models() -> String {
    let model = |id| {
        json!({
            "name": format!("models/{id}"),
            "version": "1",
            "displayName": id,
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent", "streamGenerateContent"],
        })
    };
    json!({"models": MODELS.map(model)}).to_string()
}
