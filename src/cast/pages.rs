//! The log of an ended stream that is in the journal: read piece by piece, so that a late viewer of a long stream costs
//! what it is reading and not what it has come for. A piece is an ordinary log that begins further on, so everything is
//! rendered by the same code, with the same borders, as when it was said.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::about::About;
use super::block::Seq;
use super::durable::{Durable, Mark, StorageError};
use super::fold::Fold;
use super::log::{Base, Log, Read, Rendering, Source};
use super::memory::{Budget, Share};
use super::thread::Thread;
use crate::telemetry;

/// How long a piece waits for room in memory, and how often it looks.
const ROOM_WITHIN: Duration = Duration::from_secs(5);
const ROOM_EVERY: Duration = Duration::from_millis(50);

/// Why a piece cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The budget and its reserve are used up, and nobody has given anything back for a while.
    #[error("the gateway is full (limits.memory_bytes_max): try again later")]
    Full,
    #[error("this stream has expired, or was purged")]
    Gone,
}

/// Pieces of one stream that stay for whoever comes a moment later, as long as there is room and anybody reads it.
const RECENT_MAX: usize = 4;

/// The pieces of one stream. Those that are read by anybody are shared by all who read them.
#[derive(Debug)]
pub(super) struct Pages {
    about: Arc<About>,
    marks: Vec<Mark>,
    loaded: Mutex<Loaded>,
    /// Who loads a piece; others wait, and find it.
    loading: tokio::sync::Mutex<()>,
    journal: Arc<dyn Durable>,
    budget: Arc<Budget>,
}

/// The pieces that are in memory, by their first block.
#[derive(Debug, Default)]
struct Loaded {
    pieces: HashMap<Seq, Weak<Piece>>,
    recent: VecDeque<Arc<Piece>>,
    /// What renderings, by their slot, have to know behind a block with which a piece ends.
    threads: HashMap<(usize, Seq), Thread>,
}

/// Some frames of a stream, end to end, as a log of their own.
#[derive(Debug)]
struct Piece {
    mark: Mark,
    kept: Mutex<(Log, Share)>,
}

/// Which piece a reader is in. It stays in memory for as long as this does.
#[derive(Debug, Default)]
pub struct Page(Option<Arc<Piece>>);

impl Pages {
    pub(super) fn new(
        about: &Arc<About>,
        marks: Vec<Mark>,
        journal: Arc<dyn Durable>,
        budget: Arc<Budget>,
    ) -> Self {
        Self {
            about: about.clone(),
            marks,
            loaded: Mutex::default(),
            loading: Default::default(),
            journal,
            budget,
        }
    }

    /// Bytes of memory that this holds whatever is loaded.
    pub(super) fn memory(&self) -> usize {
        let threads = |loaded: &Loaded| -> usize {
            let held = loaded.threads.values().map(|thread| size_of::<Thread>() + thread.heap_bytes());
            held.sum()
        };
        self.marks.capacity() * size_of::<Mark>() + threads(&self.lock())
    }

    /// What lies behind a cursor that is before the end.
    pub(super) async fn read(
        &self,
        source: Source,
        after: Seq,
        bytes_max: usize,
        page: &mut Page,
    ) -> Result<Read, Unread> {
        let piece = self.turn_to(after, page).await?;
        let Source::Rendered(rendering) = source else { return Ok(piece.read(source, after, bytes_max)) };
        if !rendering.has_thread() {
            return Ok(piece.read(source, after, bytes_max));
        }
        if !piece.lock().0.has_begun(rendering) {
            let thread = self.thread(rendering, piece.mark.first - 1).await?;
            piece.lock().0.take_up(rendering, thread);
        }
        let read = piece.read(source, after, bytes_max);
        // Whoever reads on need not read this piece again.
        if let Some(thread) = piece.lock().0.thread(rendering) {
            let key = (rendering.slot(), piece.mark.last);
            self.lock().threads.entry(key).or_insert_with(|| thread.clone());
        }
        Ok(read)
    }

    /// What a rendering has to know behind the block `last`, with which a piece ends.
    pub(super) async fn thread(&self, rendering: &dyn Rendering, last: Seq) -> Result<Thread, Unread> {
        let known = |seq| self.lock().threads.get(&(rendering.slot(), seq)).cloned();
        let before = self.marks.partition_point(|mark| mark.last <= last);
        let mut place = before;
        let mut thread = Thread::of(Some(self.about.id.clone()));
        while let Some(mark) = place.checked_sub(1).and_then(|before| self.marks.get(before)) {
            if let Some(known) = known(mark.last) {
                thread = known;
                break;
            }
            place -= 1;
        }
        for mark in &self.marks[place..before] {
            thread = self.piece(*mark).await?.render_all(rendering, thread);
            self.lock().threads.insert((rendering.slot(), mark.last), thread.clone());
        }
        Ok(thread)
    }

    /// The block that holds a byte that is there, as a cursor before it, and how many of its bytes to skip.
    pub(super) async fn at_offset(&self, offset: u64) -> Result<(Seq, usize), Unread> {
        let place = self.marks.partition_point(|mark| mark.begin <= offset);
        let mark = self.marks.get(place.saturating_sub(1)).ok_or(Unread::Gone)?;
        let piece = self.piece(*mark).await?;
        let found = piece.lock().0.at_offset(offset);
        found.ok_or(Unread::Gone)
    }

    /// How many bytes lie before the block behind a cursor that is before the end.
    pub(super) async fn offset(&self, after: Seq) -> Result<u64, Unread> {
        let piece = self.turn_to(after, &mut Page::default()).await?;
        let offset = piece.lock().0.offset(after);
        Ok(offset)
    }

    /// Everything that was said, as one value.
    pub(super) async fn fold(&self) -> Result<Fold, Unread> {
        let mut fold = Fold::default();
        for mark in &self.marks {
            self.piece(*mark).await?.lock().0.fold_into(&mut fold);
        }
        Ok(fold)
    }

    /// The piece with the block behind `after`.
    async fn turn_to(&self, after: Seq, page: &mut Page) -> Result<Arc<Piece>, Unread> {
        if let Some(piece) = page.0.as_ref().filter(|piece| piece.mark.holds(after)) {
            return Ok(piece.clone());
        }
        // What was read makes room for what is read next.
        page.0 = None;
        let place = self.marks.partition_point(|mark| mark.last <= after);
        let mark = self.marks.get(place).filter(|mark| mark.holds(after));
        let piece = self.piece(*mark.ok_or(Unread::Gone)?).await?;
        page.0 = Some(piece.clone());
        Ok(piece)
    }

    async fn piece(&self, mark: Mark) -> Result<Arc<Piece>, Unread> {
        let known = || self.lock().pieces.get(&mark.first).and_then(Weak::upgrade);
        if let Some(piece) = known() {
            return Ok(piece);
        }
        let _one_at_a_time = self.loading.lock().await;
        if let Some(piece) = known() {
            return Ok(piece);
        }
        self.has_room().await?;
        let frames = self.journal.piece(self.about.number, mark.first).await?;
        if frames.is_empty() {
            return Err(Unread::Gone);
        }
        let base = Base { seq: mark.first - 1, bytes: mark.begin, id: mark.id };
        let mut log = Log::behind(base).named(&self.about.id);
        // A frame whose commit came too late to be shown is no part of the stream.
        for frame in frames.into_iter().filter(|frame| frame.last() <= mark.last) {
            if frame.first != log.tail() + 1 {
                return Err(StorageError(format!("stream {}: a piece is damaged", self.about.number)).into());
            }
            log.append(frame);
        }
        if log.tail() != mark.last {
            return Err(StorageError(format!("stream {}: a piece is damaged", self.about.number)).into());
        }
        telemetry::piece_read();
        let mut share = self.budget.share();
        share.finish();
        share.hold(log.memory());
        let piece = Arc::new(Piece { mark, kept: Mutex::new((log, share)) });
        let mut loaded = self.lock();
        loaded.pieces.retain(|_, piece| piece.strong_count() > 0);
        loaded.pieces.insert(mark.first, Arc::downgrade(&piece));
        loaded.recent.push_back(piece.clone());
        let keep = if self.budget.has_room() { RECENT_MAX } else { 0 };
        while loaded.recent.len() > keep {
            loaded.recent.pop_front();
        }
        Ok(piece)
    }

    async fn has_room(&self) -> Result<(), Unread> {
        let until = Instant::now() + ROOM_WITHIN;
        while self.budget.is_exhausted() {
            // They have grown since they were loaded, by what was rendered of them.
            self.lock().recent.clear();
            if !self.budget.is_exhausted() {
                break;
            }
            if Instant::now() >= until {
                return Err(Unread::Full);
            }
            sleep(ROOM_EVERY).await;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Piece {
    fn read(&self, source: Source, after: Seq, bytes_max: usize) -> Read {
        let mut kept = self.lock();
        while !kept.0.prepare(source, after, bytes_max) {}
        let read = kept.0.read(source, after, bytes_max);
        let memory = kept.0.memory();
        kept.1.hold(memory);
        read
    }

    /// What a rendering has to know behind this piece, when it has begun with `thread`.
    fn render_all(&self, rendering: &dyn Rendering, thread: Thread) -> Thread {
        let mut kept = self.lock();
        kept.0.take_up(rendering, thread);
        let thread = kept.0.render_all(rendering).clone();
        let memory = kept.0.memory();
        kept.1.hold(memory);
        thread
    }

    fn lock(&self) -> MutexGuard<'_, (Log, Share)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
