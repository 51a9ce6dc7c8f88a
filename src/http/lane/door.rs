//! The way into a room, and what wakes it: somebody has come, or a socket can be read or written again.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use tokio::sync::Notify;

use super::seat::Seat;

/// Sockets hold it as a waker, which costs a viewer nothing. It does not tell which one rang: the room looks at all.
#[derive(Debug, Default)]
pub(super) struct Door {
    arrived: Mutex<Vec<Seat>>,
    bell: Notify,
}

impl Door {
    pub(super) fn enter(&self, seat: Seat) {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).push(seat);
        self.bell.notify_one();
    }

    /// Those who have come since the last time.
    pub(super) fn arrived(&self) -> Vec<Seat> {
        std::mem::take(&mut *self.arrived.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns when the bell was rung since the last time.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }
}

impl Wake for Door {
    fn wake(self: Arc<Self>) {
        self.bell.notify_one();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.bell.notify_one();
    }
}
