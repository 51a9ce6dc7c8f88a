//! One viewer in a room: a socket, a cursor, and what the socket has not taken yet.

use std::io;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::chunk::Chunk;
use super::menu::{Menu, Next};
use super::{Held, Order};
use crate::cast::Attached;
use crate::cast::block::Seq;
use crate::http::manners::Manners;
use crate::telemetry::{self, Listener};
use crate::view::events::Bye;
use crate::viewer::retry_ms;

/// What a viewer may say without being asked. It means nothing, and beyond this nobody listens any more.
const HEARD_BYTES_MAX: usize = 64 * 1024;
/// How long after the first question whoever may be gone is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Seat {
    stream: TcpStream,
    cursor: Seq,
    pending: Option<Box<Chunk>>,
    /// Nothing comes behind what is pending.
    is_last: bool,
    /// It is to be closed.
    is_over: bool,
    /// About one who has said that it says nothing more.
    doubt: Doubt,
    heard: usize,
    /// When the socket took something.
    said: Instant,
    heartbeat: Option<Duration>,
    expires: Option<Instant>,
    _attached: Attached,
    _held: Held,
}

/// Whether somebody is still there. What is written to one who is gone comes back, and the next write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    None,
    /// Something was written since it hung up.
    Asked,
    /// And once more.
    AskedAgain,
}

/// What is the same for all seats in one round.
pub(super) struct Round<'a> {
    pub(super) manners: &'static Manners,
    pub(super) waker: &'a Waker,
    pub(super) now: Instant,
    /// The last block that there was when the round began.
    pub(super) tail: Seq,
    /// How long a socket may take nothing.
    pub(super) stalled: Duration,
    /// Viewers have to leave when they have everything.
    pub(super) is_closing: bool,
}

impl Seat {
    pub(super) fn new(stream: TcpStream, begin: Chunk, order: Order, held: Held) -> Self {
        Self {
            stream,
            cursor: order.after,
            pending: Some(Box::new(begin)),
            is_last: false,
            is_over: false,
            doubt: Doubt::None,
            heard: 0,
            said: Instant::now(),
            heartbeat: order.heartbeat,
            expires: order.expires,
            _attached: order.attached,
            _held: held,
        }
    }

    /// Whether it is to be closed.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Looks whether the viewer has hung up, and has the bell rung when it does.
    pub(super) fn listen(&mut self, round: &Round<'_>) {
        let mut context = Context::from_waker(round.waker);
        while !self.is_over && self.doubt == Doubt::None && self.heard < HEARD_BYTES_MAX {
            let Poll::Ready(readable) = self.stream.poll_read_ready(&mut context) else { return };
            // What it says is not for us: it has asked for everything that it gets.
            match readable.and_then(|()| self.stream.try_read(&mut [0; 512])) {
                Ok(0) => return self.ask(round),
                Ok(heard) => self.heard += heard,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.is_over = true,
            }
        }
    }

    /// Finds out whether a viewer who says nothing more is still there to listen.
    fn ask(&mut self, round: &Round<'_>) {
        match self.heartbeat {
            // What waits to be written is question enough.
            Some(_) if self.pending.is_some() => {}
            Some(_) => self.speak(round),
            None => self.is_over = true,
        }
        self.doubt = Doubt::Asked;
    }

    /// Tells the viewer what is next, one batch at most. Gives whether there is more that it would take at once.
    pub(super) fn serve(&mut self, menu: &mut Menu<'_>, round: &Round<'_>) -> bool {
        if let Some(pending) = self.pending.take() {
            self.push(pending, round);
        }
        if self.pending.is_some() {
            if !self.is_over && self.due(round.stalled) <= Some(round.now) {
                telemetry::refused(Listener::Public, "stalled");
                self.is_over = true;
            }
        } else if !self.is_over && self.expires.is_some_and(|at| at <= round.now) {
            self.send_away("ticket_expired", 0, round);
        }
        let mut has_taken = false;
        while !self.is_over && self.pending.is_none() {
            if has_taken && self.cursor < round.tail {
                return true;
            }
            match menu.behind(self.cursor) {
                Next::Chunk(chunk, upto) => {
                    self.cursor = *upto;
                    self.write(chunk, round);
                    has_taken = true;
                }
                Next::Skip(upto) => self.cursor = *upto,
                Next::End(chunk) => self.finish(chunk, round),
                Next::Over(code) => self.send_away(code, 0, round),
                Next::Nothing if round.is_closing => self.send_away("draining", retry_ms(true), round),
                Next::Nothing if self.speaks_at().is_some_and(|at| at <= round.now) => self.speak(round),
                Next::Nothing => break,
            }
        }
        false
    }

    /// When the room has to look at this seat although nothing has happened.
    pub(super) fn due(&self, stalled: Duration) -> Option<Instant> {
        match self.pending {
            Some(_) => Some(self.said + stalled),
            None => self.speaks_at().into_iter().chain(self.expires).min(),
        }
    }

    /// When silence has lasted too long.
    fn speaks_at(&self) -> Option<Instant> {
        let every = self.heartbeat?;
        Some(self.said + if self.doubt == Doubt::Asked { every.min(ASK_AGAIN) } else { every })
    }

    fn speak(&mut self, round: &Round<'_>) {
        if self.doubt == Doubt::Asked {
            self.doubt = Doubt::AskedAgain;
        }
        self.write(&Chunk::of(Bytes::from_static(round.manners.heartbeat.unwrap_or_default())), round);
    }

    fn send_away(&mut self, code: &'static str, retry_ms: u64, round: &Round<'_>) {
        match round.manners.bye {
            Some(bye) => self.finish(&Chunk::last(bye(&Bye { code, retry_ms }).into()), round),
            None => self.is_over = true,
        }
    }

    fn finish(&mut self, chunk: &Chunk, round: &Round<'_>) {
        self.is_last = true;
        self.write(chunk, round);
    }

    /// Hands a chunk to the socket, for which nothing else waits.
    fn write(&mut self, chunk: &Chunk, round: &Round<'_>) {
        match chunk.send_to(&self.stream) {
            Ok(written) if written == chunk.left() => self.has_said(round),
            Ok(written) => {
                let mut pending = Box::new(chunk.clone());
                pending.advance(written);
                self.push(pending, round);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.push(Box::new(chunk.clone()), round);
            }
            Err(_) => self.is_over = true,
        }
    }

    /// Writes until the socket takes no more; then it rings when it does again.
    fn push(&mut self, mut pending: Box<Chunk>, round: &Round<'_>) {
        loop {
            match pending.write_to(&self.stream) {
                Ok(0) if pending.left() > 0 => self.is_over = true,
                Ok(written) => {
                    pending.advance(written);
                    self.said = round.now;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut context = Context::from_waker(round.waker);
                    match self.stream.poll_write_ready(&mut context) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_)) => self.is_over = true,
                        Poll::Pending => {
                            self.pending = Some(pending);
                            return;
                        }
                    }
                }
                Err(_) => self.is_over = true,
            }
            if self.is_over {
                return;
            }
            if pending.left() == 0 {
                return self.has_said(round);
            }
        }
    }

    /// Everything was taken.
    fn has_said(&mut self, round: &Round<'_>) {
        self.said = round.now;
        self.is_over |= self.is_last;
    }
}
