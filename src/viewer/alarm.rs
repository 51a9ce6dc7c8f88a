//! A timer that is put off far more often than it rings. Putting it off costs nothing: it finds out when it rings.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug)]
pub(crate) struct Alarm {
    at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Alarm {
    pub(crate) fn at(at: Instant) -> Self {
        Self { at, timer: Box::pin(sleep_until(at)) }
    }

    /// Rings then, which is not before the time that was set.
    pub(super) fn put_off_to(&mut self, at: Instant) {
        self.at = at;
    }

    /// Rings then, whenever that is.
    pub(crate) fn set(&mut self, at: Instant) {
        self.at = at;
        if at < self.timer.deadline() {
            self.timer.as_mut().reset(at);
        }
    }

    /// Ready when it is time.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            if self.timer.deadline() >= self.at {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.at);
        }
    }

    /// Returns when it is time.
    pub(crate) async fn rings(&mut self) {
        poll_fn(|context| self.poll(context)).await;
    }
}
