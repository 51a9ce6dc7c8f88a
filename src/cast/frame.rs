//! A run of blocks that were flushed together. Its borders are fixed once, and the same for everybody for ever.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::block::Seq;
use super::event::Event;

/// One append to the log. One of a block that says a token, as most are, has its bytes elsewhere and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Seq of the first block.
    pub first: Seq,
    /// When the frame was flushed, in milliseconds since the cast began.
    pub at_ms: u64,
    /// The blocks' bytes, end to end.
    pub bytes: Bytes,
    /// Where each block ends in `bytes`.
    pub ends: SmallVec<[u32; 4]>,
    /// What the blocks mean, in order, each with the seq of its block.
    pub events: SmallVec<[(Seq, Event); 1]>,
}

impl Frame {
    /// Seq of the last block.
    pub fn last(&self) -> Seq {
        self.first + self.ends.len() as Seq - 1
    }

    /// Whether somebody can have written it: there is a block, `bytes` are those of its blocks and no others, and what they
    /// mean is in their order.
    pub fn is_sound(&self) -> bool {
        let Some(last) = self.first.checked_add(self.ends.len() as Seq) else { return false };
        let seqs = || self.events.iter().map(|(seq, _)| *seq);
        self.first > 0
            && last < i64::MAX as Seq
            && self.ends.last().is_some_and(|end| *end as usize == self.bytes.len())
            && self.ends.is_sorted()
            && seqs().is_sorted()
            && seqs().all(|seq| (self.first..last).contains(&seq))
    }
}
