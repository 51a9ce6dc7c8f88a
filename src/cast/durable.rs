//! What the core asks of the journal below it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde::{Deserialize, Serialize};

use super::about::About;
pub use super::about::Number;
use super::account::Spent;
use super::block::Seq;
use super::end::End;
use super::frame::Frame;

/// One thing to remember.
#[derive(Debug, Clone)]
pub enum Record {
    /// A stream has begun; its id and its key are taken from now on.
    Begin(Arc<About>),
    /// The media type of a stream's bytes.
    Describe(Number, String),
    Frame(Number, Arc<Frame>),
    End(Number, Arc<Ended>),
    /// A stream's content is gone; its id and its key stay taken until that time (milliseconds since 1970).
    Bury(Number, u64),
    /// Nothing is left of a stream.
    Forget(Number),
    /// So much was spent by a tenant on a day, by its number since 1970.
    Spend(Arc<str>, u64, Spent),
    /// Nothing, to see whether anything can be committed.
    Probe,
}

/// What is left of a stream when it has ended, beside its content: enough for lists and for its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ended {
    pub end: End,
    pub model: Option<String>,
    pub frames: usize,
    pub first_token_ms: Option<f64>,
    /// What the provider calls its answer.
    #[serde(default)]
    pub upstream_id: Option<String>,
}

/// A stream that the journal still knows.
#[derive(Debug)]
pub struct Known {
    pub about: About,
    pub content_type: Option<String>,
    pub state: State,
}

/// How far a known stream got.
#[derive(Debug)]
pub enum State {
    Ended(Ended),
    /// Its content is gone until that time (milliseconds since 1970), when its name is free again.
    Gone(u64),
}

/// The journal could not keep a record, or find one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StorageError(pub String);

/// Resolves once a record is as durable as the journal's mode promises.
pub type Commit = Pin<Box<dyn Future<Output = Result<(), StorageError>> + Send>>;

/// Resolves to something that the journal has.
pub type Load<T> = Pin<Box<dyn Future<Output = Result<T, StorageError>> + Send>>;

/// The content of an ended stream, as far as it has to be in memory.
#[derive(Debug)]
pub enum Content {
    /// Where its pieces are, in order.
    Pieces(Vec<Mark>),
    /// All of it: it could not be made into pieces.
    Whole(Vec<Frame>),
}

/// Some frames of an ended stream, end to end, that are read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub first: Seq,
    pub last: Seq,
    /// How many bytes lie before it.
    pub begin: u64,
    /// The last block before it that has events, 0 if there is none.
    pub id: Seq,
}

impl Mark {
    /// Whether the block behind the cursor is in here.
    pub fn holds(&self, after: Seq) -> bool {
        (self.first..=self.last).contains(&(after + 1))
    }

    /// Whether each goes on where the one before it ends, from the first block to the last.
    pub fn are_whole(marks: &[Self], blocks: Seq) -> bool {
        let begins = marks.iter().map(|mark| mark.first).chain([blocks.saturating_add(1)]);
        let ends = marks.iter().map(|mark| mark.last.saturating_add(1));
        begins.eq(std::iter::once(1).chain(ends))
    }
}

/// A place where records outlive their cast.
pub trait Durable: Send + Sync + std::fmt::Debug {
    /// Records of one stream are committed in the order given, whether they are waited for or not. An end, a burial
    /// and a forgetting that cannot be committed are committed later, as soon as anything can.
    fn commit(&self, record: Record) -> Commit;

    /// The content of an ended stream.
    fn content(&self, number: Number) -> Load<Content>;

    /// The frames of the piece of an ended stream that begins with the block `first`; none if it is gone.
    fn piece(&self, number: Number, first: Seq) -> Load<Vec<Frame>>;

    /// Whether content can be loaded.
    fn keeps_content(&self) -> bool;

    /// Bytes of the disk that are in use.
    fn used_bytes(&self) -> u64;

    /// Why nothing can be committed now.
    fn trouble(&self) -> Option<StorageError>;

    /// Tells telemetry what is looked up and not counted. It may block.
    fn sample(&self) {}
}

/// A commit that has nothing to wait for.
pub fn committed() -> Commit {
    /// Of no size, so that its box is none.
    struct Committed;

    impl Future for Committed {
        type Output = Result<(), StorageError>;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Ready(Ok(()))
        }
    }

    Box::pin(Committed)
}
