//! The core: one answer, one ordered log, any number of cursors into it.
//!
//! A [`Cast`] is what the wire calls a stream. Exactly one [`Producer`] fills it and ends it; viewers only read:
//! [`Cast::read`] behind their cursor, else wait for [`Watch::changed`]. The cast knows how many viewers there are,
//! and nothing else about them.

pub mod about;
pub mod account;
pub mod block;
pub mod coalesce;
pub mod durable;
pub mod end;
pub mod event;
pub mod facts;
pub mod fold;
pub mod frame;
pub mod head;
pub mod hub;
pub mod id;
pub mod log;
pub mod memory;
pub mod pages;
mod producer;
mod reel;
pub mod thread;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::sync::watch::Sender;
use tokio::time::Instant;

use self::about::About;
use self::account::{Reached, Spent, Stake};
use self::block::Seq;
use self::durable::{Content, Durable, Ended, Record, StorageError};
use self::end::{End, Why};
use self::fold::Fold;
use self::head::Head;
use self::hub::asleep::Asleep;
use self::id::Id;
use self::log::{Log, Read, Source};
use self::memory::{Budget, Share};
use self::pages::{Page, Pages, Unread};
pub use self::producer::{AppendError, Producer};
pub use self::watch::{Attached, Tail, Watch};
use crate::telemetry;

/// A handle to one cast; clones are the same cast.
#[derive(Debug, Clone)]
pub struct Cast(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    about: Arc<About>,
    journal: Arc<dyn Durable>,
    /// What this has of its tenant's account.
    stake: Arc<Stake>,
    /// Stop when nobody has watched for this long; `None` goes on without viewers.
    cancel_after: Option<Duration>,
    began: Instant,
    content_type: OnceLock<String>,
    /// How the provider began its answer, while there is somebody who wants to know.
    head: Sender<Option<Arc<Head>>>,
    /// How the log ends, to be asked for without waiting for whoever reads it.
    ending: OnceLock<Ending>,
    log: Mutex<Kept>,
    /// Where the log is, if it is in the journal.
    pages: Option<Pages>,
    tail: Sender<Tail>,
    stop: Sender<Option<Why>>,
    viewers: Sender<usize>,
}

impl Shared {
    fn new(about: Arc<About>, log: Log, stake: Arc<Stake>, share: Share, journal: Arc<dyn Durable>) -> Self {
        let tail = Tail { seq: log.tail(), closed: log.end().is_some() };
        let log = log.named(&about.id);
        Self {
            about,
            journal,
            stake,
            cancel_after: None,
            began: Instant::now(),
            content_type: OnceLock::new(),
            head: Sender::default(),
            ending: OnceLock::new(),
            log: Mutex::new(Kept { log, share, first_token_ms: None }),
            pages: None,
            tail: Sender::new(tail),
            stop: Sender::default(),
            viewers: Sender::default(),
        }
    }
}

/// The log and what it holds of the budget.
#[derive(Debug)]
struct Kept {
    log: Log,
    share: Share,
    /// From the `POST` to the first token.
    first_token_ms: Option<f64>,
}

/// The end, and when the log may be forgotten.
#[derive(Debug)]
struct Ending {
    end: Arc<End>,
    expires: Instant,
}

/// A cast as it is at one moment.
#[derive(Debug)]
pub struct Now<'a> {
    pub log: &'a Log,
    /// What was said so far.
    pub fold: &'a Fold,
    /// From the `POST` to the first token.
    pub first_token_ms: Option<f64>,
}

impl Cast {
    /// A new cast and the one value that can fill it.
    pub fn new(
        about: Arc<About>,
        cancel_after: Option<Duration>,
        stake: Arc<Stake>,
        share: Share,
        journal: Arc<dyn Durable>,
    ) -> (Self, Producer) {
        telemetry::stream_started(&about.provider);
        let shared = Shared::new(about, Log::default(), stake, share, journal);
        let cast = Self(Arc::new(Shared { cancel_after, ..shared }));
        cast.settle(&mut cast.lock());
        (cast.clone(), Producer::new(cast))
    }

    /// A cast that has ended, and whose log is in the journal.
    fn woken(
        asleep: &Asleep,
        content: Content,
        budget: &Arc<Budget>,
        journal: Arc<dyn Durable>,
    ) -> Result<Self, StorageError> {
        let (about, ended) = (&asleep.about, &asleep.ended);
        let blocks = ended.end.blocks;
        let (log, pages) = match content {
            Content::Pieces(mut marks) => {
                // Behind the end there may be frames whose commit came too late to be shown.
                marks.retain(|mark| mark.first <= blocks);
                let Some(last) = marks
                    .last_mut()
                    .map(|mark| {
                        mark.last = mark.last.min(blocks);
                        mark.last
                    })
                    .or((blocks == 0).then_some(0))
                else {
                    return Err(damaged(about));
                };
                if last != blocks || marks.windows(2).any(|pair| pair[0].last + 1 != pair[1].first) {
                    return Err(damaged(about));
                }
                let pages = Pages::new(about, marks, journal.clone(), budget.clone());
                (Log::elsewhere(ended), Some(pages))
            }
            Content::Whole(mut frames) => {
                frames.retain(|frame| frame.last() <= blocks);
                let mut log = Log::of(frames);
                if log.hash() != ended.end.hash {
                    return Err(damaged(about));
                }
                log.finish(Arc::new(ended.end.clone()));
                (log, None)
            }
        };
        let end = log.end().expect("it has ended").clone();
        let mut share = budget.share();
        share.finish();
        let cast = Self(Arc::new(Shared {
            ending: Ending { end, expires: asleep.expires }.into(),
            content_type: asleep.content_type.clone().map_or_else(OnceLock::new, OnceLock::from),
            pages,
            ..Shared::new(about.clone(), log, asleep.stake.clone(), share, journal)
        }));
        let mut kept = cast.lock();
        kept.first_token_ms = ended.first_token_ms;
        cast.settle(&mut kept);
        drop(kept);
        Ok(cast)
    }

    pub fn about(&self) -> &Arc<About> {
        &self.0.about
    }

    pub fn id(&self) -> &Id {
        &self.0.about.id
    }

    pub fn began(&self) -> Instant {
        self.0.began
    }

    /// How long the cast goes on without viewers; for ever if `None`.
    pub fn cancel_after(&self) -> Option<Duration> {
        self.0.cancel_after
    }

    /// The media type that the provider gave its bytes; known from its response head on.
    pub fn content_type(&self) -> Option<&str> {
        self.0.content_type.get().map(String::as_str)
    }

    /// Notes the media type of the provider's answer. The first one counts.
    pub fn describe(&self, content_type: &str) {
        if self.0.content_type.set(content_type.to_owned()).is_ok() {
            // Nobody waits for it: what is given first is committed first.
            drop(self.0.journal.commit(Record::Describe(self.about().number, content_type.to_owned())));
        }
    }

    /// Notes how the provider begins its answer.
    pub fn answered(&self, head: Head) {
        self.0.head.send_replace(Some(Arc::new(head)));
    }

    /// How the provider begins its answer; `None` when the stream ends before it has answered. Only of streams that
    /// were asked for with `wants_head`, by this process.
    pub async fn head(&self) -> Option<Arc<Head>> {
        let (mut heads, mut watch) = (self.0.head.subscribe(), self.watch());
        tokio::select! {
            biased;
            head = heads.wait_for(Option::is_some) => head.ok().and_then(|head| head.clone()),
            () = watch.closed() => None,
        }
    }

    /// What lies behind the cursor. A log in the journal is read piece by piece; `page` is the one that is read now.
    pub async fn read_on(
        &self,
        source: Source,
        after: Seq,
        bytes_max: usize,
        page: &mut Page,
    ) -> Result<Read, Unread> {
        let Some(pages) = self.pages() else { return Ok(self.read(source, after, bytes_max)) };
        if after < self.tail() {
            return pages.read(source, after, bytes_max, page).await;
        }
        if let Source::Rendered(rendering) = source
            && rendering.has_thread()
        {
            let thread = pages.thread(rendering, self.tail()).await?;
            self.lock().log.take_up(rendering, thread);
        }
        Ok(self.read(source, after, bytes_max))
    }

    /// The journal's pieces, unless their content was erased.
    fn pages(&self) -> Option<&Pages> {
        self.0.pages.as_ref().filter(|_| !self.lock().log.is_erased())
    }

    /// What lies behind the cursor in a log that is in memory, or at the end.
    pub fn read(&self, source: Source, after: Seq, bytes_max: usize) -> Read {
        loop {
            let mut kept = self.lock();
            let is_ready = kept.log.prepare(source, after, bytes_max);
            let read = is_ready.then(|| kept.log.read(source, after, bytes_max));
            self.settle(&mut kept);
            drop(kept);
            if matches!(read, Some(Read::Broken)) {
                self.stop(Why::Internal);
            }
            if let Some(read) = read {
                return read;
            }
            // Who waits for the log gets it now: the lock alone would be ours again before they are awake.
            std::thread::yield_now();
        }
    }

    /// Something to wait on until there is more to read.
    pub fn watch(&self) -> Watch {
        Watch(self.0.tail.subscribe())
    }

    /// Seq of the last block.
    pub fn tail(&self) -> Seq {
        // Not what the watch says, which is told a moment after the log: a viewer may have read further.
        self.lock().log.tail()
    }

    pub fn end(&self) -> Option<Arc<End>> {
        self.0.ending.get().map(|ending| ending.end.clone())
    }

    /// `running`, or the reason of the end.
    pub fn status(&self) -> &'static str {
        self.0.ending.get().map_or("running", |ending| ending.end.why.reason())
    }

    /// Looks at everything at once, wherever it is. The log stands still meanwhile: be quick.
    pub async fn look<T>(&self, look: impl FnOnce(Now<'_>) -> T) -> Result<T, Unread> {
        let Some(pages) = self.pages() else { return Ok(self.inspect(look)) };
        let fold = pages.fold().await?;
        let kept = self.lock();
        Ok(look(Now { log: &kept.log, fold: &fold, first_token_ms: kept.first_token_ms }))
    }

    /// Looks at a log that is in memory.
    fn inspect<T>(&self, look: impl FnOnce(Now<'_>) -> T) -> T {
        let kept = self.lock();
        look(Now { log: &kept.log, fold: kept.log.fold(), first_token_ms: kept.first_token_ms })
    }

    /// All bytes so far.
    pub fn bytes(&self) -> u64 {
        self.lock().log.bytes()
    }

    /// The cursor before the block that holds a byte, and how far inside of it the byte lies; `None` beyond the tail.
    pub async fn at_offset(&self, offset: u64) -> Result<Option<(Seq, usize)>, Unread> {
        match self.pages().filter(|_| offset < self.bytes()) {
            Some(pages) => pages.at_offset(offset).await.map(Some),
            None => Ok(self.lock().log.at_offset(offset)),
        }
    }

    /// How many bytes lie before the block behind the cursor.
    pub async fn offset(&self, after: Seq) -> Result<u64, Unread> {
        match self.pages().filter(|_| after < self.tail()) {
            Some(pages) => pages.offset(after).await,
            None => Ok(self.lock().log.offset(after)),
        }
    }

    /// Whether both are handles to one cast.
    fn is(&self, other: &Cast) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub fn viewers(&self) -> usize {
        *self.0.viewers.borrow()
    }

    /// Counts one viewer for as long as the guard lives, if there is a place for one.
    pub fn try_attach(&self) -> Result<Attached, Reached> {
        let mut place = Ok(());
        self.0.viewers.send_if_modified(|viewers| {
            place = self.0.stake.try_view(*viewers);
            *viewers += usize::from(place.is_ok());
            place.is_ok()
        });
        place.inspect_err(telemetry::limit_reached)?;
        Ok(Attached(self.clone()))
    }

    /// The same for whoever has a place already, by having started the stream.
    pub fn attach(&self) -> Attached {
        self.0.stake.view();
        self.0.viewers.send_modify(|viewers| *viewers += 1);
        Attached(self.clone())
    }

    pub(in crate::cast) fn stake(&self) -> &Arc<Stake> {
        &self.0.stake
    }

    /// Returns once nobody has been watching for `after`.
    pub async fn abandoned(&self, after: Duration) {
        let mut viewers = self.0.viewers.subscribe();
        loop {
            let idle = *viewers.borrow_and_update() == 0;
            tokio::select! {
                biased;
                // Whoever came before this task was run came in time.
                changed = viewers.changed() => changed.expect("the cast holds the sender"),
                () = tokio::time::sleep(after), if idle => return,
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
        self.0.ending.get().map(|ending| ending.expires)
    }

    /// Whether the log is to be forgotten.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires().is_some_and(|at| at <= now)
    }

    /// What stays of this cast when it has ended so.
    fn ended(&self, end: &End) -> Ended {
        let kept = self.lock();
        Ended {
            end: end.clone(),
            model: kept.log.fold().model.clone(),
            frames: kept.log.frames(),
            first_token_ms: kept.first_token_ms,
            upstream_id: kept.log.fold().upstream_id.clone(),
        }
    }

    /// What it has cost, when it has ended so.
    fn spent(&self, end: &End) -> Spent {
        Spent::by(end, self.lock().log.fold(), self.0.stake.asked())
    }

    /// Forgets the content, at once and for everybody.
    pub fn erase(&self) {
        {
            let mut kept = self.lock();
            kept.log.erase();
            self.settle(&mut kept);
        }
        self.0.tail.send_modify(|tail| tail.closed = true);
    }

    /// Bytes of memory that this holds whatever is in its log.
    pub fn overhead(&self) -> usize {
        let metadata = self.0.about.metadata.as_ref().map_or(0, |metadata| metadata.get().len());
        size_of::<Shared>() + metadata + self.0.pages.as_ref().map_or(0, Pages::memory)
    }

    /// Brings the share of the budget up to what is held now.
    fn settle(&self, kept: &mut Kept) {
        kept.share.hold(self.overhead() + kept.log.memory());
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn damaged(about: &About) -> StorageError {
    StorageError(format!("the stored content of stream {} is damaged", about.id))
}

#[cfg(test)]
pub(crate) mod tests;
