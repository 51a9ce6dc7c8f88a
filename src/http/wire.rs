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
use tokio::time::{Instant, Sleep, sleep};

use super::error::{self, Error};
use super::frames::Frames;
use super::heads::Heads;
use super::last_words;

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
    /// The socket had not taken everything when the present head began to come.
    owes: bool,
    frames: Option<Frames>,
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
        let (again, heads, frames) = (Bytes::new(), None, None);
        Self { stream, patience, stalled, state, answering, again, heads, owes: false, frames }
    }

    /// The same connection, on which this is read again.
    pub(crate) fn again(self, again: Bytes) -> Self {
        Self { again, ..self }
    }

    /// Tells of the heads that come. While one comes nothing is said to the peer: what hyper would say of a head that it
    /// cannot read is said better by somebody else.
    pub(super) fn for_heads(mut self, heads: Heads) -> Self {
        self.heads = Some(heads);
        self
    }

    /// Ends with a peer that floods it with frames.
    pub(super) fn for_frames(mut self) -> Self {
        self.frames = Some(Frames::new(Instant::now()));
        self
    }

    /// The socket, for somebody else.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    /// Whether nothing is said to the peer.
    pub(super) fn is_mute(&self) -> bool {
        !self.owes && self.heads.as_ref().is_some_and(Heads::are_awaited)
    }

    fn came(&mut self, bytes: &[u8]) {
        if self.heads.as_ref().is_some_and(|heads| heads.came(bytes)) {
            self.owes = self.state.borrow().is_blocked;
        }
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

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Notes what the socket has taken of this.
    fn said(&mut self, bufs: &[IoSlice<'_>], taken: &Poll<io::Result<usize>>) {
        let (Some(frames), Poll::Ready(Ok(taken))) = (&mut self.frames, taken) else { return };
        let mut left = *taken;
        for buf in bufs {
            let len = left.min(buf.len());
            frames.said(&buf[..len]);
            left -= len;
        }
    }

    /// Tells a peer why nothing more is heard of it, if the socket takes it at once.
    fn leave(&mut self, cx: &mut Context<'_>, refusal: &Error) -> io::Error {
        // Else it would stand in the midst of a frame.
        if !self.state.borrow().is_blocked {
            let _ = Pin::new(&mut self.stream).poll_write(cx, &last_words::go_away(refusal));
            let _ = Pin::new(&mut self.stream).poll_flush(cx);
        }
        io::Error::new(io::ErrorKind::QuotaExceeded, refusal.message.clone())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.again.is_empty() {
            let len = this.again.len().min(buf.remaining());
            let again = this.again.split_to(len);
            buf.put_slice(&again);
            this.came(&again);
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
        if this.frames.as_mut().is_some_and(|frames| !frames.heard(came)) {
            return Poll::Ready(Err(this.leave(cx, &error::too_many_frames())));
        }
        this.came(came);
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
        this.said(&[IoSlice::new(buf)], &result);
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
        this.said(bufs, &result);
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
