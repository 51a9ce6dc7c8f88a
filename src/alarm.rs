//! A timer that is put off far more often than it rings. Putting it off costs nothing: it finds out when it rings.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::seldom::Seldom;

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
    pub(crate) fn put_off_to(&mut self, at: Instant) {
        self.at = at;
    }

    /// Rings then, whenever that is. Gives whether it has to be polled for that.
    pub(crate) fn set(&mut self, at: Instant) -> bool {
        self.at = at;
        let is_sooner = at < self.timer.deadline();
        if is_sooner {
            self.timer.as_mut().reset(at);
        }
        is_sooner
    }
}

/// Ready when it is time.
impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let at = self.at;
            if self.timer.deadline() >= at {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(at);
        }
    }
}

impl Seldom<Alarm> {
    pub(crate) fn alarm(at: Instant) -> Self {
        Self::new(Alarm::at(at))
    }

    /// Rings then, whenever that is.
    pub(crate) fn ring_at(&mut self, at: Instant) {
        if self.quietly().set(at) {
            self.anew();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_time_that_was_set_last() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut alarm = Seldom::alarm(at(10));
        for (set, rings) in [(vec![20], 20), (vec![60, 30], 30), (vec![31, 90, 40], 40), (vec![39], 40)] {
            for seconds in set {
                alarm.ring_at(at(seconds));
                let moment = tokio::time::sleep(Duration::from_millis(1));
                tokio::select! { biased; () = &mut alarm => {} () = moment => {} }
            }
            (&mut alarm).await;
            assert_eq!(began.elapsed().as_secs(), rings);
        }
    }
}
