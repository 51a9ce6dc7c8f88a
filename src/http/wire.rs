//! A connection's socket. It gives up on a peer that takes nothing for too long, and tells when something has come and
//! when everything that was written to it is out.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

use super::pulse::Pulse;

/// A connection that shows how far the peer has taken what was written.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    /// How long a write may make no progress.
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    state: Arc<watch::Sender<State>>,
    answering: Answering,
    /// What is read once more, before the socket.
    again: Bytes,
    heads: Option<Heads>,
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

/// What a connection of HTTP/1.1 has to know of the heads that come.
#[derive(Debug)]
struct Heads {
    pulse: Pulse,
    /// No line has ended yet.
    is_first_line: bool,
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
    /// flushed bit by bit. Long enough for a connection whose task has to wait for a busy machine.
    pub(crate) async fn quiet(&self) {
        const QUIET: Duration = Duration::from_millis(250);
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

impl<S> Wire<S> {
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        let (stalled, state, answering) = (None, Arc::default(), Answering::default());
        Self { stream, patience, stalled, state, answering, again: Bytes::new(), heads: None }
    }

    /// The same connection, on which this is read again.
    pub(crate) fn again(self, again: Bytes) -> Self {
        Self { again, ..self }
    }

    /// Tells when heads begin. Until the first request has come nothing is said to the peer: what hyper would say of a
    /// head that it cannot read is said better by somebody else.
    pub(super) fn for_heads(mut self, pulse: Pulse) -> Self {
        self.heads = Some(Heads { pulse, is_first_line: true });
        self
    }

    /// Whether the first line of the first head has not ended yet.
    pub(super) fn is_in_first_line(&self) -> bool {
        self.heads.as_ref().is_some_and(|heads| heads.is_first_line)
    }

    /// The socket, for somebody else.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    fn is_mute(&self) -> bool {
        self.heads.as_ref().is_some_and(|heads| !heads.pulse.has_asked())
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

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.again.is_empty() {
            let len = this.again.len().min(buf.remaining());
            buf.put_slice(&this.again.split_to(len));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let came = &buf.filled()[before..];
        if came.is_empty() {
            // Whoever answers goes on by itself, and then it is read again.
            let is_answering = this.answering.0.load(Ordering::Relaxed);
            return if is_answering { Poll::Pending } else { Poll::Ready(Ok(())) };
        }
        if let Some(heads) = &mut this.heads {
            heads.pulse.read();
            heads.is_first_line = heads.is_first_line && !came.contains(&b'\n');
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_mute() {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.watch(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_mute() {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.watch(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        ready!(this.watch(cx, result))?;
        this.state.send_modify(|state| state.flushes += 1);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_mute() {
            return Poll::Ready(Ok(()));
        }
        let result = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.watch(cx, result)
    }
}
