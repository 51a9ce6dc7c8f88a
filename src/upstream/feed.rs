//! The channel between the reader of a provider's body and the appender of frames, bounded by bytes: it holds what
//! was read and is not committed yet.

use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::cast::block::Block;

/// Blocks in the channel, whatever their size.
const BLOCKS_MAX: usize = 1024;

/// Joins a reader and an appender. The bytes of a block count until its [`Hold`] is dropped.
pub(super) fn channel(bytes_max: usize) -> (Sender, Receiver) {
    let (blocks, incoming) = mpsc::channel(BLOCKS_MAX);
    let full = Arc::new(Notify::new());
    let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX);
    let room = Arc::new(Semaphore::new(bytes_max as usize));
    (Sender { blocks, room, bytes_max, full: full.clone() }, Receiver { blocks: incoming, full })
}

#[derive(Debug, Clone)]
pub(super) struct Sender {
    blocks: mpsc::Sender<(Block, Hold)>,
    room: Arc<Semaphore>,
    bytes_max: u32,
    full: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct Receiver {
    blocks: mpsc::Receiver<(Block, Hold)>,
    full: Arc<Notify>,
}

/// Some bytes of the channel's room.
#[derive(Debug)]
pub(super) struct Hold(OwnedSemaphorePermit);

/// A place for one block, there when it is needed.
#[derive(Debug)]
pub(super) struct Room<'a> {
    place: mpsc::Permit<'a, (Block, Hold)>,
    hold: Hold,
}

/// The appender is gone.
#[derive(Debug)]
pub(super) struct Closed;

impl Sender {
    /// Waits until there is room for so many bytes, and the appender has been told that there is none.
    pub(super) async fn room(&self, bytes: usize) -> Result<Room<'_>, Closed> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.bytes_max);
        let hold = match self.room.clone().try_acquire_many_owned(bytes) {
            Ok(hold) => hold,
            Err(_) => {
                self.full.notify_one();
                self.room.clone().acquire_many_owned(bytes).await.map_err(|_| Closed)?
            }
        };
        if self.blocks.capacity() == 0 {
            self.full.notify_one();
        }
        let place = self.blocks.reserve().await.map_err(|_| Closed)?;
        Ok(Room { place, hold: Hold(hold) })
    }

    /// Returns when the appender is gone.
    pub(super) async fn closed(&self) {
        self.blocks.closed().await;
    }
}

impl Room<'_> {
    pub(super) fn fill(self, block: Block) {
        self.place.send((block, self.hold));
    }
}

impl Receiver {
    /// The next block; `None` when the reader is done.
    pub(super) async fn recv(&mut self) -> Option<(Block, Hold)> {
        self.blocks.recv().await
    }

    /// The next block, if it is there already.
    pub(super) fn try_recv(&mut self) -> Option<(Block, Hold)> {
        self.blocks.try_recv().ok()
    }

    /// Notified when the reader has found no room.
    pub(super) fn full(&self) -> Arc<Notify> {
        self.full.clone()
    }
}

impl Hold {
    pub(super) fn merge(&mut self, other: Hold) {
        self.0.merge(other.0);
    }
}
