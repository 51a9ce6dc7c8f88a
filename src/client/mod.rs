//! Follows one stream from outside, as any viewer does, and resumes by itself. Reading order: `target` (where the
//! stream is), `item` (what it says), `way` (over which transport), `sse` and `session` (those), `wire` and `record`
//! (bytes → messages), `contract` (what must be true of them), `backoff` (when to come back), `follow` (all of it
//! together), `fold` (what was said so far).
//!
//! What comes out is final: an event without an id is held until the id behind it has arrived, which is in the same
//! frame. So a cut takes nothing back that was already shown.

mod ask;
mod backoff;
mod contract;
pub(crate) mod error;
mod fold;
mod follow;
mod item;
pub(crate) mod record;
mod session;
mod sse;
mod target;
#[cfg(test)]
mod tests;
mod way;
pub(crate) mod wire;

pub use self::contract::Violation;
pub use self::error::Error;
pub use self::fold::{Choice, Fold, ToolCall};
pub use self::follow::{Follow, Options};
pub use self::item::{Bye, Cut, End, Event, Item, Open, Said, Usage};
pub use self::target::{BadTarget, Target};
pub use self::way::Transport;
