//! What a cast gives to those who read it: something to wait on, and a place among the viewers.

use tokio::sync::watch;

use super::Cast;
use super::block::Seq;

/// How far a log reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tail {
    pub seq: Seq,
    /// Nothing comes behind it.
    pub closed: bool,
}

impl Tail {
    /// Whether there is something to read behind `cursor`, if only the end.
    pub fn is_ahead_of(&self, cursor: Seq) -> bool {
        self.closed || self.seq > cursor
    }
}

/// Wakes whoever reads a cast.
#[derive(Debug)]
pub struct Watch(pub(super) watch::Receiver<Tail>);

impl Watch {
    /// Marks what there is now as seen, and says how far it reaches: call it before reading, so that nothing slips
    /// through between.
    pub fn mark(&mut self) -> Tail {
        *self.0.borrow_and_update()
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
pub struct Attached(pub(super) Cast);

impl std::ops::Deref for Attached {
    type Target = Cast;

    fn deref(&self) -> &Cast {
        &self.0
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.0.stake.leave();
        #[cfg(not(planted_bug = "viewer_counted_for_ever"))]
        self.0.0.viewers.send_modify(|viewers| *viewers -= 1);
    }
}
