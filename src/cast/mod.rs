//! The core: one answer, one ordered log, any number of cursors into it.
//!
//! A [`Cast`] is what the wire calls a stream. Exactly one [`Producer`] fills it and ends it; viewers only read:
//! [`Cast::read`] behind their cursor, else wait for [`Watch::changed`]. The cast knows how many viewers there are,
//! and nothing else about them.

pub mod block;
pub mod coalesce;
pub mod durable;
pub mod end;
pub mod event;
pub mod fold;
pub mod frame;
pub mod hub;
pub mod id;
pub mod log;
pub mod memory;
mod reel;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use self::block::Seq;
use self::durable::{Durable, Record, StorageError};
use self::end::{End, Outcome, Why};
use self::frame::Frame;
use self::id::Id;
use self::log::{Log, Read, Source};
use self::memory::Share;
use crate::telemetry::{self, Appending};

/// What is known of a cast from the moment of the `POST`.
#[derive(Debug)]
pub struct About {
    pub id: Id,
    pub tenant: Arc<str>,
    pub provider: Arc<str>,
    /// The app's own JSON, as it came.
    pub metadata: Option<Box<serde_json::value::RawValue>>,
    /// How long the log is kept after the end.
    pub ttl: Duration,
    /// Stop when nobody has watched for this long; `None` goes on without viewers.
    pub cancel_after: Option<Duration>,
}

/// A handle to one cast; clones are the same cast.
#[derive(Debug, Clone)]
pub struct Cast(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    about: About,
    began: Instant,
    started_at: SystemTime,
    content_type: OnceLock<String>,
    log: Mutex<Kept>,
    tail: watch::Sender<Tail>,
    stop: watch::Sender<Option<Why>>,
    viewers: watch::Sender<usize>,
}

/// The log and what it holds of the budget.
#[derive(Debug)]
struct Kept {
    log: Log,
    share: Share,
    first_token: Option<Duration>,
}

/// How far a log reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tail {
    seq: Seq,
    closed: bool,
}

/// A cast as it is at one moment.
#[derive(Debug)]
pub struct Now<'a> {
    pub log: &'a Log,
    /// From the `POST` to the first token.
    pub first_token: Option<Duration>,
}

impl Cast {
    /// A new cast and the one value that can fill it.
    pub fn new(about: About, share: Share, journal: Arc<dyn Durable>) -> (Self, Producer) {
        let cast = Self(Arc::new(Shared {
            about,
            began: Instant::now(),
            started_at: SystemTime::now(),
            content_type: OnceLock::new(),
            log: Mutex::new(Kept { log: Log::default(), share, first_token: None }),
            tail: watch::Sender::default(),
            stop: watch::Sender::default(),
            viewers: watch::Sender::default(),
        }));
        telemetry::stream_started(&cast.0.about.provider);
        let counts = Appending::of(&cast.0.about.provider);
        (cast.clone(), Producer { cast, journal, counts, ended: false })
    }

    pub fn about(&self) -> &About {
        &self.0.about
    }

    pub fn id(&self) -> &Id {
        &self.0.about.id
    }

    pub fn began(&self) -> Instant {
        self.0.began
    }

    pub fn started_at(&self) -> SystemTime {
        self.0.started_at
    }

    /// The media type that the provider gave its bytes; known from its response head on.
    pub fn content_type(&self) -> Option<&str> {
        self.0.content_type.get().map(String::as_str)
    }

    /// Notes the media type of the provider's answer. The first one counts.
    pub fn describe(&self, content_type: &str) {
        let _ = self.0.content_type.set(content_type.to_owned());
    }

    /// What lies behind the cursor.
    pub fn read(&self, source: Source, after: Seq, bytes_max: usize) -> Read {
        let mut kept = self.lock();
        let read = kept.log.read(source, after, bytes_max);
        kept.settle();
        read
    }

    /// Something to wait on until there is more to read.
    pub fn watch(&self) -> Watch {
        Watch(self.0.tail.subscribe())
    }

    /// Seq of the last block.
    pub fn tail(&self) -> Seq {
        self.0.tail.borrow().seq
    }

    pub fn end(&self) -> Option<Arc<End>> {
        self.lock().log.end().cloned()
    }

    /// `running`, or the reason of the end.
    pub fn status(&self) -> &'static str {
        self.lock().log.status()
    }

    /// Looks at everything at once. The log stands still meanwhile: be quick.
    pub fn inspect<T>(&self, look: impl FnOnce(Now<'_>) -> T) -> T {
        let kept = self.lock();
        look(Now { log: &kept.log, first_token: kept.first_token })
    }

    /// The cursor before the block that holds a byte, and how far inside of it the byte lies; `None` beyond the tail.
    pub fn at_offset(&self, offset: u64) -> Option<(Seq, usize)> {
        self.lock().log.at_offset(offset)
    }

    /// How many bytes lie before the block behind the cursor.
    pub fn offset(&self, after: Seq) -> u64 {
        self.lock().log.offset(after)
    }

    pub fn viewers(&self) -> usize {
        *self.0.viewers.borrow()
    }

    /// Counts one viewer for as long as the guard lives.
    pub fn attach(&self) -> Attached {
        self.0.viewers.send_modify(|viewers| *viewers += 1);
        Attached(self.clone())
    }

    /// Returns once nobody has been watching for `after`.
    pub async fn abandoned(&self, after: Duration) {
        let mut viewers = self.0.viewers.subscribe();
        loop {
            let idle = *viewers.borrow_and_update() == 0;
            tokio::select! {
                () = tokio::time::sleep(after), if idle => return,
                changed = viewers.changed() => changed.expect("the cast holds the sender"),
            }
        }
    }

    /// Asks the producer to end the cast. The first cause counts; after the end it means nothing.
    pub fn stop(&self, why: Why) {
        self.0.stop.send_if_modified(|stop| stop.is_none() && stop.replace(why).is_none());
    }

    /// Returns once somebody wants the cast to end.
    pub async fn stopped(&self) -> Why {
        let mut stop = self.0.stop.subscribe();
        let why = stop.wait_for(Option::is_some).await.expect("the cast holds the sender");
        why.expect("waited for")
    }

    /// When the log may be forgotten: its ttl after the end.
    pub fn expires(&self) -> Option<Instant> {
        let kept = self.lock();
        let end = kept.log.end()?;
        Some(self.0.began + Duration::from_millis(end.at_ms) + self.0.about.ttl)
    }

    /// A moment of this cast as wall-clock time.
    pub fn wall(&self, since_began: Duration) -> SystemTime {
        self.0.started_at + since_began
    }

    /// Forgets the content, at once and for everybody.
    pub fn erase(&self) {
        let tail = {
            let mut kept = self.lock();
            kept.log.erase();
            kept.settle();
            kept.log.tail()
        };
        self.0.tail.send_modify(|now| *now = Tail { seq: tail.max(now.seq), closed: true });
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Kept {
    /// Brings the share of the budget up to what the log holds now.
    fn settle(&mut self) {
        self.share.hold(self.log.memory());
    }
}

/// Wakes whoever reads a cast.
#[derive(Debug)]
pub struct Watch(watch::Receiver<Tail>);

impl Watch {
    /// Marks what there is now as seen: call it before reading, so that nothing slips through between.
    pub fn mark(&mut self) {
        self.0.borrow_and_update();
    }

    /// Returns when the log has changed since the last mark.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when there is at least one block, or none will come.
    pub async fn begun(&mut self) {
        if self.0.wait_for(|tail| tail.seq > 0 || tail.closed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when the log is closed.
    pub async fn closed(&mut self) {
        if self.0.wait_for(|tail| tail.closed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// One viewer that counts.
#[derive(Debug)]
pub struct Attached(Cast);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.0.viewers.send_modify(|viewers| *viewers -= 1);
    }
}

/// The one value that can append to a cast and end it. Dropped without [`Producer::end`], as a panic does, it ends
/// the cast `failed/internal`.
#[derive(Debug)]
pub struct Producer {
    cast: Cast,
    journal: Arc<dyn Durable>,
    counts: Appending,
    ended: bool,
}

impl Producer {
    pub fn cast(&self) -> &Cast {
        &self.cast
    }

    /// Commits a frame, then makes it visible and wakes the viewers.
    pub async fn append(&mut self, frame: Frame) -> Result<(), AppendError> {
        let frame = Arc::new(frame);
        self.journal.commit(Record::Frame(self.cast.id().clone(), frame.clone())).await?;
        self.reveal(Arc::unwrap_or_clone(frame))
    }

    fn reveal(&mut self, frame: Frame) -> Result<(), AppendError> {
        self.counts.frame_appended(frame.ends.len(), frame.bytes.len());
        let last = frame.last();
        let mut kept = self.cast.lock();
        if kept.log.is_erased() {
            return Ok(());
        }
        if kept.first_token.is_none() && frame.events.iter().any(|(_, event)| event.is_content()) {
            let after = self.cast.0.began.elapsed();
            kept.first_token = Some(after);
            self.counts.first_token(after);
        }
        kept.log.append(frame);
        kept.settle();
        let exhausted = kept.share.is_exhausted();
        drop(kept);
        self.cast.0.tail.send_modify(|tail| tail.seq = last);
        if exhausted { Err(AppendError::Exhausted) } else { Ok(()) }
    }

    /// Ends the cast: commits the one final record, then shows it. Where the journal cannot take it, the end says so
    /// from memory.
    pub async fn end(mut self, outcome: Outcome) {
        let end = self.conclude(outcome);
        let end = match self.journal.commit(Record::End(self.cast.id().clone(), end.clone())).await {
            Ok(()) => end,
            Err(error) => self.conclude(Outcome::because(Why::StorageError, error.to_string())),
        };
        self.close(end);
    }

    fn conclude(&self, outcome: Outcome) -> Arc<End> {
        let at_ms = u64::try_from(self.cast.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.cast.lock().log.conclude(outcome, at_ms)
    }

    fn close(&mut self, end: Arc<End>) {
        self.ended = true;
        let (reason, code) = end.why.wire();
        telemetry::stream_ended(&self.cast.0.about.provider, end.why);
        info!(reason, code, message = end.message, blocks = end.blocks, bytes = end.bytes, "stream ended");
        let mut kept = self.cast.lock();
        kept.log.finish(end);
        kept.share.finish();
        drop(kept);
        self.cast.0.tail.send_modify(|tail| tail.closed = true);
    }
}

/// Why a frame was the last one that could be appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The budget of retained bytes and its reserve are used up.
    #[error("the gateway's memory budget is used up")]
    Exhausted,
}

impl Drop for Producer {
    fn drop(&mut self) {
        if !self.ended {
            let outcome = Outcome::because(Why::Internal, "the gateway failed while it read this stream");
            self.close(self.conclude(outcome));
        }
    }
}

#[cfg(test)]
mod tests;
