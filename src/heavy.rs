//! Work that takes long because there is much of it: few at a time, and beside the runtime, so that no viewer waits.

use std::sync::LazyLock;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::block_in_place;
use tokio::time::timeout;

/// What is smaller is done at once: the switch would cost more.
const MUCH_BYTES: u64 = 64 * 1024;
/// Answers beyond that size which wait for their callers, all told, and how long another one waits for room.
const WAITING_KIB: u32 = 128 * 1024;
const ROOM_WITHIN: Duration = Duration::from_secs(5);

/// Half of the cores, so that the other half is there for whoever waits for less.
static TURNS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new((available_parallelism().map_or(1, usize::from) / 2).max(1)));
static WAITING: Semaphore = Semaphore::const_new(WAITING_KIB as usize);

pub(crate) fn is_much(bytes: u64) -> bool {
    bytes >= MUCH_BYTES
}

/// Leave to do something of some size, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Turn(Option<SemaphorePermit<'static>>);

/// Waits until something that has to do with so many bytes can be done.
pub(crate) async fn turn(bytes: u64) -> Turn {
    Turn(match is_much(bytes) {
        true => Some(TURNS.acquire().await.expect("it is never closed")),
        false => None,
    })
}

impl Turn {
    pub(crate) fn is_much(&self) -> bool {
        self.0.is_some()
    }

    /// Does it. Other tasks go on meanwhile, as far as the runtime has threads.
    pub(crate) fn take<T>(&self, work: impl FnOnce() -> T) -> T {
        let is_multi = |runtime: Handle| runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
        let can_move = || Handle::try_current().is_ok_and(is_multi);
        if self.is_much() && can_move() { block_in_place(work) } else { work() }
    }
}

/// Does something that has to do with so many bytes, when it is its turn.
pub(crate) async fn run<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    turn(bytes as u64).await.take(work)
}

/// A place in memory for an answer of this size until its caller has taken it, if there is one.
#[derive(Debug)]
pub(crate) struct Room(
    #[expect(dead_code, reason = "given back when it is dropped")] Option<SemaphorePermit<'static>>,
);

/// Waits for it, but not for ever.
pub(crate) async fn room(bytes: u64) -> Option<Room> {
    if !is_much(bytes) {
        return Some(Room(None));
    }
    let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).min(WAITING_KIB);
    let permit = timeout(ROOM_WITHIN, WAITING.acquire_many(kib)).await.ok()?;
    Some(Room(Some(permit.expect("it is never closed"))))
}
