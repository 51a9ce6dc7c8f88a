//! What a connection is doing, so that whoever only holds one is noticed: waiting for its client, reading a head, or
//! answering.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Shared by the parts of one connection; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Pulse(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Something was asked, ever.
    has_asked: bool,
    /// Requests that are being answered.
    open: usize,
    /// Bytes have come that belong to none of them.
    is_reading: bool,
}

/// How long each of the waits may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until something comes at all.
    pub(super) first: Duration,
    /// From the first byte of a head to its last.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
}

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    First,
    Head,
    Idle,
}

impl Pulse {
    /// Bytes came. The first of a head are told apart: more of them give it no more time.
    pub(super) fn read(&self) -> bool {
        let mut state = self.lock();
        let begins = state.open == 0 && !state.is_reading;
        if begins {
            state.is_reading = true;
            drop(state);
            self.0.changed.notify_one();
        }
        begins
    }

    /// A request came, which is being answered for as long as what this gives lives.
    pub(super) fn asked(&self) -> Busy {
        let mut state = self.lock();
        *state = State { has_asked: true, open: state.open + 1, is_reading: false };
        drop(state);
        self.0.changed.notify_one();
        Busy(self.clone())
    }

    /// Whether the first head has yet to come, or another one is coming.
    pub(super) fn awaits_head(&self) -> bool {
        let state = self.lock();
        !state.has_asked || state.is_reading
    }

    /// Returns when the client has taken too long for what it should do next.
    pub(super) async fn late(&self, patience: Patience) -> Late {
        loop {
            let changed = self.0.changed.notified();
            let state = *self.lock();
            let (within, late) = match state {
                State { open: 1.., .. } => {
                    changed.await;
                    continue;
                }
                State { is_reading: true, .. } => (patience.head, Late::Head),
                State { has_asked: true, .. } => (patience.idle, Late::Idle),
                _ => (patience.first, Late::First),
            };
            if timeout(within, changed).await.is_err() {
                return late;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request that is being answered.
#[derive(Debug)]
pub(super) struct Busy(Pulse);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.lock().open -= 1;
        self.0.0.changed.notify_one();
    }
}

/// A body that is part of an answer until its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Body,
    pub(super) _busy: Busy,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    const PATIENCE: Patience = Patience {
        first: Duration::from_secs(5),
        head: Duration::from_secs(10),
        idle: Duration::from_secs(30),
    };

    /// What is late, and after how many seconds.
    async fn late(pulse: &Pulse, mut meanwhile: impl AsyncFnMut(&Pulse)) -> (Late, u64) {
        let begin = Instant::now();
        let late = tokio::select! {
            late = pulse.late(PATIENCE) => late,
            () = async { meanwhile(pulse).await; std::future::pending().await } => unreachable!(),
        };
        (late, begin.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_its_patience() {
        assert_eq!(late(&Pulse::default(), async |_| ()).await, (Late::First, 5));
        let trickle = async |pulse: &Pulse| loop {
            pulse.read();
            sleep(Duration::from_secs(1)).await;
        };
        assert_eq!(late(&Pulse::default(), trickle).await, (Late::Head, 10), "not extended by each byte");
        let asks = async |pulse: &Pulse| {
            sleep(Duration::from_secs(4)).await;
            pulse.read();
            let _busy = pulse.asked();
            sleep(Duration::from_secs(1000)).await;
        };
        assert_eq!(late(&Pulse::default(), asks).await, (Late::Idle, 1034));
        let twice = async |pulse: &Pulse| {
            let first = pulse.asked();
            let second = pulse.asked();
            drop(first);
            sleep(Duration::from_secs(100)).await;
            drop(second);
            sleep(Duration::from_secs(20)).await;
            pulse.read();
        };
        assert_eq!(late(&Pulse::default(), twice).await, (Late::Head, 130));
    }
}
