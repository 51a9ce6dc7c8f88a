//! What ends a viewer's waiting for more, and is not more.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::alarm::Alarm;

/// What happened.
pub(super) enum Event {
    /// Nothing, for too long.
    Quiet,
    Expired,
    /// Viewers are to leave.
    Closing,
}

/// Waits for all of it.
#[derive(Debug)]
pub(super) struct Rare {
    pub(super) quiet: Option<Alarm>,
    pub(super) expires: Option<Alarm>,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Rare {
    pub(super) fn new(closing: CancellationToken) -> Self {
        Self { quiet: None, expires: None, closing: Box::pin(closing.cancelled_owned()) }
    }
}

impl Future for Rare {
    type Output = Event;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Event> {
        let mut rings = |alarm: &mut Option<Alarm>| {
            alarm.as_mut().is_some_and(|alarm| Pin::new(alarm).poll(context).is_ready())
        };
        if rings(&mut self.quiet) {
            return Poll::Ready(Event::Quiet);
        }
        if rings(&mut self.expires) {
            return Poll::Ready(Event::Expired);
        }
        self.closing.as_mut().poll(context).map(|()| Event::Closing)
    }
}
