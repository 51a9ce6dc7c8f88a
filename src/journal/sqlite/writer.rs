//! The one thread that writes. Whatever gathered while a commit ran is the next commit: no interval, and an idle
//! journal commits a single frame at once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use rusqlite::params;
use tokio::sync::{mpsc, oneshot};
use tracing::info;

use super::codec;
use super::debts::Debts;
use super::group::{Group, write};
use super::health::Health;
use super::schema::Database;
use super::seal::{self, Progress};
use super::unsealed::{FRAMES_AT_ONCE, Place, Row, Unsealed};
use crate::cast::durable::{Number, Record, StorageError};
use crate::cast::frame::Frame;
use crate::telemetry;

/// Records and bytes that one commit takes at most.
const GROUP_RECORDS_MAX: usize = 8192;
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Commits between two steps of tidying up, where there is always something to commit.
const TIDY_EVERY: u64 = 64;

pub(super) enum Message {
    Commit(Record, oneshot::Sender<Result<(), StorageError>>),
    /// Seals an ended stream now, so that a reader finds it; gives its content where that cannot be done.
    Seal(Number, Asker),
}

type Asker = oneshot::Sender<Result<Option<Vec<Frame>>, StorageError>>;

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) database: Database,
    pub(super) unsealed: Unsealed,
    pub(super) health: Health,
    pub(super) next_row: i64,
    /// What could not be committed, and has to be before anything else.
    pub(super) owed: Vec<Record>,
    /// Who waits for an ended stream to be sealed.
    pub(super) asked: VecDeque<(Number, Asker)>,
    pub(super) debts: Debts,
    /// What was deleted or overwritten still stands in the write-ahead log.
    pub(super) traces: bool,
    pub(super) meter: telemetry::Journal,
}

impl Writer {
    /// Writes until nobody can send any more; then everything is sealed.
    pub(super) fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let (mut commits, mut due) = (0_u64, 0);
        loop {
            let mut is_busy = true;
            while is_busy {
                if inbox.is_empty() || commits.is_multiple_of(TIDY_EVERY) {
                    self.health.note_used(self.database.used_bytes());
                }
                is_busy = inbox.is_empty() && self.tidy();
            }
            let Some(first) = inbox.blocking_recv() else { break };
            let (mut records, mut waiting, mut bytes) = (Vec::new(), Vec::new(), 0);
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Commit(record, done) => {
                        if let Record::Frame(_, frame) = &record {
                            bytes += frame.bytes.len();
                        }
                        records.push(record);
                        waiting.push(done);
                    }
                    Message::Seal(stream, done) => self.asked.push_back((stream, done)),
                }
                let has_room = records.len() < GROUP_RECORDS_MAX && bytes < GROUP_BYTES_MAX;
                next = if has_room { inbox.try_recv().ok() } else { None };
            }
            let before = self.unsealed.frames;
            if !records.is_empty() {
                let result = self.settle(records);
                for done in waiting {
                    let _ = done.send(result.clone());
                }
            }
            self.answer();
            commits += 1;
            if self.unsealed.is_large() {
                // Twice as much goes as has come, and not all at once: whoever commits waits for it.
                due += 2 * self.unsealed.frames.saturating_sub(before);
                while due >= FRAMES_AT_ONCE {
                    let left = self.unsealed.frames;
                    if !self.tidy() {
                        break;
                    }
                    due -= left.saturating_sub(self.unsealed.frames).clamp(1, due);
                }
            } else if commits.is_multiple_of(TIDY_EVERY) {
                self.tidy();
            }
        }
        while self.tidy() {}
        info!("journal closed");
    }

    /// Commits what is owed, and then these.
    pub(super) fn settle(&mut self, records: Vec<Record>) -> Result<(), StorageError> {
        let owed = self.owed.len();
        self.owed.extend(records);
        let records = std::mem::take(&mut self.owed);
        // Erased first: the number of a stream that never began can be another one's from now on.
        let result = self.health.check().and_then(|()| self.erase()).and_then(|()| self.commit(&records));
        if result.is_ok() {
            self.debts.clear();
        } else {
            let is_owed = |(index, record): &(usize, Record)| {
                *index < owed || matches!(record, Record::End(..) | Record::Bury(..) | Record::Forget(_))
            };
            self.owed = records.into_iter().enumerate().filter(is_owed).map(|(_, record)| record).collect();
            self.debts.write(&self.owed, &self.database.connection);
        }
        self.meter.owed(self.owed.len());
        result
    }

    /// One step towards what somebody waits for: sees to it that an ended stream is sealed, or reads it where it stands.
    /// Tells whether somebody waited.
    pub(super) fn answer(&mut self) -> bool {
        let Some((stream, _)) = self.asked.front() else { return false };
        let stream = *stream;
        let left = |writer: &Self| writer.unsealed.places.get(&stream).map_or(0, Vec::len);
        let before = left(self);
        let sealed = match self.health.trouble() {
            Some(_) => self.health.check(),
            None if before == 0 => Ok(()),
            None => self.seal(&self.unsealed.step([stream])),
        };
        if sealed.is_ok() && (1..before).contains(&left(self)) {
            return true;
        }
        let content = match self.unsealed.places.get(&stream) {
            Some(places) => self.whole(stream, places).map(Some),
            None => sealed.map(|()| None),
        };
        if let Some((_, done)) = self.asked.pop_front() {
            let _ = done.send(content);
        }
        true
    }

    /// All of a stream: what is in chunks, and what is not yet.
    fn whole(&self, stream: Number, places: &[Place]) -> Result<Vec<Frame>, StorageError> {
        let Self { database, unsealed, .. } = self;
        let mut whole = Vec::new();
        let sealed = unsealed.sealed.get(&stream).copied().unwrap_or_default();
        if sealed != Progress::default() {
            for mark in seal::marks(&database.connection, stream).map_err(super::recover::fail)? {
                whole.extend(seal::frames(&database.connection, stream, mark.first)?);
            }
        }
        let mut found = frames(&database.connection, &unsealed.rows, &[(stream, places)]);
        let rest = found.pop().expect("one was asked for")?;
        whole.extend(rest.into_iter().filter(|frame| frame.last() > sealed.last));
        Ok(whole)
    }

    fn commit(&mut self, records: &[Record]) -> Result<(), StorageError> {
        let mut group = Group::default();
        let row = self.next_row;
        let begun = Instant::now();
        let written = (|| {
            let transaction = self.database.connection.transaction()?;
            for record in records {
                write(&transaction, record, &self.unsealed.gone, &mut group)?;
            }
            if !group.frames.is_empty() {
                let mut insert =
                    transaction.prepare_cached("INSERT INTO journal (row, sum, data) VALUES (?1, ?2, ?3)")?;
                insert.execute(params![row, codec::sum(&group.row), group.row])?;
            }
            transaction.commit()
        })();
        self.health.note(written)?;
        self.meter.committed(records.len(), group.row.len(), begun.elapsed());
        if !group.frames.is_empty() {
            self.next_row += 1;
        }
        for (stream, offset, len) in group.frames {
            self.unsealed.note(stream, Place { row, offset, len }, group.row.len());
        }
        self.unsealed.keep(row, group.row);
        // An end that failed and was said again is one end: sealed by halves twice, one half would replace the other.
        for stream in group.ended {
            if !self.unsealed.ended.contains(&stream) {
                self.unsealed.ended.push(stream);
            }
        }
        for stream in group.dropped {
            self.unsealed.gone.insert(stream);
            self.unsealed.erase.insert(stream);
            self.unsealed.ended.retain(|ended| *ended != stream);
            self.unsealed.sealed.remove(&stream);
            let _ = self.release(stream);
        }
        for stream in group.forgotten {
            self.unsealed.gone.remove(&stream);
        }
        // It is committed: where cleaning up behind it fails, that is tried again.
        let _ = self.erase();
        Ok(())
    }
}

/// The frames that streams have at these places of the journal. Rows are shared: each is read once for all of them.
pub(super) fn frames(
    connection: &rusqlite::Connection,
    known: &BTreeMap<i64, Row>,
    wanted: &[(Number, &[Place])],
) -> Vec<Result<Vec<Frame>, StorageError>> {
    let mut rows: BTreeMap<i64, Vec<(usize, usize)>> = BTreeMap::new();
    for (index, (_, places)) in wanted.iter().enumerate() {
        for place in *places {
            rows.entry(place.row).or_default().push((index, place.offset));
        }
    }
    let mut found: Vec<_> = wanted.iter().map(|(_, places)| Ok(Vec::with_capacity(places.len()))).collect();
    for (row, places) in rows {
        let mut take_from = |data: &[u8]| {
            for (index, offset) in &places {
                take(&mut found[*index], codec::at(data, *offset));
            }
        };
        if let Some(data) = known.get(&row).and_then(|row| row.data.as_deref()) {
            take_from(data);
        } else if let Err(error) = read(connection, row, take_from) {
            for (index, _) in places {
                take(&mut found[index], Err(StorageError(error.to_string())));
            }
        }
    }
    found
}

fn read(
    connection: &rusqlite::Connection,
    row: i64,
    mut take_from: impl FnMut(&[u8]),
) -> rusqlite::Result<()> {
    let mut select = connection.prepare_cached("SELECT data FROM journal WHERE row = ?1")?;
    select.query_row([row], |row| {
        take_from(row.get_ref(0)?.as_blob()?);
        Ok(())
    })
}

/// The first error counts.
fn take(frames: &mut Result<Vec<Frame>, StorageError>, frame: Result<Frame, StorageError>) {
    match (frames.as_mut(), frame) {
        (Ok(known), Ok(frame)) => known.push(frame),
        (Ok(_), Err(error)) => *frames = Err(error),
        (Err(_), _) => {}
    }
}
