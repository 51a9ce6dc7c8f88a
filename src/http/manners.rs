//! What is said to a viewer beside what the view itself says.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use crate::view::events::Bye;

/// How a body behaves when there is nothing to tell, or nothing more.
#[derive(Debug)]
pub(super) struct Manners {
    /// Said in silence.
    pub(super) heartbeat: Option<&'static [u8]>,
    /// Said to whoever is sent away. Without it the body breaks off.
    pub(super) bye: Option<fn(&Bye) -> Vec<u8>>,
    /// The view tells how the stream ended. Where it does not, the body breaks off unless the stream was completed, so
    /// that nobody takes it for whole.
    pub(super) tells_end: bool,
}

const COMMENT: &[u8] = b": hb\n\n";

pub(super) const EVENTS: Manners = Manners { heartbeat: Some(COMMENT), bye: Some(Bye::sse), tells_end: true };
pub(super) const LINES: Manners = Manners {
    heartbeat: Some(b"{\"id\":null,\"event\":\"heartbeat\",\"data\":{}}\n"),
    bye: Some(Bye::line),
    tells_end: true,
};
/// A chunk of the AI SDK would be taken for an end.
pub(super) const UI: Manners = Manners { heartbeat: Some(COMMENT), bye: None, tells_end: true };
/// The provider's bytes and the bare text, and not one byte of ours.
pub(super) const BARE: Manners = Manners { heartbeat: None, bye: None, tells_end: false };
