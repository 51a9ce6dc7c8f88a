//! A connection's socket. It gives up on a peer that takes nothing for too long, and tells when everything that was
//! written to it is out.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    /// How long a write may make no progress.
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    flushes: Arc<watch::Sender<u64>>,
}

/// Counts how often the socket had taken everything.
#[derive(Debug, Clone)]
pub(crate) struct Flushes(Arc<watch::Sender<u64>>);

impl Flushes {
    pub(crate) fn count(&self) -> u64 {
        *self.0.borrow()
    }

    /// Returns when the socket has taken everything since `count` was read, or will not.
    pub(crate) async fn beyond(&self, count: u64) {
        const PATIENCE: Duration = Duration::from_secs(5);
        let mut flushes = self.0.subscribe();
        let _ = tokio::time::timeout(PATIENCE, flushes.wait_for(|now| *now > count)).await;
    }
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, patience, stalled: None, flushes: Arc::default() }
    }

    pub(crate) fn flushes(&self) -> Flushes {
        Flushes(self.flushes.clone())
    }

    /// Passes on what the socket said; a pending write has to become ready in time.
    fn watch<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
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
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
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
        this.flushes.send_modify(|flushes| *flushes += 1);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
