//! Streams of one session that say something within a frame of a screen say it together, in one packet: packets are what
//! costs, and not bytes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

const GAP: Duration = Duration::from_millis(16);

/// The time between two writes of one session.
pub(super) struct Gap {
    over: Pin<Box<Sleep>>,
    is_open: bool,
}

impl Gap {
    pub(super) fn new() -> Self {
        Self { over: Box::pin(sleep_until(Instant::now())), is_open: false }
    }

    /// Ready when the last one is over.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_open {
            ready!(self.over.as_mut().poll(context));
            self.is_open = false;
        }
        Poll::Ready(())
    }

    /// Something was written just now; the task is woken when the gap is over.
    pub(super) fn begin(&mut self, context: &mut Context<'_>) {
        self.is_open = true;
        self.over.as_mut().reset(Instant::now() + GAP);
        let _ = self.poll(context);
    }
}
