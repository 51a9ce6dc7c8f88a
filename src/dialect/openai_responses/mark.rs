//! By what an event names an item.

use super::print::Print;
use crate::dialect::json::{self, Leaf, Text};

/// Its id, as a fingerprint, and its place in the output. Both can be missing, ids can change between the events of one
/// item, and servers have been seen to call all of them the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) id: Option<Print>,
    pub(super) index: Option<u32>,
}

impl Mark {
    pub(super) fn new(id: Leaf<'_>, index: Leaf<'_>) -> Self {
        let id = id.filter(|_| Text::of(id).is_some()).map(|id| Print::of(id.get()));
        Self { id, index: json::number(index) }
    }

    pub(super) fn same_id(self, other: Self) -> bool {
        self.id.is_some() && self.id == other.id
    }

    pub(super) fn same_index(self, other: Self) -> bool {
        self.index.is_some() && self.index == other.index
    }
}
