//! What a followed stream says.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::time::Duration;

use serde::Deserialize;

use crate::cast::block::Seq;

/// The next thing that a follower has to tell.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A connection stands.
    Open(Open),
    Event(Event),
    /// The stream has ended. Nothing follows.
    End(End),
    /// The server ends this viewing. What follows is a new connection, or why there is none.
    Bye(Bye),
    /// The connection is lost, or none came about; another one is made after a pause.
    Cut(Cut),
    /// The cursor is behind the end already: there is nothing to see. Nothing follows.
    Over,
}

/// The first thing on every connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Open {
    pub stream: String,
    pub after: Seq,
    pub tail: Seq,
    pub status: String,
    pub started_at: String,
    /// The data as received, JSON.
    #[serde(skip)]
    pub data: String,
    /// `sse` or `webtransport`
    #[serde(skip)]
    pub transport: &'static str,
}

/// Something that the provider said.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub name: String,
    /// A valid cursor behind this event. Without it, more of the same block follows.
    pub id: Option<Seq>,
    /// The first block that this event is about.
    pub from: Seq,
    pub said: Said,
    /// The data as received, JSON.
    pub data: String,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    Meta {
        model: Option<String>,
        upstream_id: Option<String>,
    },
    Text {
        choice: u32,
        text: String,
    },
    Reasoning {
        choice: u32,
        text: String,
    },
    Refusal {
        choice: u32,
        text: String,
    },
    /// `id` and `name` stand in the call's first event.
    ToolCall {
        choice: u32,
        index: u32,
        id: Option<String>,
        name: Option<String>,
        arguments: String,
    },
    /// Cumulative: the last one counts.
    Usage(Usage),
    Finish {
        choice: u32,
        reason: String,
    },
    /// Said by the provider, in band.
    Error {
        code: Option<String>,
        message: String,
    },
    /// Of a kind that this client does not know.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct Usage {
    pub input: Option<u64>,
    pub output: Option<u64>,
}

/// How the stream ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct End {
    pub reason: String,
    pub code: Option<String>,
    pub message: Option<String>,
    pub finish: Option<String>,
    pub usage: Option<Usage>,
    pub blocks: Seq,
    pub bytes: u64,
    pub hash: String,
    /// The data as received, JSON.
    #[serde(skip)]
    pub data: String,
}

impl End {
    pub fn is_completed(&self) -> bool {
        self.reason == "completed"
    }
}

/// Why the server ends a viewing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Bye {
    pub code: String,
    pub retry_ms: u64,
    /// The data as received, JSON.
    #[serde(skip)]
    pub data: String,
}

/// A connection that broke, or did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    pub why: String,
    pub pause: Duration,
}

/// The members of all kinds of events.
#[derive(Deserialize)]
struct Wire {
    from: Seq,
    #[serde(default)]
    choice: u32,
    text: Option<String>,
    index: Option<u32>,
    id: Option<String>,
    name: Option<String>,
    arguments: Option<String>,
    input: Option<u64>,
    output: Option<u64>,
    model: Option<String>,
    upstream_id: Option<String>,
    reason: Option<String>,
    code: Option<String>,
    message: Option<String>,
}

impl Event {
    /// From what stood on the wire; the error says what is wrong with it.
    pub(super) fn read(name: String, id: Option<Seq>, data: String) -> Result<Self, String> {
        let wire: Wire = serde_json::from_str(&data).map_err(|error| format!("{name}: {error}"))?;
        let (from, choice) = (wire.from, wire.choice);
        let lacks = |member: &str| format!("{name}: there is no {member:?}");
        let text = || wire.text.clone().ok_or_else(|| lacks("text"));
        let said = match name.as_str() {
            "meta" => Said::Meta { model: wire.model, upstream_id: wire.upstream_id },
            "text" => Said::Text { choice, text: text()? },
            "reasoning" => Said::Reasoning { choice, text: text()? },
            "refusal" => Said::Refusal { choice, text: text()? },
            "tool_call" => Said::ToolCall {
                choice,
                index: wire.index.ok_or_else(|| lacks("index"))?,
                id: wire.id,
                name: wire.name,
                arguments: wire.arguments.ok_or_else(|| lacks("arguments"))?,
            },
            "usage" => Said::Usage(Usage { input: wire.input, output: wire.output }),
            "finish" => Said::Finish { choice, reason: wire.reason.ok_or_else(|| lacks("reason"))? },
            "error" => {
                Said::Error { code: wire.code, message: wire.message.ok_or_else(|| lacks("message"))? }
            }
            _ => Said::Unknown,
        };
        Ok(Self { name, id, from, said, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, data: &str) -> Result<Said, String> {
        Event::read(name.into(), Some(9), data.into()).map(|event| event.said)
    }

    #[test]
    fn kinds() {
        let text = said("text", r#"{"from":3,"text":"a"}"#).unwrap();
        assert_eq!(text, Said::Text { choice: 0, text: "a".into() });
        let text = said("reasoning", r#"{"from":3,"choice":2,"text":""}"#).unwrap();
        assert_eq!(text, Said::Reasoning { choice: 2, text: String::new() });
        let call = said("tool_call", r#"{"from":1,"index":1,"id":"c","name":"f","arguments":"{"}"#).unwrap();
        let wanted = Said::ToolCall {
            choice: 0,
            index: 1,
            id: Some("c".into()),
            name: Some("f".into()),
            arguments: "{".into(),
        };
        assert_eq!(call, wanted);
        let usage = said("usage", r#"{"from":1,"input":null,"output":3}"#).unwrap();
        assert_eq!(usage, Said::Usage(Usage { input: None, output: Some(3) }));
        assert_eq!(said("news", r#"{"from":1,"x":[]}"#).unwrap(), Said::Unknown);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (name, data, part) in [
            ("text", r#"{"from":1}"#, "\"text\""),
            ("text", r#"{"text":"a"}"#, "from"),
            ("tool_call", r#"{"from":1,"index":0}"#, "\"arguments\""),
            ("finish", "[]", "finish"),
            ("finish", "", "finish"),
        ] {
            let error = said(name, data).unwrap_err();
            assert!(error.contains(part), "{name} {data}: {error}");
        }
    }
}
