//! Blocks → events. A dialect reads what one family of providers sends. It is pure and never fails: a block that it
//! does not understand yields nothing, and the bytes stay what counts.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod anthropic;
mod family;
mod fault;
mod gemini;
mod json;
mod ollama;
mod openai_chat;
mod openai_responses;
#[cfg(test)]
pub(crate) mod planted;
#[cfg(test)]
mod shown;
pub mod splice;
pub mod sse;
mod told;

use std::fmt::Debug;

pub use self::family::Family;
use crate::cast::event::Event;

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

    /// Appends what the rest of a body says that ended within a block. By default that is nothing: it may be half of
    /// what was meant.
    fn read_rest(&mut self, _rest: &[u8], _events: &mut Vec<Event>) {}

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
