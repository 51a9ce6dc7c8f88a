//! One viewer in a room: a socket, a cursor, and what the socket has not taken yet.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::future::AbortHandle;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{Held, Order};
use crate::cast::block::Seq;
use crate::cast::log::Read;
use crate::cast::{Attached, Cast};
use crate::telemetry::Viewing;
use crate::view::View;
use crate::view::events::Bye;
use crate::viewer::{BATCH_BYTES_MAX, retry_ms};

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
const HEARTBEAT: &[u8] = b": hb\n\n";

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) number: u64,
    pub(super) stream: Arc<TcpStream>,
    pub(super) cursor: Seq,
    /// Who watches whether the viewer hangs up.
    pub(super) watching: Option<AbortHandle>,
    pending: VecDeque<Bytes>,
    /// Nothing comes behind what is pending.
    is_last: bool,
    said: Instant,
    heartbeat: Duration,
    expires: Option<Instant>,
    counts: Viewing,
    _attached: Attached,
    _held: Held,
}

/// A chunk of a body, made once for all who are sent the same.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    parts: [Bytes; 3],
    /// Of the body.
    len: usize,
}

impl Chunk {
    pub(super) fn of(bytes: Bytes) -> Self {
        let len = bytes.len();
        Self { parts: [format!("{len:x}\r\n").into(), bytes, Bytes::from_static(b"\r\n")], len }
    }

    /// The last one with content, and the end of the body.
    pub(super) fn last(bytes: Bytes) -> Self {
        let mut chunk = Self::of(bytes);
        chunk.parts[2] = Bytes::from_static(b"\r\n0\r\n\r\n");
        if chunk.len == 0 {
            chunk.parts = [Bytes::new(), Bytes::new(), Bytes::from_static(LAST_CHUNK)];
        }
        chunk
    }
}

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    All,
    /// The socket takes no more now.
    Some,
    /// The viewer is gone, or has been told everything.
    Over,
}

impl Seat {
    pub(super) fn new(stream: TcpStream, begin: Bytes, order: Order, held: Held) -> Self {
        Self {
            number: 0,
            stream: Arc::new(stream),
            cursor: order.after,
            watching: None,
            pending: [begin].into(),
            is_last: false,
            said: Instant::now(),
            heartbeat: order.heartbeat,
            expires: order.expires,
            counts: Viewing::of(order.view.name(), "sse"),
            _attached: order.attached,
            _held: held,
        }
    }

    /// Writes a chunk that goes up to `upto`, of a log with this tail.
    pub(super) fn take(&mut self, chunk: &Chunk, upto: Seq, tail: Seq, now: Instant) -> Wrote {
        self.counts.delivered(chunk.len, tail.saturating_sub(self.cursor));
        self.cursor = upto;
        self.write(chunk, now)
    }

    /// Writes the last chunk.
    pub(super) fn finish(&mut self, chunk: &Chunk, now: Instant) -> Wrote {
        self.is_last = true;
        match self.write(chunk, now) {
            Wrote::All => Wrote::Over,
            other => other,
        }
    }

    pub(super) fn send_away(&mut self, code: &'static str, retry_ms: u64, now: Instant) -> Wrote {
        self.finish(&Chunk::last(Bye { code, retry_ms }.sse().into()), now)
    }

    /// When there is something to say although nothing comes.
    pub(super) fn due(&self) -> Instant {
        let heartbeat = self.said + self.heartbeat;
        self.expires.map_or(heartbeat, |expires| expires.min(heartbeat))
    }

    /// Says what is due.
    pub(super) fn remind(&mut self, now: Instant) -> Wrote {
        if self.expires.is_some_and(|at| at <= now) {
            return self.send_away("ticket_expired", 0, now);
        }
        if self.said + self.heartbeat <= now {
            return self.write(&Chunk::of(Bytes::from_static(HEARTBEAT)), now);
        }
        Wrote::All
    }

    /// Hands a chunk to the socket, of which nothing else is waiting.
    fn write(&mut self, chunk: &Chunk, now: Instant) -> Wrote {
        self.said = now;
        let slices = chunk.parts.each_ref().map(|part| IoSlice::new(part));
        let mut written = match self.stream.try_write_vectored(&slices) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return Wrote::Over,
        };
        for part in &chunk.parts {
            let taken = written.min(part.len());
            written -= taken;
            if taken < part.len() {
                self.pending.push_back(part.slice(taken..));
            }
        }
        if self.pending.is_empty() { Wrote::All } else { Wrote::Some }
    }

    /// Writes what is pending, as far as the socket takes it.
    fn flush(&mut self) -> Wrote {
        while let Some(first) = self.pending.front_mut() {
            match self.stream.try_write(first) {
                Ok(0) => return Wrote::Over,
                Ok(written) => {
                    first.advance(written);
                    if first.is_empty() {
                        self.pending.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Wrote::Some,
                Err(_) => return Wrote::Over,
            }
        }
        // An empty queue keeps no memory for the next time.
        self.pending = VecDeque::new();
        if self.is_last { Wrote::Over } else { Wrote::All }
    }

    /// Writes at the speed of the viewer until it has everything that there is. `None` when it is gone, told everything,
    /// or takes nothing for too long.
    pub(super) async fn catch_up(
        mut self,
        cast: Cast,
        view: View,
        stalled: Duration,
        closing: CancellationToken,
    ) -> (u64, Option<Self>) {
        let number = self.number;
        loop {
            match self.flush() {
                Wrote::Over => return (number, None),
                Wrote::Some => {
                    let stream = self.stream.clone();
                    if !matches!(timeout(stalled, stream.writable()).await, Ok(Ok(()))) {
                        return (number, None);
                    }
                    continue;
                }
                Wrote::All => {}
            }
            let now = Instant::now();
            let wrote = if self.expires.is_some_and(|at| at <= now) {
                self.send_away("ticket_expired", 0, now)
            } else {
                match cast.read(view.source(), self.cursor, BATCH_BYTES_MAX) {
                    Read::Batch { bytes, upto, .. } if bytes.is_empty() => {
                        self.cursor = upto;
                        Wrote::All
                    }
                    Read::Batch { bytes, upto, .. } => self.take(&Chunk::of(bytes), upto, cast.tail(), now),
                    Read::End { bytes, .. } => self.finish(&Chunk::last(bytes), now),
                    Read::Gone => self.send_away("gone", 0, now),
                    Read::Pending if closing.is_cancelled() => {
                        self.send_away("draining", retry_ms(true), now)
                    }
                    Read::Pending => return (number, Some(self)),
                }
            };
            if wrote == Wrote::Over {
                return (number, None);
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(watching) = &self.watching {
            watching.abort();
        }
    }
}

/// Returns when the viewer hangs up. What it says is not for us: it has asked for everything that it gets.
pub(super) async fn hung_up(stream: Arc<TcpStream>) {
    while stream.readable().await.is_ok() {
        // Not kept while waiting: there is one of these for every viewer.
        match stream.try_read(&mut [0; 512]) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
