//! The unit of the log: a piece of the provider's bytes and its number.

use bytes::Bytes;
use smallvec::SmallVec;

use super::event::Event;

/// The number of a block: 1, 2, 3, … without gaps. As a cursor it names the last block seen; 0 is the beginning.
pub type Seq = u64;

/// A piece of the provider's bytes, exactly as received, and what it means.
#[derive(Debug, Clone)]
pub struct Block {
    pub bytes: Bytes,
    /// One, if it says a token.
    pub events: SmallVec<[Event; 1]>,
}
