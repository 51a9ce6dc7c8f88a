//! Renderings of the log for the wire, kept as contiguous bytes by the log itself.

pub mod events;
pub mod msgpack;
pub mod text;
pub mod ui;

use crate::cast::log::Source;

/// How a viewer wants to see a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// The native view as SSE.
    Events,
    /// The native view as lines of JSON.
    Lines,
    /// The native view as members of a JSON array, for long-polls.
    Poll,
    /// The native view as MessagePack records.
    Packed,
    /// The provider's bytes, not one more.
    Raw,
    /// The text of choice 0 and nothing else.
    Text,
    /// Choice 0 as the AI SDK's UI message stream.
    Ui,
}

impl View {
    pub fn source(self) -> Source {
        match self {
            View::Events => Source::Rendered(&events::Sse),
            View::Lines => Source::Rendered(&events::Lines),
            View::Poll => Source::Rendered(&events::Poll),
            View::Packed => Source::Rendered(&msgpack::Packed),
            View::Raw => Source::Raw,
            View::Text => Source::Rendered(&text::Text),
            View::Ui => Source::Rendered(&ui::Ui),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            View::Events => "events",
            View::Lines => "lines",
            View::Poll => "poll",
            View::Packed => "packed",
            View::Raw => "raw",
            View::Text => "text",
            View::Ui => "ui",
        }
    }
}
