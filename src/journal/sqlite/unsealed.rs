//! What the journal table holds, as far as memory knows it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::seal::Progress;
use crate::cast::durable::Number;

/// Where a frame stands in the journal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) row: i64,
    pub(super) offset: usize,
    pub(super) len: usize,
}

/// A row, and for how many frames it is there.
#[derive(Debug)]
pub(super) struct Row {
    frames: usize,
    bytes: usize,
    /// Itself, if it is kept in memory until then.
    pub(super) data: Option<Box<[u8]>>,
}

/// So much of the table is kept in memory, so that sealing does not read it: a row that a hundred streams share would be read
/// for each of them. That is somewhat more than is there while sealing keeps up.
const KEPT_BYTES_MAX: usize = BYTES_MAX / 2 * 3;

/// So much a start may have to read.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// So much is sealed in one step, which every commit may have to wait for.
pub(super) const FRAMES_AT_ONCE: usize = 512;
const BYTES_AT_ONCE: usize = 256 * 1024;

/// Streams, and how many of their frames are sealed together.
pub(super) type Step = Vec<(Number, usize)>;

/// What the journal table holds: frames by stream, and how many streams each row still serves.
#[derive(Debug)]
pub(super) struct Unsealed {
    pub(super) places: HashMap<Number, Vec<Place>>,
    pub(super) rows: BTreeMap<i64, Row>,
    /// Frames in those rows.
    pub(super) frames: usize,
    /// Bytes of those rows, and above how many what long streams have in the oldest ones is made into chunks.
    pub(super) bytes: usize,
    pub(super) bytes_max: usize,
    /// Bytes of those that are kept in memory.
    kept: usize,
    /// How far streams are in chunks of which more comes.
    pub(super) sealed: HashMap<Number, Progress>,
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

impl Default for Unsealed {
    fn default() -> Self {
        Self {
            places: HashMap::new(),
            rows: BTreeMap::new(),
            frames: 0,
            bytes: 0,
            bytes_max: BYTES_MAX,
            kept: 0,
            sealed: HashMap::new(),
            ended: Vec::new(),
            empty: Vec::new(),
            spans: HashMap::new(),
            erase: HashSet::new(),
            gone: HashSet::new(),
        }
    }
}

impl Unsealed {
    /// Notes a frame, and how many bytes its row has.
    pub(super) fn note(&mut self, stream: Number, place: Place, row_bytes: usize) {
        self.span(stream, place.row);
        self.places.entry(stream).or_default().push(place);
        let row = self.rows.entry(place.row).or_insert_with(|| {
            self.bytes += row_bytes;
            Row { frames: 0, bytes: row_bytes, data: None }
        });
        row.frames += 1;
        self.frames += 1;
    }

    /// Keeps a row in memory, if there is room. Those that are there stay: they are sealed first.
    pub(super) fn keep(&mut self, number: i64, data: Vec<u8>) {
        if self.kept + data.len() > KEPT_BYTES_MAX {
            return;
        }
        if let Some(row) = self.rows.get_mut(&number) {
            self.kept += data.len();
            row.data = Some(data.into());
        }
    }

    /// Lets go of a row that is kept and has changed.
    pub(super) fn drop_kept(&mut self, number: i64) {
        let kept = self.rows.get_mut(&number).and_then(|row| row.data.take());
        self.kept -= kept.map_or(0, |data| data.len());
    }

    /// Lets go of a stream's first frames, and of the rows that serve nobody any more.
    pub(super) fn release(&mut self, stream: Number, frames: usize) {
        let Some(places) = self.places.get_mut(&stream) else { return };
        let released: Vec<Place> = places.drain(..frames.min(places.len())).collect();
        if places.is_empty() {
            self.places.remove(&stream);
        }
        for place in released {
            let Some(row) = self.rows.get_mut(&place.row) else { continue };
            row.frames -= 1;
            self.frames -= 1;
            if row.frames == 0 {
                self.bytes -= row.bytes;
                self.drop_kept(place.row);
                self.rows.remove(&place.row);
                self.empty.push(place.row);
            }
        }
    }

    /// Whether there is more than a start should have to read.
    pub(super) fn is_large(&self) -> bool {
        self.bytes > self.bytes_max
    }

    /// Ended streams, as far as one step takes them.
    pub(super) fn ended_step(&self) -> Step {
        self.step(self.ended.iter().rev().copied())
    }

    /// So many frames of these streams as one step takes, one at least.
    pub(super) fn step(&self, streams: impl IntoIterator<Item = Number>) -> Step {
        let (mut frames, mut bytes, mut step) = (0, 0, Step::new());
        for stream in streams {
            let places = self.places.get(&stream).map_or(&[][..], Vec::as_slice);
            let fits = |place: &&Place| {
                let fits = frames == 0 || (frames < FRAMES_AT_ONCE && bytes + place.len <= BYTES_AT_ONCE);
                (frames, bytes) = (frames + 1, bytes + place.len);
                fits
            };
            let count = places.iter().take_while(fits).count();
            step.push((stream, count));
            if count < places.len() {
                break;
            }
        }
        step
    }

    /// What keeps the oldest row from going, as far as one step takes it.
    pub(super) fn pinning_step(&self) -> Step {
        let Some((oldest, _)) = self.rows.first_key_value() else { return Step::new() };
        let pins = |places: &[Place]| places.first().is_some_and(|place| place.row == *oldest);
        self.step(self.places.iter().filter(|(_, places)| pins(places)).map(|(stream, _)| *stream))
    }

    pub(super) fn span(&mut self, stream: Number, row: i64) {
        self.spans.entry(stream).or_insert((row, row)).1 = row;
    }
}
