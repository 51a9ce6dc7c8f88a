//! What lies behind the cursors of one room, read and encoded once for all who stand at the same place.

use super::chunk::Chunk;
use crate::cast::Cast;
use crate::cast::block::Seq;
use crate::cast::log::Read;
use crate::telemetry::Audience;
use crate::view::View;
use crate::viewer::BATCH_BYTES_MAX;

/// Places that are kept in mind: those who are up to date stand at one or two, and the rest each at their own.
const PLACES_MAX: usize = 8;

/// What there is behind one cursor.
#[derive(Debug)]
pub(super) enum Next {
    Nothing,
    /// Up to and including this block.
    Chunk(Chunk, Seq),
    /// Blocks without events.
    Skip(Seq),
    /// The last one.
    End(Chunk),
    /// There is nothing to read any more, for this reason.
    Over(&'static str),
}

pub(super) struct Menu<'a> {
    cast: &'a Cast,
    view: View,
    audience: &'a Audience,
    /// Whether the body ends well, however the stream did.
    tells_end: bool,
    /// The last block that there was when the round began.
    tail: Seq,
    known: Vec<Place>,
}

struct Place {
    cursor: Seq,
    next: Next,
    takers: u64,
}

impl<'a> Menu<'a> {
    pub(super) fn new(
        cast: &'a Cast,
        view: View,
        audience: &'a Audience,
        tells_end: bool,
        tail: Seq,
    ) -> Self {
        Self { cast, view, audience, tells_end, tail, known: Vec::new() }
    }

    /// What whoever stands there is told next.
    pub(super) fn behind(&mut self, cursor: Seq) -> &Next {
        let place = match self.known.iter().position(|place| place.cursor == cursor) {
            Some(place) => place,
            None => {
                if self.known.len() == PLACES_MAX {
                    self.count();
                }
                self.known.push(Place { cursor, next: self.read(cursor), takers: 0 });
                self.known.len() - 1
            }
        };
        let place = &mut self.known[place];
        place.takers += 1;
        &place.next
    }

    fn read(&self, cursor: Seq) -> Next {
        match self.cast.read(self.view.source(), cursor, BATCH_BYTES_MAX) {
            Read::Pending => Next::Nothing,
            Read::Batch { bytes, upto, .. } if bytes.is_empty() => Next::Skip(upto),
            Read::Batch { bytes, upto, .. } => Next::Chunk(Chunk::of(bytes), upto),
            Read::End { bytes, end } if self.tells_end || end.is_completed() => Next::End(Chunk::last(bytes)),
            Read::End { bytes, .. } => Next::End(Chunk::of(bytes)),
            Read::Gone => Next::Over("gone"),
            Read::Broken => Next::Over("internal"),
        }
    }

    /// Counts what was taken so far, and forgets it.
    fn count(&mut self) {
        for Place { cursor, next, takers } in self.known.drain(..) {
            if let Next::Chunk(chunk, _) = next {
                let bytes = takers * chunk.len() as u64;
                self.audience.delivered(takers, bytes, self.tail.saturating_sub(cursor));
            }
        }
    }
}

impl Drop for Menu<'_> {
    fn drop(&mut self) {
        self.count();
    }
}
