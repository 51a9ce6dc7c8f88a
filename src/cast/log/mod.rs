//! The in-memory log of one cast. History and live are the same read.

mod reading;

use std::sync::Arc;

use bytes::Bytes;

use super::block::Seq;
use super::durable::Ended;
use super::end::{End, Outcome};
use super::event::Event;
use super::fold::Fold;
use super::frame::Frame;
use super::id::Id;
use super::reel::Reel;
use super::thread::Thread;
use crate::crypto::{Sha256, hex};

/// How many renderings a log can keep beside the raw bytes.
pub const RENDERINGS_MAX: usize = 6;

/// How many frames are rendered before others may have the log.
const RENDER_FRAMES_MAX: usize = 256;

/// A rendering of the log for the wire. A frame is rendered once, on first demand; all viewers share the bytes.
pub trait Rendering: Sync {
    /// Which of the log's places this rendering has, below [`RENDERINGS_MAX`].
    fn slot(&self) -> usize;
    fn frame(&self, part: &Part<'_>, thread: &mut Thread, out: &mut Vec<u8>);
    fn end(&self, end: &End, thread: &mut Thread, out: &mut Vec<u8>);

    /// Whether a frame is rendered differently by what was said before it. Then viewers begin at borders of frames, and
    /// the thread comes from the frame before; else it means nothing.
    fn has_thread(&self) -> bool {
        false
    }
}

/// What to read: the provider's bytes, or a rendering of them.
#[derive(Clone, Copy)]
pub enum Source {
    Raw,
    Rendered(&'static dyn Rendering),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Raw => f.write_str("Raw"),
            Source::Rendered(rendering) => write!(f, "Rendered({})", rendering.slot()),
        }
    }
}

/// A frame, or what of it lies behind a cursor.
#[derive(Debug)]
pub struct Part<'a> {
    /// The previous id in the log + 1; behind a cursor inside the frame, the cursor + 1.
    pub from: Seq,
    /// The events behind the cursor, each with the seq of its block.
    pub events: &'a [(Seq, Event)],
}

/// What there is behind a cursor.
#[derive(Debug, Clone)]
pub enum Read {
    /// Whole frames, up to and including the block `upto`. No bytes when those blocks mean nothing in this view. `id` is
    /// the last block up to there that has events: the last id that a viewer of events has then.
    Batch { bytes: Bytes, upto: Seq, id: Seq },
    /// Nothing yet.
    Pending,
    /// Everything was read; this is the end, rendered.
    End { bytes: Bytes, end: Arc<End> },
    /// The content was erased.
    Gone,
    /// Rendering it has panicked, and would again.
    Broken,
}

/// What lies before a log that does not begin at the beginning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Base {
    /// Blocks, and their bytes.
    pub seq: Seq,
    pub bytes: u64,
    /// The last block that has events.
    pub id: Seq,
}

/// Frames and their renderings.
#[derive(Debug)]
pub struct Log {
    /// Of which stream, if it is one's.
    stream: Option<Id>,
    base: Base,
    /// Frames that this log had, be they in memory or not.
    count: usize,
    frames: Vec<Entry>,
    /// Where each block ends in its frame's bytes.
    block_ends: Vec<u32>,
    /// What the blocks mean, each with the seq of its block.
    events: Vec<(Seq, Event)>,
    raw: Reel,
    reels: [Option<Rendered>; RENDERINGS_MAX],
    ends: [Option<Bytes>; RENDERINGS_MAX],
    /// Renderings that have panicked.
    broken: [bool; RENDERINGS_MAX],
    /// Seq of the last block, and the bytes up to it. Both, and the hash, go on when the content is erased.
    tail: Seq,
    bytes: u64,
    hash: Sha256,
    fold: Fold,
    heap_bytes: usize,
    end: Option<Arc<End>>,
    erased: bool,
}

/// What there is of one rendering.
#[derive(Debug)]
struct Rendered {
    reel: Reel,
    /// As the last rendered frame has left it.
    thread: Thread,
}

/// A frame in the log; its bytes are in the raw reel.
#[derive(Debug)]
struct Entry {
    first: Seq,
    last: Seq,
    /// Where its events end among those of the log.
    events: usize,
}

impl Rendered {
    fn of(thread: Thread) -> Self {
        Self { reel: Reel::default(), thread }
    }

    fn memory(&self) -> usize {
        self.reel.memory() + self.thread.heap_bytes()
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            stream: None,
            base: Base::default(),
            count: 0,
            frames: Vec::new(),
            block_ends: Vec::new(),
            events: Vec::new(),
            raw: Reel::default(),
            reels: [const { None }; RENDERINGS_MAX],
            ends: [const { None }; RENDERINGS_MAX],
            broken: [false; RENDERINGS_MAX],
            tail: 0,
            bytes: 0,
            hash: Sha256::default(),
            fold: Fold::default(),
            heap_bytes: 0,
            end: None,
            erased: false,
        }
    }
}

impl Log {
    /// The log of these frames.
    pub fn of(frames: Vec<Frame>) -> Self {
        let mut log = Self::default();
        frames.into_iter().for_each(|frame| log.append(frame));
        log
    }

    /// An empty log that goes on behind `base`.
    pub fn behind(base: Base) -> Self {
        Self { base, tail: base.seq, bytes: base.bytes, ..Self::default() }
    }

    /// What is known of a log that has ended and is elsewhere.
    pub fn elsewhere(ended: &Ended) -> Self {
        let end = Arc::new(ended.end.clone());
        Self { count: ended.frames, tail: end.blocks, bytes: end.bytes, end: Some(end), ..Self::default() }
    }

    /// What is to be known of this log without its content.
    pub fn outline(&self) -> Self {
        Self {
            count: self.count,
            tail: self.tail,
            bytes: self.bytes,
            hash: self.hash.clone(),
            end: self.end.clone(),
            erased: self.erased,
            ..Self::default()
        }
    }

    /// The same log, which knows of which stream it is.
    pub(crate) fn named(self, stream: &Id) -> Self {
        Self { stream: Some(stream.clone()), ..self }
    }

    /// Seq of the last block: the number of blocks.
    pub fn tail(&self) -> Seq {
        self.tail
    }

    pub fn frames(&self) -> usize {
        self.count
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn fold(&self) -> &Fold {
        &self.fold
    }

    pub fn end(&self) -> Option<&Arc<End>> {
        self.end.as_ref()
    }

    /// `running`, or the reason of the end.
    pub fn status(&self) -> &'static str {
        self.end.as_ref().map_or("running", |end| end.why.reason())
    }

    /// SHA-256 over all bytes so far, in hexadecimal.
    pub fn hash(&self) -> String {
        match &self.end {
            Some(end) => end.hash.clone(),
            None => hex(&self.hash.clone().finish()),
        }
    }

    /// Adds what this log says to what was said before it.
    pub fn fold_into(&self, fold: &mut Fold) {
        self.events.iter().for_each(|(_, event)| fold.apply(event));
    }

    pub fn is_erased(&self) -> bool {
        self.erased
    }

    /// Bytes of memory that this log retains.
    pub fn memory(&self) -> usize {
        let rendered: usize = self.reels.iter().flatten().map(Rendered::memory).sum();
        let frames = self.frames.capacity() * size_of::<Entry>();
        let block_ends = self.block_ends.capacity() * size_of::<u32>();
        let events = self.events.capacity() * size_of::<(Seq, Event)>();
        self.raw.memory() + rendered + frames + block_ends + events + self.heap_bytes
    }

    pub fn append(&mut self, frame: Frame) {
        assert!(self.end.is_none(), "nothing is appended after the end");
        assert_eq!(frame.first, self.tail() + 1, "seqs continue");
        assert_eq!(
            frame.ends.last().copied(),
            u32::try_from(frame.bytes.len()).ok(),
            "blocks fill their frame"
        );
        #[cfg(not(planted_bug = "hash_forgets"))]
        self.hash.update(&frame.bytes);
        self.tail = frame.last();
        self.bytes += frame.bytes.len() as u64;
        self.count += 1;
        if self.erased {
            return;
        }
        self.raw.push(frame.last(), |out| out.extend_from_slice(&frame.bytes));
        for (_, event) in &frame.events {
            self.fold.apply(event);
            // Once here, and once folded.
            self.heap_bytes += event.heap_bytes() + event.text_bytes();
        }
        let (first, last) = (frame.first, frame.last());
        self.block_ends.extend(frame.ends);
        self.events.extend(frame.events);
        self.frames.push(Entry { first, last, events: self.events.len() });
    }

    /// The end that this log would have now.
    pub fn conclude(&self, outcome: Outcome, at_ms: u64) -> Arc<End> {
        Arc::new(End {
            why: outcome.why,
            message: outcome.message,
            finish: self.fold.finish().map(str::to_owned),
            usage: self.fold.usage,
            blocks: self.tail(),
            bytes: self.bytes(),
            hash: self.hash(),
            at_ms,
        })
    }

    /// Appends the end.
    pub fn finish(&mut self, end: Arc<End>) {
        assert!(self.end.is_none(), "a stream has one end");
        self.end = Some(end);
        self.frames.shrink_to_fit();
        self.block_ends.shrink_to_fit();
        self.events.shrink_to_fit();
    }

    /// Forgets the content, for good, also of what is still to come. The size and the hash stay true, so that the end
    /// of a stream that was running tells the journal of the blocks that it has.
    pub fn erase(&mut self) {
        *self = Self {
            stream: self.stream.take(),
            count: self.count,
            tail: self.tail,
            bytes: self.bytes,
            hash: std::mem::take(&mut self.hash),
            end: self.end.take(),
            erased: true,
            ..Self::default()
        };
    }
}
