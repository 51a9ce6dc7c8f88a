//! Those who see one stream in one view, and the task that writes to them.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::door::Door;
use super::menu::Menu;
use super::seat::{Round, Seat};
use super::{Name, Rooms};
use crate::cast::{Cast, Watch};
use crate::http::manners::Manners;
use crate::seldom::Seldom;
use crate::telemetry::Audience;

/// Seats that are served before somebody else may run.
const SEATS_AT_ONCE: usize = 64;
/// A room without anything to remind of looks again after this.
const LONG: Duration = Duration::from_secs(3600);

pub(super) struct Room {
    pub(super) rooms: Rooms,
    pub(super) name: Name,
    pub(super) number: u64,
    pub(super) door: Arc<Door>,
    pub(super) cast: Cast,
    pub(super) watch: Watch,
    pub(super) manners: &'static Manners,
    pub(super) audience: Audience,
    pub(super) seats: Vec<Seat>,
    /// Who is first in the next round, so that it is not always the same.
    pub(super) first: usize,
}

/// What a round leaves to do.
struct Rest {
    /// Somebody would take more.
    has_more: bool,
    /// When to look again, although nothing has happened.
    due: Option<Instant>,
}

impl Room {
    pub(super) async fn run(mut self, closing: CancellationToken) {
        let waker = Waker::from(self.door.clone());
        let mut closing = Seldom::new(closing.cancelled_owned());
        let mut alarm = Seldom::alarm(Instant::now() + LONG);
        let (mut is_closing, mut is_rung) = (false, true);
        loop {
            let Rest { has_more, due } = self.round(&waker, is_rung, is_closing).await;
            if self.seats.is_empty() && self.rooms.close(self.name, self.number) {
                return;
            }
            is_rung = false;
            alarm.ring_at(due.unwrap_or_else(|| Instant::now() + LONG));
            tokio::select! {
                biased;
                () = self.door.rung() => is_rung = true,
                () = self.watch.changed() => {}
                () = &mut closing, if !is_closing => is_closing = true,
                () = &mut alarm => {}
                () = yield_now(), if has_more => {}
            }
        }
    }

    /// Tells everybody what is new, as far as their sockets take it.
    async fn round(&mut self, waker: &Waker, is_rung: bool, is_closing: bool) -> Rest {
        let tail = self.watch.mark().seq;
        if is_rung {
            let arrived = self.door.arrived();
            self.audience.came(arrived.len());
            self.seats.extend(arrived);
        }
        let (now, stalled, manners) = (Instant::now(), self.rooms.stalled, self.manners);
        let round = Round { manners, waker, now, tail, stalled, is_closing };
        let mut menu = Menu::new(&self.cast, self.name.1, &self.audience, manners.tells_end, tail);
        self.first = (self.first + 1).checked_rem(self.seats.len()).unwrap_or(0);
        let (behind, front) = self.seats.split_at_mut(self.first);
        let (mut rest, mut has_left) = (Rest { has_more: false, due: None }, false);
        for (served, seat) in (1..).zip(front.iter_mut().chain(behind)) {
            if is_rung {
                seat.listen(&round);
            }
            rest.has_more |= seat.serve(&mut menu, &round);
            has_left |= seat.is_over();
            rest.due = rest.due.into_iter().chain(seat.due(stalled)).min();
            if served % SEATS_AT_ONCE == 0 {
                yield_now().await;
            }
        }
        drop(menu);
        if has_left {
            let here = self.seats.len();
            self.seats.retain(|seat| !seat.is_over());
            let left = here - self.seats.len();
            self.audience.left(left);
            self.rooms.left(self.name, self.number, left);
        }
        rest
    }
}

impl Drop for Room {
    /// One that has panicked is none: whoever comes next finds another.
    fn drop(&mut self) {
        self.rooms.close_anyway(self.name, self.number);
    }
}
