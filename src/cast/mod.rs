//! The core: one answer, one ordered log, any number of cursors into it.
//!
//! A [`Cast`] is what the wire calls a stream. Exactly one [`Producer`] fills it and ends it; viewers only read:
//! [`Cast::read`] behind their cursor, else wait for [`Watch::changed`]. The cast knows how many viewers there are,
//! and nothing else about them.

pub mod about;
pub mod account;
mod audience;
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
mod reading;
mod reel;
pub mod thread;
mod watch;
mod woken;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::sync::watch::Sender;
use tokio::time::Instant;

use self::about::About;
use self::account::{Spent, Stake};
pub use self::audience::Attached;
use self::block::Seq;
use self::durable::{Durable, Ended, Record};
use self::end::{End, Why};
use self::head::Head;
use self::id::Id;
use self::log::Log;
use self::memory::Share;
use self::pages::Pages;
pub use self::producer::{AppendError, Producer};
pub use self::reading::Now;
pub use self::watch::{Tail, Watch};
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

    /// Whether both are handles to one cast.
    fn is(&self, other: &Cast) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(in crate::cast) fn stake(&self) -> &Arc<Stake> {
        &self.0.stake
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

#[cfg(test)]
pub(crate) mod tests;
