//! What the journal table holds, as far as memory knows it.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::cast::durable::Number;

/// Where a frame stands in the journal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) row: i64,
    pub(super) offset: usize,
}

/// What the journal table holds: frames by stream, and how many streams each row still serves.
#[derive(Debug, Default)]
pub(super) struct Unsealed {
    pub(super) places: HashMap<Number, Vec<Place>>,
    pub(super) rows: BTreeMap<i64, usize>,
    pub(super) ended: Vec<Number>,
    /// Rows that serve nobody any more, and are still there.
    pub(super) empty: Vec<i64>,
    /// The first and the last row that have anything of a stream, sealed or not.
    pub(super) spans: HashMap<Number, (i64, i64)>,
    /// Streams whose frames are to be overwritten in rows that others need.
    pub(super) erase: HashSet<Number>,
    /// Streams that were buried while they ran: what they still send is dropped.
    pub(super) gone: HashSet<Number>,
}

impl Unsealed {
    pub(super) fn note(&mut self, stream: Number, place: Place) {
        self.span(stream, place.row);
        self.places.entry(stream).or_default().push(place);
        *self.rows.entry(place.row).or_default() += 1;
    }

    pub(super) fn span(&mut self, stream: Number, row: i64) {
        self.spans.entry(stream).or_insert((row, row)).1 = row;
    }
}
