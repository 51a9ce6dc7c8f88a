//! Those who see one stream in one view, and the task that writes to them.

use std::pin::Pin;
use std::time::Duration;

use futures_util::future::{AbortHandle, Abortable, Aborted};
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;

use super::seat::{Chunk, Seat, Wrote, hung_up};
use super::{Name, Rooms};
use crate::cast::block::Seq;
use crate::cast::log::Read;
use crate::cast::{Cast, Watch};
use crate::view::View;
use crate::viewer::{BATCH_BYTES_MAX, retry_ms};

/// Seats that are written to before somebody else may run.
const SEATS_AT_ONCE: usize = 64;
/// A room without anything to remind of looks again after this.
const LONG: Duration = Duration::from_secs(3600);

type Slow = Pin<Box<dyn Future<Output = (u64, Option<Seat>)> + Send>>;
type HangUp = Pin<Box<dyn Future<Output = (u64, Result<(), Aborted>)> + Send>>;

pub(super) struct Room {
    rooms: Rooms,
    name: Name,
    number: u64,
    cast: Cast,
    view: View,
    watch: Watch,
    inbox: mpsc::Receiver<Seat>,
    closing: CancellationToken,
    stalled: Duration,
    /// Seats that have everything that there was.
    seats: Vec<Seat>,
    /// Seats that are behind, each at its own speed.
    slow: FuturesUnordered<Slow>,
    hang_ups: FuturesUnordered<HangUp>,
    next_seat: u64,
    /// Who is first in the next round, so that it is not always the same.
    first: usize,
    /// Not later than the first seat has to be reminded.
    due: Instant,
}

/// What there is behind one cursor.
#[derive(Clone)]
enum Next {
    Nothing,
    Chunk(Chunk, Seq),
    /// Blocks without events.
    Skip(Seq),
    End(Chunk),
    Gone,
}

impl Room {
    #[expect(clippy::too_many_arguments, reason = "a room has that many parts")]
    pub(super) fn new(
        rooms: Rooms,
        name: Name,
        number: u64,
        cast: Cast,
        view: View,
        inbox: mpsc::Receiver<Seat>,
        closing: CancellationToken,
        stalled: Duration,
    ) -> Self {
        Self {
            rooms,
            name,
            number,
            watch: cast.watch(),
            cast,
            view,
            inbox,
            closing,
            stalled,
            seats: Vec::new(),
            slow: FuturesUnordered::new(),
            hang_ups: FuturesUnordered::new(),
            next_seat: 0,
            first: 0,
            due: Instant::now() + LONG,
        }
    }

    pub(super) async fn run(mut self) {
        let closing = self.closing.clone();
        let (mut is_closing, mut is_news) = (false, true);
        loop {
            if std::mem::take(&mut is_news) {
                self.watch.mark();
                self.round().await;
            }
            if is_closing {
                let now = Instant::now();
                for mut seat in std::mem::take(&mut self.seats) {
                    let wrote = seat.send_away("draining", retry_ms(true), now);
                    self.keep(seat, &wrote);
                }
            }
            let is_empty = self.seats.is_empty() && self.slow.is_empty() && self.inbox.is_empty();
            if is_empty && self.rooms.close(self.name, self.number) {
                return;
            }
            tokio::select! {
                biased;
                () = self.watch.changed() => is_news = true,
                Some(seat) = self.inbox.recv() => self.welcome(seat),
                Some((number, seat)) = self.slow.next(), if !self.slow.is_empty() => match seat {
                    Some(seat) => {
                        self.admit(seat);
                        is_news = true;
                    }
                    None => self.left(number),
                },
                Some((number, Ok(()))) = self.hang_ups.next(), if !self.hang_ups.is_empty() => self.hung_up(number),
                () = sleep_until(self.due) => self.remind(),
                () = closing.cancelled(), if !is_closing => is_closing = true,
            }
        }
    }

    /// Writes what is new to everybody who had everything.
    async fn round(&mut self) {
        let (now, tail) = (Instant::now(), self.cast.tail());
        let mut known: Vec<(Seq, Next)> = Vec::new();
        let len = self.seats.len();
        self.first = if len == 0 { 0 } else { (self.first + 1) % len };
        let mut seats = std::mem::take(&mut self.seats);
        seats.rotate_left(self.first.min(len));
        let mut written = 0_usize;
        for mut seat in seats {
            let wrote = loop {
                let next = match known.iter().find(|(cursor, _)| *cursor == seat.cursor) {
                    Some((_, next)) => next.clone(),
                    None => {
                        let next = self.next(seat.cursor);
                        known.push((seat.cursor, next.clone()));
                        next
                    }
                };
                written += 1;
                let wrote = match next {
                    Next::Nothing => {
                        written -= 1;
                        break Wrote::All;
                    }
                    Next::Skip(upto) => {
                        seat.cursor = upto;
                        continue;
                    }
                    Next::Chunk(chunk, upto) => seat.take(&chunk, upto, tail, now),
                    Next::End(chunk) => seat.finish(&chunk, now),
                    Next::Gone => seat.send_away("gone", 0, now),
                };
                if wrote != Wrote::All {
                    break wrote;
                }
            };
            self.keep(seat, &wrote);
            if written >= SEATS_AT_ONCE {
                written = 0;
                yield_now().await;
            }
        }
    }

    fn next(&self, cursor: Seq) -> Next {
        match self.cast.read(self.view.source(), cursor, BATCH_BYTES_MAX) {
            Read::Pending => Next::Nothing,
            Read::Batch { bytes, upto, .. } if bytes.is_empty() => Next::Skip(upto),
            Read::Batch { bytes, upto, .. } => Next::Chunk(Chunk::of(bytes), upto),
            Read::End { bytes, .. } => Next::End(Chunk::last(bytes)),
            Read::Gone => Next::Gone,
        }
    }

    fn welcome(&mut self, mut seat: Seat) {
        seat.number = self.next_seat;
        self.next_seat += 1;
        let (watching, registration) = AbortHandle::new_pair();
        seat.watching = Some(watching);
        let (number, hung_up) = (seat.number, Abortable::new(hung_up(seat.stream.clone()), registration));
        self.hang_ups.push(Box::pin(async move { (number, hung_up.await) }));
        self.fall_behind(seat);
    }

    fn fall_behind(&mut self, seat: Seat) {
        let (cast, closing) = (self.cast.clone(), self.closing.clone());
        self.slow.push(Box::pin(seat.catch_up(cast, self.view, self.stalled, closing)));
    }

    fn admit(&mut self, seat: Seat) {
        self.due = self.due.min(seat.due());
        self.seats.push(seat);
    }

    /// Puts a seat where it belongs after a write.
    fn keep(&mut self, seat: Seat, wrote: &Wrote) {
        match wrote {
            Wrote::All => self.seats.push(seat),
            Wrote::Some => self.fall_behind(seat),
            Wrote::Over => self.left(seat.number),
        }
    }

    fn hung_up(&mut self, number: u64) {
        if let Some(at) = self.seats.iter().position(|seat| seat.number == number) {
            self.seats.swap_remove(at);
            self.left(number);
        }
        // One that is behind finds out when it writes.
    }

    fn left(&mut self, _number: u64) {
        self.rooms.left(self.name, self.number);
    }

    /// Says what is due to whoever has heard nothing for long.
    fn remind(&mut self) {
        let now = Instant::now();
        for mut seat in std::mem::take(&mut self.seats) {
            let wrote = if seat.due() <= now { seat.remind(now) } else { Wrote::All };
            self.keep(seat, &wrote);
        }
        self.due = self.seats.iter().map(Seat::due).min().unwrap_or(now + LONG);
    }
}
