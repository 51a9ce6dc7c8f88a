//! How it is said: a writer for each dialect, which makes the script into that dialect's events, and what else a
//! provider of that family answers.

mod anthropic;
mod gemini;
mod ollama;
mod openai_chat;
mod openai_item;
mod openai_responses;
#[cfg(test)]
mod tests;
mod turn;

use std::fmt::Debug;

use http::HeaderMap;
use serde_json::Value;

pub(super) use self::openai_responses::id as response_id;
use super::ask::{Ask, Refusal};
use super::script::{Field, Say, Script, Usage};

/// The largest answer that is held whole; most dialects' streams have no such limit, because they are never.
pub(super) const WHOLE_BYTES_MAX: usize = 64 << 20;

/// What an error in mid-stream says.
const FAILURE: &str = "The simulated provider failed on request.";
/// What the lists of models list. Any other is as good.
const MODELS: [&str; 2] = ["simulated", "simulated-reasoning"];

/// One event of a stream: a block of SSE, or a line of NDJSON.
#[derive(Debug, PartialEq)]
pub(super) struct Event {
    pub(super) name: Option<&'static str>,
    pub(super) data: String,
    /// Whether it is what tells an end from a cut, such as `[DONE]`.
    pub(super) is_last: bool,
}

impl Event {
    fn plain(data: String) -> Self {
        Self { name: None, data, is_last: false }
    }

    fn last(self) -> Self {
        Self { is_last: true, ..self }
    }
}

/// Says one answer. It is told of everything in order, and may remember what it needs.
pub(super) trait Writer: Debug + Send {
    /// The events that this makes.
    fn say(&mut self, say: &Say, usage: Usage) -> Vec<Event>;

    /// What follows when every choice has finished.
    fn end(&mut self, usage: Usage) -> Vec<Event>;

    /// An error in mid-stream, and what follows it.
    fn fail(&mut self) -> Vec<Event>;

    /// An event that says nothing, with data of exactly so many bytes, or as few as it takes.
    fn pad(&mut self, bytes: usize) -> Vec<Event>;

    /// The answer to a request that wants no stream. `None` when it is over [`WHOLE_BYTES_MAX`].
    fn whole(&mut self, script: Script) -> Option<String>;
}

/// Who the simulator takes itself for, by the path that was asked, and by a header where a path is shared: errors
/// and lists look different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Openai,
    Anthropic,
    Gemini,
    Ollama,
}

impl Family {
    pub(super) fn of(path: &str, headers: &HeaderMap) -> Self {
        let sent = |name| path == "/v1/models" && headers.contains_key(name);
        let generates = path.starts_with("/v1/models/") && path.contains(':');
        if path.starts_with("/v1beta/") || generates || sent("x-goog-api-key") {
            Self::Gemini
        } else if path.starts_with("/api/") {
            Self::Ollama
        } else if path.starts_with("/v1/messages") || sent("anthropic-version") {
            Self::Anthropic
        } else {
            Self::Openai
        }
    }

    pub(super) fn error(self, refusal: &Refusal) -> String {
        match self {
            Self::Openai => openai_chat::error(refusal),
            Self::Anthropic => anthropic::error(refusal),
            Self::Gemini => gemini::error(refusal),
            Self::Ollama => ollama::error(&refusal.message),
        }
    }

    pub(super) fn models(self) -> String {
        match self {
            Self::Openai => openai_chat::models(),
            Self::Anthropic => anthropic::models(),
            Self::Gemini => gemini::models(),
            Self::Ollama => ollama::models(),
        }
    }

    /// Headers of every answer beside its content type, in which `{}` stands for the request's id.
    pub(super) fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Openai => &[
                ("x-request-id", "{}"),
                ("openai-version", "2020-10-01"),
                ("x-ratelimit-remaining-requests", "9999"),
            ],
            Self::Anthropic => &[("request-id", "{}"), ("anthropic-ratelimit-requests-remaining", "9999")],
            Self::Gemini | Self::Ollama => &[],
        }
    }
}

/// Where answers can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    OpenaiChat,
    OpenaiResponses,
    Anthropic,
    /// Its path says what the other dialects say in the body.
    Gemini {
        model: String,
        stream: bool,
    },
    OllamaChat,
    OllamaGenerate,
}

impl Endpoint {
    pub(super) fn family(&self) -> Family {
        match self {
            Self::OpenaiChat | Self::OpenaiResponses => Family::Openai,
            Self::Anthropic => Family::Anthropic,
            Self::Gemini { .. } => Family::Gemini,
            Self::OllamaChat | Self::OllamaGenerate => Family::Ollama,
        }
    }

    /// Of a stream.
    pub(super) fn content_type(&self) -> &'static str {
        match self.family() {
            Family::Openai | Family::Anthropic => "text/event-stream; charset=utf-8",
            Family::Gemini => "text/event-stream",
            Family::Ollama => "application/x-ndjson",
        }
    }

    /// Whether its events are lines of NDJSON, not blocks of SSE.
    pub(super) fn is_ndjson(&self) -> bool {
        self.family() == Family::Ollama
    }

    /// How its lines end, when nothing else is asked for.
    pub(super) fn line_end(&self) -> &'static str {
        if self.family() == Family::Gemini { "\r\n" } else { "\n" }
    }

    /// Whether the last events of a stream repeat everything that was said.
    pub(super) fn repeats_itself(&self) -> bool {
        *self == Self::OpenaiResponses
    }

    pub(super) fn writer(&self, ask: &Ask) -> Box<dyn Writer> {
        match self {
            Self::OpenaiChat => Box::new(openai_chat::Envelope::new(ask)),
            Self::OpenaiResponses => Box::new(openai_responses::Responses::new(ask)),
            Self::Anthropic => Box::new(anthropic::Message::new(ask)),
            Self::Gemini { .. } => Box::new(gemini::Gemini::new(ask)),
            Self::OllamaChat | Self::OllamaGenerate => Box::new(ollama::Ollama::new(ask)),
        }
    }
}

impl Say {
    /// Whose turn it is; a tick is nobody's, and counts for the first.
    fn choice(&self) -> u64 {
        match self {
            Self::Tick => 0,
            Self::Role { choice }
            | Self::Delta { choice, .. }
            | Self::Half { choice, .. }
            | Self::Call { choice, .. }
            | Self::Arguments { choice, .. }
            | Self::Finish { choice, .. } => *choice,
        }
    }

    /// The text of a delta, as a JSON string.
    fn text(&self) -> Option<(Field, String)> {
        match self {
            Self::Delta { field, text, .. } => Some((*field, quoted(text))),
            Self::Half { field, escape, .. } => Some((*field, format!("\"{escape}\""))),
            _ => None,
        }
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// White space before the last brace of an object, up to so many bytes: the one padding that no client objects to.
fn padded(mut object: String, bytes: usize) -> String {
    if let Some(at) = object.rfind('}') {
        object.insert_str(at, &" ".repeat(bytes.saturating_sub(object.len())));
    }
    object
}
