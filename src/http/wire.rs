//! A connection's socket. It gives up on a peer that takes nothing for too long, and tells when everything that was
//! written to it is out.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

/// A connection that shows how far the peer has taken what was written.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    /// How long a write may make no progress.
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    state: Arc<watch::Sender<State>>,
    answering: Answering,
    /// What is read once more, before the socket.
    again: Bytes,
}

/// Whether a request is being answered whose client may have shut its side already. It is not told so: for hyper it
/// would be gone, and with it its request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answering(Arc<AtomicBool>);

impl Answering {
    pub(crate) fn set(&self, is_answering: bool) {
        self.0.store(is_answering, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State {
    /// How often the socket had taken everything.
    flushes: u64,
    /// The socket takes nothing at the moment.
    is_blocked: bool,
}

/// What a connection shows.
#[derive(Debug, Clone)]
pub(crate) struct Flushes(Arc<watch::Sender<State>>);

impl Flushes {
    pub(crate) fn count(&self) -> u64 {
        self.0.borrow().flushes
    }

    /// Returns when the socket has taken everything that was handed over right after `count` was read. A peer that takes
    /// nothing ends this with its connection.
    pub(crate) async fn beyond(&self, count: u64) {
        let mut state = self.0.subscribe();
        let _ = state.wait_for(|now| now.flushes > count).await;
    }

    /// Returns when nothing waits for the socket: for HTTP/2, where streams share it and what was handed over is
    /// flushed bit by bit.
    pub(crate) async fn quiet(&self) {
        const QUIET: Duration = Duration::from_millis(50);
        let mut state = self.0.subscribe();
        loop {
            let is_blocked = state.borrow_and_update().is_blocked;
            let changed = tokio::time::timeout(QUIET, state.changed()).await;
            if changed.is_err() && !is_blocked {
                return;
            }
        }
    }
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, patience: Duration) -> Self {
        let (stalled, state, answering) = (None, Arc::default(), Answering::default());
        Self { stream, patience, stalled, state, answering, again: Bytes::new() }
    }

    /// The same connection, on which this is read again.
    pub(crate) fn again(self, again: Bytes) -> Self {
        Self { again, ..self }
    }

    /// The socket, for somebody else.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    pub(crate) fn flushes(&self) -> Flushes {
        Flushes(self.state.clone())
    }

    pub(crate) fn answering(&self) -> Answering {
        self.answering.clone()
    }

    /// Passes on what the socket said; a pending write has to become ready in time.
    fn watch<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let is_blocked = result.is_pending();
        self.state
            .send_if_modified(|state| std::mem::replace(&mut state.is_blocked, is_blocked) != is_blocked);
        if !is_blocked {
            self.stalled = None;
            return result;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.again.is_empty() {
            let len = this.again.len().min(buf.remaining());
            buf.put_slice(&this.again.split_to(len));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let is_end = buf.filled().len() == before;
        // Whoever answers goes on by itself, and then it is read again.
        if is_end && this.answering.0.load(Ordering::Relaxed) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.watch(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.watch(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.state.send_modify(|state| state.flushes += 1);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
