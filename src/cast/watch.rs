//! What those who read a cast wait on.

use tokio::sync::watch;

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
