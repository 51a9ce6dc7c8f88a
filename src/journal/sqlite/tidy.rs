//! What the writer does when there is nothing to commit: what has ended is sealed, what was erased is scrubbed.

use std::time::Duration;

use rusqlite::params;
use tracing::error;

use super::codec;
use super::schema::BUSY;
use super::seal;
use super::unsealed::{Place, Step};
use super::writer::{Writer, frames};
use crate::cast::durable::{Number, StorageError};
use crate::cast::frame::Frame;

impl Writer {
    /// One step of what can wait until nothing else is to do; whether there was anything.
    pub(super) fn tidy(&mut self) -> bool {
        if self.answer() {
            return true;
        }
        // Where something just failed, the next commit tells whether it makes sense to go on.
        if self.health.trouble().is_some() {
            return false;
        }
        if !self.unsealed.empty.is_empty() {
            return self.sweep().is_ok();
        }
        if !self.unsealed.erase.is_empty() {
            return self.erase().is_ok();
        }
        if self.traces {
            return self.scrub();
        }
        if !self.unsealed.ended.is_empty() {
            return self.seal(&self.unsealed.ended_step()).is_ok();
        }
        if self.unsealed.is_large() {
            let (step, before) = (self.unsealed.pinning_step(), self.unsealed.frames);
            // What cannot be read stays, and would be tried for ever.
            if self.seal(&step).is_ok() && self.unsealed.frames < before {
                return true;
            }
        }
        if self.database.has_spare_pages() {
            return self.database.give_back().is_ok();
        }
        // A burst has made it large, and nothing comes that would let it start anew.
        self.database.is_log_large() && self.scrub()
    }

    /// Moves what streams have in the journal into chunks of their own, so many of their first frames. What cannot be read
    /// stays where it is.
    pub(super) fn seal(&mut self, step: &Step) -> Result<(), StorageError> {
        let Self { unsealed, database, .. } = self;
        let places = |stream: &Number| unsealed.places.get(stream).map_or(&[][..], Vec::as_slice);
        let some = step.iter().filter(|(_, count)| *count > 0);
        let wanted: Vec<(Number, &[Place])> =
            some.map(|(stream, count)| (*stream, &places(stream)[..*count])).collect();
        let is_last =
            |of: &Number| step.iter().any(|(stream, count)| stream == of && *count == places(of).len());
        let has_ended: Vec<Number> = unsealed.ended.extract_if(.., |stream| is_last(stream)).collect();
        let (mut runs, mut unreadable) = (Vec::with_capacity(wanted.len()), Vec::new());
        for ((stream, _), frames) in wanted.iter().zip(frames(&database.connection, &unsealed.rows, &wanted))
        {
            match frames {
                Ok(frames) => runs.push((*stream, frames)),
                Err(problem) => {
                    error!(stream, %problem, "a stream could not be sealed; it stays in the journal");
                    unreadable.push(*stream);
                }
            }
        }
        unsealed.ended.retain(|stream| !unreadable.contains(stream));
        let progress = |stream| unsealed.sealed.get(&stream).copied().unwrap_or_default();
        let sealed = (|| {
            let transaction = database.connection.transaction()?;
            let write = |(stream, frames): &(Number, Vec<Frame>)| {
                seal::write(&transaction, *stream, frames, progress(*stream))
            };
            let sealed = runs.iter().map(write).collect::<rusqlite::Result<Vec<_>>>()?;
            transaction.commit()?;
            Ok(sealed)
        })();
        let sealed = match self.health.note(sealed) {
            Ok(sealed) => sealed,
            Err(error) => {
                self.unsealed.ended.splice(0..0, has_ended);
                return Err(error);
            }
        };
        for ((stream, frames), (progress, bytes)) in runs.into_iter().zip(sealed) {
            self.meter.sealed(bytes, has_ended.contains(&stream));
            self.unsealed.sealed.insert(stream, progress);
            self.unsealed.release(stream, frames.len());
        }
        // More of the others may come.
        for stream in has_ended {
            self.unsealed.sealed.remove(&stream);
        }
        self.sweep()
    }

    /// Lets go of a stream's part of the journal, and of the rows that serve nobody any more.
    pub(super) fn release(&mut self, stream: Number) -> Result<(), StorageError> {
        self.unsealed.release(stream, usize::MAX);
        self.sweep()
    }

    /// Overwrites what is left of buried streams in rows that others need.
    pub(super) fn erase(&mut self) -> Result<(), StorageError> {
        for stream in self.unsealed.erase.clone() {
            let span = self.unsealed.spans.get(&stream).copied();
            let rows: Vec<i64> = span.map_or_else(Vec::new, |(first, last)| {
                self.unsealed.rows.range(first..=last).map(|(row, _)| *row).collect()
            });
            self.traces = true;
            if rows.is_empty() {
                self.unsealed.erase.remove(&stream);
                self.unsealed.spans.remove(&stream);
                continue;
            }
            rows.iter().for_each(|row| self.unsealed.drop_kept(*row));
            let erased = (|| {
                let transaction = self.database.connection.transaction()?;
                {
                    let mut select = transaction.prepare_cached("SELECT data FROM journal WHERE row = ?1")?;
                    let mut update = transaction
                        .prepare_cached("UPDATE journal SET sum = ?2, data = ?3 WHERE row = ?1")?;
                    for row in rows {
                        let mut data: Vec<u8> = select.query_row([row], |row| row.get(0))?;
                        match codec::erase(&mut data, stream) {
                            Ok(false) => {}
                            Ok(true) => drop(update.execute(params![row, codec::sum(&data), data])?),
                            Err(problem) => error!(stream, row, %problem, "a row could not be erased"),
                        }
                    }
                }
                transaction.commit()
            })();
            self.health.note(erased)?;
            self.unsealed.erase.remove(&stream);
            self.unsealed.spans.remove(&stream);
        }
        Ok(())
    }

    /// Empties the write-ahead log, unless somebody reads at this moment. Tells whether it was done.
    fn scrub(&mut self) -> bool {
        let connection = &self.database.connection;
        let _ = connection.busy_timeout(Duration::ZERO);
        let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        let _ = connection.busy_timeout(BUSY);
        self.traces = !matches!(busy, Ok(0));
        !self.traces
    }

    /// Deletes the rows that serve nobody.
    fn sweep(&mut self) -> Result<(), StorageError> {
        if self.unsealed.empty.is_empty() {
            return Ok(());
        }
        let deleted = (|| {
            let transaction = self.database.connection.transaction()?;
            {
                let mut delete = transaction.prepare_cached("DELETE FROM journal WHERE row = ?1")?;
                for row in &self.unsealed.empty {
                    delete.execute([row])?;
                }
            }
            transaction.commit()
        })();
        self.health.note(deleted)?;
        self.unsealed.empty.clear();
        Ok(())
    }
}
