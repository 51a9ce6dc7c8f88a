//! What blocks mean. Events are derived from a block's bytes by its dialect; the bytes stay authoritative.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// The characters of one delta. As few as a token has need no memory of their own.
pub type Delta = CompactString;

/// One thing that a block says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Which model answers and what the provider calls this answer. Said once.
    Meta { model: Option<String>, upstream_id: Option<String> },
    /// More characters of one channel of prose.
    Prose { choice: u32, kind: Prose, text: Delta },
    /// More of one tool call. Its id and name stand in the first event that knows them, and in no other.
    ToolCall { choice: u32, index: u32, id: Option<String>, name: Option<String>, arguments: Delta },
    /// Tokens counted by the provider, cumulative: the last one counts.
    Usage(Usage),
    /// A choice is finished.
    Finish { choice: u32, reason: String },
    /// An error that the provider said in band.
    Error { code: Option<String>, message: String },
}

/// The channels of prose that a choice can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Prose {
    Text,
    Reasoning,
    Refusal,
}

/// Tokens that the provider counted; `None` where it did not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    pub input: Option<u64>,
    pub output: Option<u64>,
}

impl Event {
    /// Whether this is part of the answer itself, the thing that a reader waits for.
    pub fn is_content(&self) -> bool {
        matches!(self, Event::Prose { .. } | Event::ToolCall { .. })
    }

    /// The choice that this is about, where it is about one.
    pub fn choice(&self) -> Option<u32> {
        match self {
            Event::Prose { choice, .. } | Event::ToolCall { choice, .. } | Event::Finish { choice, .. } => {
                Some(*choice)
            }
            Event::Meta { .. } | Event::Usage(_) | Event::Error { .. } => None,
        }
    }

    /// Whether both are deltas of one channel.
    pub fn continues_in(&self, next: &Event) -> bool {
        match (self, next) {
            (
                Event::Prose { choice, kind, .. },
                Event::Prose { choice: next_choice, kind: next_kind, .. },
            ) => (choice, kind) == (next_choice, next_kind),
            (
                Event::ToolCall { choice, index, .. },
                Event::ToolCall { choice: next_choice, index: next_index, .. },
            ) => (choice, index) == (next_choice, next_index),
            _ => false,
        }
    }

    /// Appends the next delta of the same channel; anything else is left alone.
    pub fn extend(&mut self, next: &Event) {
        match (self, next) {
            (Event::Prose { text, .. }, Event::Prose { text: more, .. }) => text.push_str(more),
            (
                Event::ToolCall { id, name, arguments, .. },
                Event::ToolCall { id: next_id, name: next_name, arguments: more, .. },
            ) => {
                *id = id.take().or_else(|| next_id.clone());
                *name = name.take().or_else(|| next_name.clone());
                arguments.push_str(more);
            }
            _ => {}
        }
    }

    /// Bytes of memory that this event holds beyond its own size.
    pub fn heap_bytes(&self) -> usize {
        let within = match self {
            Event::Prose { text, .. } | Event::ToolCall { arguments: text, .. }
                if !text.is_heap_allocated() =>
            {
                text.len()
            }
            _ => 0,
        };
        self.text_bytes() - within
    }

    /// Bytes of all that it says.
    pub fn text_bytes(&self) -> usize {
        let len = |s: &Option<String>| s.as_ref().map_or(0, String::len);
        match self {
            Event::Meta { model, upstream_id } => len(model) + len(upstream_id),
            Event::Prose { text, .. } => text.len(),
            Event::ToolCall { id, name, arguments, .. } => len(id) + len(name) + arguments.len(),
            Event::Usage(_) => 0,
            Event::Finish { reason, .. } => reason.len(),
            Event::Error { code, message } => len(code) + message.len(),
        }
    }
}
