//! The embedded journal: one SQLite file in WAL mode, one writer thread, one transaction per group commit.
//!
//! Frames of running streams are appended at the right edge of one table, many streams to a row; once a stream ends
//! its frames move into compressed chunks of its own. Catalogue, keys, tombstones and content are one file, so they
//! change in one transaction.

pub mod backup;
pub(crate) mod codec;
mod debts;
pub mod export;
mod group;
mod health;
mod migrate;
mod outside;
mod recover;
mod sample;
mod schema;
mod seal;
mod spent;
#[cfg(test)]
mod tests;
mod tidy;
mod unsealed;
mod writer;

use std::collections::VecDeque;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use self::debts::Debts;
use self::health::Health;
use self::sample::Sampler;
use self::schema::Database;
use self::writer::{Message, Writer};
use super::{Durability, OpenError, Opened};
use crate::cast::about::now_ms;
use crate::cast::account::day_of;
use crate::cast::block::Seq;
use crate::cast::durable::{Commit, Content, Durable, Load, Number, Record, StorageError};
use crate::cast::frame::Frame;
use crate::panics::{Fatal, Witness};
use crate::telemetry;

/// What the log says when the writer has panicked.
const DEAD: &str = "the journal's thread panicked: nothing would be durable any more, so the process aborts, to be started again";

/// Messages that wait for the writer; producers wait for a place beyond it.
const INBOX_MAX: usize = 16 * 1024;

/// A handle to the journal. The writer ends, and the file is free, when the last handle is dropped.
#[derive(Debug)]
pub struct Sqlite {
    inbox: Option<mpsc::Sender<Message>>,
    writer: Option<JoinHandle<()>>,
    health: Health,
    readers: Arc<Readers>,
    meter: telemetry::Journal,
    sampler: Sampler,
}

/// Connections for reading, kept when they are idle.
#[derive(Debug)]
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

/// The secret of a database, for another process than the one that has it.
pub(super) fn secret(path: &Path) -> Result<[u8; 32], OpenError> {
    let connection = outside::open(path)?;
    let none = || StorageError("there is no secret in it yet: start the gateway once".into());
    let kept = recover::kept_secret(&connection).and_then(|kept| kept.ok_or_else(none));
    kept.map_err(|error| OpenError::Storage { path: path.to_owned(), error: error.0 })
}

/// A file that is ours, of this version, and locked.
#[derive(Debug)]
pub struct Prepared {
    path: PathBuf,
    database: Database,
}

impl Prepared {
    pub(super) fn new(path: &Path, durability: Durability) -> Result<Self, OpenError> {
        Ok(Self { path: path.to_owned(), database: schema::open(path, durability)? })
    }

    /// Reads what is known, and starts the writer.
    pub(super) fn recover(self) -> Result<Opened, OpenError> {
        let Self { path, database } = self;
        let fail = |error: StorageError| OpenError::Storage { path: path.clone(), error: error.0 };
        let (debts, owed) = Debts::open(&path, &database.connection);
        let secret = recover::secret(&database.connection).map_err(fail)?;
        let recover::Recovered { mut known, running, unsealed, next_row } =
            recover::read(&database.connection, &owed).map_err(fail)?;
        database.is_sound().map_err(|error| schema::failed(&path, &error))?;
        let health = Health::default();
        let meter = telemetry::Journal::opened();
        let mut writer = Writer {
            database,
            unsealed,
            health: health.clone(),
            next_row,
            owed: Vec::new(),
            asked: VecDeque::new(),
            debts,
            traces: false,
            meter: meter.clone(),
        };
        // On a full disk they are owed: what is there is readable, and what it says does not change.
        let _ = writer.settle(recover::settle(&mut known, running, owed));
        let spent = spent::on(&writer.database.connection, day_of(now_ms()))
            .map_err(|error| schema::failed(&path, &error))?;
        let (inbox, messages) = mpsc::channel(INBOX_MAX);
        let writer = std::thread::Builder::new().name("journal".into()).spawn(move || {
            let _fatal = Fatal(DEAD);
            writer.run(messages);
        });
        let writer = writer.map_err(|error| fail(StorageError(error.to_string())))?;
        let sampler = Sampler::new(&path);
        let readers = Arc::new(Readers { path, idle: Mutex::default() });
        let journal = Sqlite { inbox: Some(inbox), writer: Some(writer), health, readers, meter, sampler };
        Ok(Opened { journal: Arc::new(journal), known, spent, secret })
    }
}

impl Sqlite {
    /// Opens the file whole, for those who have nothing else to do meanwhile.
    pub fn open(path: &Path, durability: Durability) -> Result<Opened, OpenError> {
        Prepared::new(path, durability)?.recover()
    }

    fn send<T: Send + 'static>(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<T, StorageError>>) -> Message,
    ) -> Pin<Box<dyn Future<Output = Result<T, StorageError>> + Send>> {
        let (done, result) = oneshot::channel();
        let gone = || StorageError("the journal is closed".into());
        let Some(inbox) = &self.inbox else { return Box::pin(async move { Err(gone()) }) };
        match inbox.try_send(message(done)) {
            Ok(()) => Box::pin(async move { result.await.unwrap_or_else(|_| Err(gone())) }),
            Err(mpsc::error::TrySendError::Closed(_)) => Box::pin(async move { Err(gone()) }),
            Err(mpsc::error::TrySendError::Full(message)) => {
                let inbox = inbox.clone();
                Box::pin(async move {
                    inbox.send(message).await.map_err(|_| gone())?;
                    result.await.unwrap_or_else(|_| Err(gone()))
                })
            }
        }
    }
}

impl Durable for Sqlite {
    fn commit(&self, record: Record) -> Commit {
        let (is_frame, begun) = (matches!(record, Record::Frame(..)), Instant::now());
        let committed = self.send(|done| Message::Commit(record, done));
        if !is_frame {
            return committed;
        }
        let meter = self.meter.clone();
        Box::pin(async move {
            committed.await?;
            meter.durable(begun.elapsed());
            Ok(())
        })
    }

    fn content(&self, number: Number) -> Load<Content> {
        let sealed = self.send(|done| Message::Seal(number, done));
        let readers = self.readers.clone();
        Box::pin(async move {
            if let Some(frames) = sealed.await? {
                return Ok(Content::Whole(frames));
            }
            let marks = move |connection: &Connection| seal::marks(connection, number).map_err(recover::fail);
            readers.read(marks).await.map(Content::Pieces)
        })
    }

    fn piece(&self, number: Number, first: Seq) -> Load<Vec<Frame>> {
        let readers = self.readers.clone();
        Box::pin(readers.read(move |connection| seal::frames(connection, number, first)))
    }

    fn keeps_content(&self) -> bool {
        true
    }

    fn used_bytes(&self) -> u64 {
        self.health.used_bytes()
    }

    fn trouble(&self) -> Option<StorageError> {
        self.health.trouble()
    }

    fn sample(&self) {
        let waiting = self.inbox.as_ref().map_or(0, |inbox| INBOX_MAX - inbox.capacity());
        telemetry::sample_journal(waiting, self.trouble().is_some());
        self.sampler.sample();
    }
}

impl Readers {
    fn close(&self) {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }

    /// Reads by one of the connections, where waiting for the disk holds up nobody else.
    async fn read<T: Send + 'static>(
        self: Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let reading = tokio::task::spawn_blocking(move || {
            let _witness = Witness::at(Location::caller());
            let lock = || self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let idle = lock().pop();
            let connection = match idle {
                Some(connection) => connection,
                None => schema::open_reader(&self.path).map_err(recover::fail)?,
            };
            let found = read(&connection)?;
            lock().push(connection);
            Ok(found)
        });
        reading.await.unwrap_or_else(|_| Err(StorageError("reading the database failed".into())))
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // The write-ahead log is merged when the last connection closes, if that one may write.
        self.sampler.close();
        self.readers.close();
        self.inbox = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}
