//! The lane of plain viewers: hyper parses the request and axum answers it as for everybody; then the socket leaves
//! hyper and belongs to a room, which writes the same bytes to all of its seats. One wake per room and append, and no
//! buffer, task or future for a viewer that has nothing to read.

mod chunk;
mod door;
mod menu;
mod room;
mod seat;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, header};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::chunk::Chunk;
use self::door::Door;
use self::room::Room;
use self::seat::Seat;
use super::manners::Manners;
use crate::cast::about::Number;
use crate::cast::block::Seq;
use crate::cast::{Attached, Cast};
use crate::edge::addresses::Connected;
use crate::tasks::Tasks;
use crate::telemetry::{self, Audience};
use crate::view::View;

/// Seats of one room: beyond that another one is opened, so that all cores can write.
const SEATS_MAX: usize = 512;

/// What a viewer wants, found and allowed.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) cast: Cast,
    pub(super) view: View,
    pub(super) transport: &'static str,
    pub(super) manners: &'static Manners,
    /// What the body begins with, and the cursor behind it.
    pub(super) begin: Bytes,
    pub(super) after: Seq,
    pub(super) heartbeat: Option<Duration>,
    pub(super) expires: Option<Instant>,
    pub(super) closing: CancellationToken,
    pub(super) attached: Attached,
}

/// Rides in a response: its body is written by a room.
#[derive(Debug, Clone)]
pub(super) struct Lane(Arc<Mutex<Option<Order>>>);

impl Lane {
    pub(super) fn new(order: Order) -> Self {
        Self(Arc::new(Mutex::new(Some(order))))
    }

    pub(super) fn take(&self) -> Option<Order> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// An answer that hyper does not write.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) head: Parts,
    pub(super) order: Order,
    /// The request as it stood on the wire.
    pub(super) asked: Bytes,
}

/// Where a connection's service leaves what is to happen with its socket.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot(Arc<Place>);

#[derive(Debug, Default)]
struct Place {
    filled: Mutex<Option<Left>>,
    told: Notify,
}

impl Slot {
    pub(super) fn fill(&self, left: Left) {
        *self.lock() = Some(left);
        self.0.told.notify_one();
    }

    pub(super) async fn filled(&self) -> Left {
        loop {
            if let Some(left) = self.lock().take() {
                return left;
            }
            self.0.told.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Left>> {
        self.0.filled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a connection holds as long as it is open.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) _place: OwnedSemaphorePermit,
    pub(super) _connected: Option<Connected>,
    pub(super) _open: telemetry::Connection,
}

type Name = (Number, View);

/// All rooms; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Rooms {
    open: Arc<Mutex<HashMap<Name, Vec<Entry>>>>,
    tasks: Tasks,
    stalled: Duration,
}

/// One room, seen from outside.
#[derive(Debug)]
struct Entry {
    number: u64,
    /// Seats that are taken or on their way.
    taken: usize,
    door: Arc<Door>,
}

impl Rooms {
    pub(super) fn new(tasks: Tasks, stalled: Duration) -> Self {
        Self { open: Arc::default(), tasks, stalled }
    }

    /// Gives a viewer a seat among those who see the same.
    pub(super) fn seat(&self, stream: TcpStream, head: &Parts, order: Order, held: Held) {
        let name = (order.cast.about().number, order.view);
        let (cast, closing, manners) = (order.cast.clone(), order.closing.clone(), order.manners);
        let audience = Audience::of(order.view.name(), order.transport);
        let begin = Chunk::first(&headers(head), order.begin.clone());
        let seat = Seat::new(stream, begin, order, held);
        let mut open = self.lock();
        let entries = open.entry(name).or_default();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.taken < SEATS_MAX) {
            entry.taken += 1;
            entry.door.enter(seat);
            return;
        }
        let number = entries.last().map_or(0, |entry| entry.number + 1);
        let door = Arc::new(Door::default());
        door.enter(seat);
        entries.push(Entry { number, taken: 1, door: door.clone() });
        drop(open);
        let (rooms, watch) = (self.clone(), cast.watch());
        let (seats, first) = (Vec::new(), 0);
        let room = Room { rooms, name, number, door, cast, watch, manners, audience, seats, first };
        self.tasks.spawn(room.run(closing));
    }

    /// Seats are free again.
    fn left(&self, name: Name, number: u64, seats: usize) {
        if let Some(entry) = self.lock().get_mut(&name).and_then(|entries| find(entries, number)) {
            entry.taken -= seats;
        }
    }

    /// Closes an empty room, unless somebody is on the way to it.
    fn close(&self, name: Name, number: u64) -> bool {
        let mut open = self.lock();
        let Some(entries) = open.get_mut(&name) else { return true };
        if find(entries, number).is_some_and(|entry| entry.taken > 0) {
            return false;
        }
        forget(&mut open, name, number);
        true
    }

    /// Closes a room, whoever is in it or on the way to it.
    fn close_anyway(&self, name: Name, number: u64) {
        forget(&mut self.lock(), name, number);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Vec<Entry>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget(open: &mut HashMap<Name, Vec<Entry>>, name: Name, number: u64) {
    if let Some(entries) = open.get_mut(&name) {
        entries.retain(|entry| entry.number != number);
        if entries.is_empty() {
            open.remove(&name);
        }
    }
}

fn find(entries: &mut [Entry], number: u64) -> Option<&mut Entry> {
    entries.iter_mut().find(|entry| entry.number == number)
}

/// The head of the answer.
fn headers(head: &Parts) -> Vec<u8> {
    let reason = head.status.canonical_reason().unwrap_or_default();
    let mut out = format!("HTTP/1.1 {} {reason}\r\n", head.status.as_str()).into_bytes();
    write_headers(&head.headers, &mut out);
    let now = httpdate::fmt_http_date(std::time::SystemTime::now());
    let rest = format!("date: {now}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n");
    out.extend_from_slice(rest.as_bytes());
    out
}

/// Headers as they stand on the wire, but for the length of a body: the one that they come with is not the one that they
/// go with.
pub(super) fn write_headers(headers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in headers.iter().filter(|(name, _)| *name != header::CONTENT_LENGTH) {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}
