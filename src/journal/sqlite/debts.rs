//! Ends, purges and expiries that the database did not take although everybody was told: written down in a file beside
//! it, so that a kill takes nothing back. It has its size from the start: on a full disk there is room in it.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{codec, schema};
use crate::cast::durable::{Ended, Number, Record};

/// Some hundred debts.
const BYTES: usize = 64 * 1024;
/// How long what follows is, and what it is checked by.
const HEAD: usize = 4 + codec::SUM;

#[derive(Debug, Serialize, Deserialize)]
enum Owed {
    End(Ended),
    Bury(u64),
    Forget,
}

/// What is owed to one stream, which is known by more than its number: another database may stand here by now.
#[derive(Debug, Serialize, Deserialize)]
struct Debt {
    number: Number,
    id: String,
    started_ms: u64,
    owed: Owed,
}

/// The file. Without one, as on a disk that was full at the start, nothing is written down.
#[derive(Debug)]
pub(super) struct Debts {
    file: Option<File>,
    written: usize,
}

impl Debts {
    /// Opens the file and reads what the process before this one owed to the streams of this database.
    pub(super) fn open(path: &Path, connection: &Connection) -> (Self, Vec<Record>) {
        let name = schema::beside(path, "-owed");
        let file = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(name);
        let file = file.and_then(|file| {
            let len = file.metadata()?.len() as usize;
            file.write_all_at(&vec![0; BYTES.saturating_sub(len)], len as u64)?;
            Ok(file)
        });
        let file = match file {
            Ok(file) => file,
            Err(error) => {
                warn!(%error, "what the journal owes cannot be written down: a kill in trouble forgets it");
                return (Self { file: None, written: 0 }, Vec::new());
            }
        };
        let debts = read(&file).unwrap_or_default();
        let written = debts.len();
        let records = debts.into_iter().filter(|debt| debt.is_of(connection)).map(Debt::record).collect();
        (Self { file: Some(file), written }, records)
    }

    /// Writes down what is owed now, as much of it as there is room for.
    pub(super) fn write(&mut self, owed: &[Record], connection: &Connection) {
        let Some(file) = &self.file else { return };
        let mut debts: Vec<Debt> = owed.iter().filter_map(|record| Debt::of(record, connection)).collect();
        if debts.len() == self.written {
            return;
        }
        self.written = debts.len();
        let encode = |debts: &[Debt]| rmp_serde::to_vec(debts).expect("plain data is MessagePack");
        let mut data = encode(&debts);
        while data.len() > BYTES.saturating_sub(HEAD) {
            debts.truncate(debts.len() / 2);
            data = encode(&debts);
        }
        let head = [&(data.len() as u32).to_le_bytes()[..], &codec::sum(&data)].concat();
        // The disk is in trouble: where this fails, too, that was all that could be done.
        let _ = file.write_all_at(&[head, data].concat(), 0).and_then(|()| file.sync_data());
    }

    /// Everything was taken.
    pub(super) fn clear(&mut self) {
        if self.written > 0 && self.file.as_ref().is_some_and(|file| file.write_all_at(&[0; HEAD], 0).is_ok())
        {
            self.written = 0;
        }
    }
}

fn read(file: &File) -> Option<Vec<Debt>> {
    let mut content = vec![0; BYTES];
    file.read_exact_at(&mut content, 0).ok()?;
    let len = u32::from_le_bytes(*content.first_chunk()?) as usize;
    let (head, data) = content.split_at_checked(HEAD)?;
    let data = data.get(..len).filter(|_| len > 0)?;
    codec::check(head.get(size_of::<u32>()..)?, data).ok()?;
    rmp_serde::from_slice(data).ok()
}

impl Debt {
    fn of(record: &Record, connection: &Connection) -> Option<Self> {
        let (number, owed) = match record {
            Record::End(number, ended) => (*number, Owed::End((**ended).clone())),
            Record::Bury(number, until_ms) => (*number, Owed::Bury(*until_ms)),
            Record::Forget(number) => (*number, Owed::Forget),
            _ => return None,
        };
        let (id, started_ms) = stream(number, connection)?;
        Some(Self { number, id, started_ms, owed })
    }

    fn is_of(&self, connection: &Connection) -> bool {
        stream(self.number, connection)
            .is_some_and(|(id, started_ms)| (&id, started_ms) == (&self.id, self.started_ms))
    }

    fn record(self) -> Record {
        match self.owed {
            Owed::End(ended) => Record::End(self.number, Arc::new(ended)),
            Owed::Bury(until_ms) => Record::Bury(self.number, until_ms),
            Owed::Forget => Record::Forget(self.number),
        }
    }
}

/// The id of a stream, and when it was started.
fn stream(number: Number, connection: &Connection) -> Option<(String, u64)> {
    let select = "SELECT id, started_ms FROM streams WHERE number = ?1";
    let mut select = connection.prepare_cached(select).ok()?;
    let found = select.query_row([number as i64], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)));
    found.optional().ok()?
}
