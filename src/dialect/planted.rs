//! A dialect that panics, on a path that no provider has: for tests of what a bug in one stream does to others.

use super::{Dialect, Verdict};
use crate::cast::event::Event;

pub(crate) const PATH: &str = "/planted";

#[derive(Debug)]
pub(super) struct Planted;

impl Dialect for Planted {
    fn read(&mut self, _block: &[u8], _events: &mut Vec<Event>) {
        panic!("planted");
    }

    fn verdict(&self) -> Verdict {
        Verdict::Unfinished
    }
}
