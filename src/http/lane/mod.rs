//! The lane of plain viewers: hyper parses the request and axum answers it as for everybody; then the socket leaves
//! hyper and belongs to a room, which writes the same bytes to all of its seats. One wake per room and append, and no
//! buffer for a viewer that has nothing to read.

mod room;
mod seat;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header;
use http::response::Parts;
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::room::Room;
use self::seat::Seat;
use crate::cast::about::Number;
use crate::cast::block::Seq;
use crate::cast::{Attached, Cast};
use crate::tasks::Tasks;
use crate::telemetry;
use crate::view::View;

/// Seats of one room: beyond that another one is opened, so that all cores can write.
const SEATS_MAX: usize = 512;

/// What a viewer wants, found and allowed.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) cast: Cast,
    pub(super) view: View,
    /// What the body begins with, and the cursor behind it.
    pub(super) begin: Bytes,
    pub(super) after: Seq,
    pub(super) heartbeat: Duration,
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

/// Where a connection's service leaves what is to happen with its socket.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot(Arc<Left>);

#[derive(Debug, Default)]
struct Left {
    filled: Mutex<Option<(Parts, Order)>>,
    told: Notify,
}

impl Slot {
    pub(super) fn fill(&self, head: Parts, order: Order) {
        *self.lock() = Some((head, order));
        self.0.told.notify_one();
    }

    pub(super) async fn filled(&self) -> (Parts, Order) {
        loop {
            if let Some(filled) = self.lock().take() {
                return filled;
            }
            self.0.told.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Parts, Order)>> {
        self.0.filled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a connection holds as long as it is open.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) _place: OwnedSemaphorePermit,
    pub(super) _open: telemetry::Connection,
}

type Name = (Number, View);

/// All rooms; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Rooms {
    open: Arc<Mutex<HashMap<Name, Vec<Door>>>>,
    tasks: Tasks,
    stalled: Duration,
}

/// The way into one room.
#[derive(Debug, Clone)]
struct Door {
    number: u64,
    /// Seats that are taken or on their way.
    taken: usize,
    seats: mpsc::Sender<Seat>,
}

impl Rooms {
    pub(super) fn new(tasks: Tasks, stalled: Duration) -> Self {
        Self { open: Arc::default(), tasks, stalled }
    }

    /// Gives a viewer a seat among those who see the same.
    pub(super) fn seat(&self, stream: TcpStream, head: &Parts, order: Order, held: Held) {
        let name = (order.cast.about().number, order.view);
        let begin = begin(head, &order.begin);
        let (cast, view, closing) = (order.cast.clone(), order.view, order.closing.clone());
        let seat = Seat::new(stream, begin, order, held);
        let mut open = self.lock();
        let doors = open.entry(name).or_default();
        if let Some(door) = doors.iter_mut().find(|door| door.taken < SEATS_MAX) {
            door.taken += 1;
            // There is room for as many as there are seats.
            let _ = door.seats.try_send(seat);
            return;
        }
        let (seats, inbox) = mpsc::channel(SEATS_MAX);
        let number = doors.last().map_or(0, |door| door.number + 1);
        let _ = seats.try_send(seat);
        doors.push(Door { number, taken: 1, seats });
        drop(open);
        let room = Room::new(self.clone(), name, number, cast, view, inbox, closing, self.stalled);
        self.tasks.spawn(room.run());
    }

    /// A seat is free again.
    fn left(&self, name: Name, number: u64) {
        if let Some(door) = self.lock().get_mut(&name).and_then(|doors| find(doors, number)) {
            door.taken -= 1;
        }
    }

    /// Closes an empty room, unless somebody is on the way to it.
    fn close(&self, name: Name, number: u64) -> bool {
        let mut open = self.lock();
        let Some(doors) = open.get_mut(&name) else { return true };
        if find(doors, number).is_some_and(|door| door.taken > 0) {
            return false;
        }
        doors.retain(|door| door.number != number);
        if doors.is_empty() {
            open.remove(&name);
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Vec<Door>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(doors: &mut [Door], number: u64) -> Option<&mut Door> {
    doors.iter_mut().find(|door| door.number == number)
}

/// The head of the answer, and the first chunk of its body.
fn begin(head: &Parts, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(512 + body.len());
    let reason = head.status.canonical_reason().unwrap_or_default();
    out.put_slice(format!("HTTP/1.1 {} {reason}\r\n", head.status.as_str()).as_bytes());
    // The body that the response came with is not the one that it gets.
    for (name, value) in head.headers.iter().filter(|(name, _)| *name != header::CONTENT_LENGTH) {
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
    let now = httpdate::fmt_http_date(std::time::SystemTime::now());
    out.put_slice(
        format!("date: {now}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes(),
    );
    if !body.is_empty() {
        out.put_slice(format!("{:x}\r\n", body.len()).as_bytes());
        out.put_slice(body);
        out.put_slice(b"\r\n");
    }
    out.freeze()
}
