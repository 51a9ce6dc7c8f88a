//! How far the client of one request over HTTP/2 takes its answer. The socket does not tell: it is shared, and a client
//! may take others and only grant this one no window.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::pulse::Busy;

/// Shared by the parts of one answer, which goes on until it is taken; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Taking(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    out: Notify,
    _busy: Busy,
}

#[derive(Debug)]
struct State {
    /// Bytes that were handed over, and have not left.
    left: usize,
    /// When some of them left last, or when the first of them came.
    since: Instant,
}

impl Taking {
    pub(super) fn new(busy: Busy) -> Self {
        let state = Mutex::new(State { left: 0, since: Instant::now() });
        Self(Arc::new(Shared { state, out: Notify::new(), _busy: busy }))
    }

    /// Returns when nothing has been taken for so long, although there was something.
    pub(super) async fn stalled(self, patience: Duration) {
        loop {
            let now = Instant::now();
            let since = Some(self.lock()).filter(|state| state.left > 0).map_or(now, |state| state.since);
            if since + patience <= now {
                return;
            }
            sleep_until(since + patience).await;
        }
    }

    /// Returns when everything that was handed over has left.
    pub(super) async fn out(&self) {
        loop {
            let out = self.0.out.notified();
            if self.lock().left == 0 {
                return;
            }
            out.await;
        }
    }

    fn came(&self, bytes: Bytes) -> Piece {
        let mut state = self.lock();
        if state.left == 0 {
            state.since = Instant::now();
        }
        state.left += bytes.len();
        drop(state);
        Piece { bytes, taking: self.clone() }
    }

    fn left(&self, bytes: usize) {
        let mut state = self.lock();
        state.left -= bytes;
        state.since = Instant::now();
        if state.left == 0 {
            self.0.out.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that tell when they leave, or are dropped.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    taking: Taking,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, len: usize) {
        self.bytes.advance(len);
        self.taking.left(len);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.taking.left(self.bytes.len());
        }
    }
}

/// A body in such pieces.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) body: Body,
    pub(super) taking: Taking,
}

impl HttpBody for Taken {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| Ok(frame?.map_data(|bytes| self.taking.came(bytes)))))
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
    use tokio::time::{advance, sleep};

    use super::*;
    use crate::http::pulse::Pulse;

    #[tokio::test(start_paused = true)]
    async fn whatever_leaves_counts_and_silence_does_not() {
        let taking = Taking::new(Pulse::default().asked());
        let begin = Instant::now();
        let slow = async {
            // Nothing to take.
            sleep(Duration::from_secs(100)).await;
            let mut piece = taking.came(Bytes::from_static(b"words"));
            for _ in 0..4 {
                sleep(Duration::from_secs(29)).await;
                piece.advance(1);
            }
            drop(piece);
            taking.out().await;
            advance(Duration::from_secs(100)).await;
            let _piece = taking.came(Bytes::from_static(b"more"));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = taking.clone().stalled(Duration::from_secs(30)) => {}
            () = slow => unreachable!(),
        }
        assert_eq!(begin.elapsed().as_secs(), 100 + 4 * 29 + 100 + 30);
    }
}
