//! Blocks → events. A dialect reads what one family of providers sends. It is pure and never fails: a block that it
//! does not understand yields nothing, and the bytes stay what counts.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod json;
mod openai_chat;
pub mod splice;
pub mod sse;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::cast::event::Event;

/// What a provider's family is called in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// OpenAI, and every server that speaks like it.
    Openai,
}

/// How a body is divided into blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `text/event-stream`
    Sse,
    /// One JSON text per line, as Ollama sends it.
    Ndjson,
}

/// A reader of one response body: blocks in, events out.
pub trait Dialect: Debug + Send + Sync {
    /// Appends what the next complete block says. After a terminal marker or an error that is nothing.
    fn read(&mut self, block: &[u8], events: &mut Vec<Event>);

    /// How the stream would end if the body ended cleanly now.
    fn verdict(&self) -> Verdict;
}

/// What the blocks so far say about the end of their stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Something is still to come: a body that ends here was cut short.
    Unfinished,
    /// Every choice has finished: a body may end here.
    Finished,
    /// The terminal marker was read: the stream is complete, whatever follows.
    Terminal,
    /// An error block was read: the stream has failed, whatever follows.
    Failed { message: String },
}

impl Family {
    /// As the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Openai => "openai",
        }
    }

    /// The path behind the base URL that a request takes when it names none.
    pub fn default_path(self) -> &'static str {
        match self {
            Family::Openai => "/chat/completions",
        }
    }

    /// The paths behind the base URL whose answers can be read as a stream.
    pub fn paths(self) -> &'static [&'static str] {
        match self {
            Family::Openai => &["/chat/completions", "/completions"],
        }
    }

    /// A reader for the answer to one request to `path`.
    pub fn dialect(self, path: &str) -> Box<dyn Dialect> {
        match (self, path) {
            // The legacy `/completions` sends the same chunks, with `text` where a chat has `delta.content`.
            (Family::Openai, _) => Box::new(openai_chat::OpenAiChat::new()),
        }
    }

    /// How the answer to a request to `path` is divided into blocks.
    pub fn framing(self, path: &str) -> Framing {
        match (self, path) {
            (Family::Openai, _) => Framing::Sse,
        }
    }

    /// Whether a body of this content type can be the stream. Servers that send none are believed.
    pub fn accepts(self, content_type: Option<&str>) -> bool {
        let Some(content_type) = content_type else { return true };
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match self {
            Family::Openai => essence.eq_ignore_ascii_case("text/event-stream"),
        }
    }

    /// The body to send for `request`: the received bytes with streaming, and if asked for usage, switched
    /// on.
    pub fn prepare(self, path: &str, request: &str, ask_usage: bool) -> Result<String, splice::NotAnObject> {
        match (self, path) {
            (Family::Openai, _) => splice::openai_chat(request, ask_usage),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_named_in_snake_case() {
        assert_eq!(serde_json::to_string(&Family::Openai).unwrap(), "\"openai\"");
        assert_eq!(serde_json::from_str::<Family>("\"openai\"").unwrap(), Family::Openai);
        assert!(serde_json::from_str::<Family>("\"OpenAI\"").is_err());
    }

    #[test]
    fn the_default_path_is_one_of_the_paths() {
        assert!(Family::Openai.paths().contains(&Family::Openai.default_path()));
    }

    #[test]
    fn content_types() {
        let check = |content_type, accepted| {
            assert_eq!(Family::Openai.accepts(content_type), accepted, "{content_type:?}");
        };
        check(None, true);
        check(Some("text/event-stream"), true);
        check(Some("text/event-stream; charset=utf-8"), true);
        check(Some("Text/Event-Stream ;charset=UTF-8"), true);
        check(Some(" text/event-stream"), true);
        check(Some("application/json"), false);
        check(Some("text/event-streams"), false);
        check(Some("text/html; x=text/event-stream"), false);
        check(Some(""), false);
    }
}
