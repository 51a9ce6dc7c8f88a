//! A timer that is put off far more often than it rings. Putting it off costs nothing: it finds out when it rings.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug)]
pub(super) struct Alarm {
    at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Alarm {
    pub(super) fn at(at: Instant) -> Self {
        Self { at, timer: Box::pin(sleep_until(at)) }
    }

    /// Rings then, which is not before the time that was set.
    pub(super) fn put_off_to(&mut self, at: Instant) {
        self.at = at;
    }

    pub(super) fn is_due(&self) -> bool {
        self.at <= Instant::now()
    }
}

/// Returns when it is time; without an alarm never.
pub(super) async fn rings(alarm: &mut Option<Alarm>) {
    let Some(Alarm { at, timer }) = alarm else { return std::future::pending().await };
    loop {
        timer.as_mut().await;
        if timer.deadline() >= *at {
            return;
        }
        timer.as_mut().reset(*at);
    }
}
