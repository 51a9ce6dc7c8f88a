//! The writing end of a cast.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::info;

use super::durable::{Commit, Number, Record, StorageError};
use super::end::{End, Outcome, Why};
use super::frame::Frame;
use super::{Cast, Ending};
use crate::telemetry::{self, Appending};

/// The one value that can append to a cast and end it. Dropped without [`Producer::end`], as a panic does, it ends
/// the cast `failed/internal`.
#[derive(Debug)]
pub struct Producer {
    cast: Cast,
    counts: Appending,
    /// What is being committed, in a place that is used again once the journal has let go of it.
    frame: Arc<Frame>,
    has_ended: bool,
}

impl Producer {
    pub(super) fn new(cast: Cast) -> Self {
        let counts = Appending::of(&cast.about().provider);
        Self { cast, counts, frame: Arc::default(), has_ended: false }
    }

    pub fn cast(&self) -> &Cast {
        &self.cast
    }

    /// Commits a frame, then makes it visible and wakes the viewers.
    pub async fn append(&mut self, frame: Frame) -> Result<(), AppendError> {
        match Arc::get_mut(&mut self.frame) {
            Some(place) => *place = frame,
            None => self.frame = Arc::new(frame),
        }
        let commit = self.cast.0.journal.commit(Record::Frame(self.number(), self.frame.clone()));
        #[cfg(not(planted_bug = "visible_before_commit"))]
        commit.await?;
        self.reveal()
    }

    fn reveal(&mut self) -> Result<(), AppendError> {
        let frame = match Arc::get_mut(&mut self.frame) {
            Some(frame) => std::mem::take(frame),
            None => Frame::clone(&self.frame),
        };
        self.counts.frame_appended(frame.ends.len(), frame.bytes.len());
        self.cast.0.stake.retain(frame.bytes.len() as u64);
        let last = frame.last();
        let mut kept = self.cast.lock();
        if kept.first_token_ms.is_none() && frame.events.iter().any(|(_, event)| event.is_content()) {
            let after = self.cast.0.began.elapsed();
            kept.first_token_ms = Some((after.as_secs_f64() * 1e6).round() / 1e3);
            self.counts.first_token(after);
        }
        kept.log.append(frame);
        self.cast.settle(&mut kept);
        let exhausted = kept.share.is_exhausted();
        drop(kept);
        self.cast.0.tail.send_modify(|tail| tail.seq = last);
        if exhausted { Err(AppendError::Exhausted) } else { Ok(()) }
    }

    /// Ends the cast: commits the one final record, then shows it. Where the journal cannot take it, or not within
    /// this time, the end says so from memory.
    pub async fn end(mut self, outcome: Outcome, within: Duration) {
        let end = self.conclude(outcome);
        let end = match timeout(within, self.commit(&end)).await {
            Ok(Ok(())) => end,
            Ok(Err(error)) => {
                let end = self.conclude(Outcome::because(Why::StorageError, error.to_string()));
                // What viewers are told now is what they are told after a restart, if there is any way.
                drop(self.commit(&end));
                end
            }
            Err(_) => {
                let message = format!("the journal has not committed the end for {} s", within.as_secs());
                self.conclude(Outcome::because(Why::Overloaded, message))
            }
        };
        #[cfg(planted_bug = "two_ends")]
        drop(self.commit(&end));
        self.close(end);
    }

    /// Ends a cast whose beginning could not be stored: the journal does not know it.
    pub(super) fn give_up(mut self, error: &StorageError) {
        self.close(self.conclude(Outcome::because(Why::StorageError, error.to_string())));
    }

    fn commit(&self, end: &End) -> Commit {
        self.cast.0.journal.commit(Record::End(self.number(), Arc::new(self.cast.ended(end))))
    }

    fn conclude(&self, outcome: Outcome) -> Arc<End> {
        let at_ms = u64::try_from(self.cast.0.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.cast.lock().log.conclude(outcome, at_ms)
    }

    fn number(&self) -> Number {
        self.cast.about().number
    }

    fn close(&mut self, end: Arc<End>) {
        self.has_ended = true;
        let (reason, code) = end.why.wire();
        telemetry::stream_ended(&self.cast.0.about.provider, end.why);
        self.spend(&end);
        let said = end.message.as_deref().filter(|_| !end.why.quotes_the_provider());
        info!(reason, code, said, blocks = end.blocks, bytes = end.bytes, "stream ended");
        let expires = Instant::now() + self.cast.about().ttl();
        let mut kept = self.cast.lock();
        kept.log.finish(end.clone());
        let _ = self.cast.0.ending.set(Ending { end, expires });
        self.cast.settle(&mut kept);
        kept.share.finish();
        drop(kept);
        self.cast.0.stake.finish();
        #[cfg(not(planted_bug = "nobody_woken_at_the_end"))]
        self.cast.0.tail.send_modify(|tail| tail.closed = true);
    }

    /// Puts it on the tenant's account.
    fn spend(&self, end: &End) {
        let spent = self.cast.spent(end);
        self.cast.0.stake.account().spend(spent, &*self.cast.0.journal);
        telemetry::tokens_spent(&self.cast.0.about.provider, spent);
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
        if !self.has_ended {
            let outcome = Outcome::because(Why::Internal, "the gateway failed while it read this stream");
            let end = self.conclude(outcome);
            drop(self.commit(&end));
            self.close(end);
        }
    }
}
