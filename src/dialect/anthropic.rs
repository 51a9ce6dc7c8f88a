//! Anthropic's messages.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{Dialect, Verdict};
use crate::cast::event::Event;

/// What has to be remembered of one body to understand its next block.
#[derive(Debug, Default)]
pub(super) struct Anthropic;

impl Dialect for Anthropic {
    fn read(&mut self, _block: &[u8], _events: &mut Vec<Event>) {}

    fn verdict(&self) -> Verdict {
        Verdict::Unfinished
    }
}
