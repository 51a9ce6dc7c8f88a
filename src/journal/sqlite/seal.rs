//! Runs of frames as chunks of their stream: what leaves the journal table, and where its readers find it.

use rusqlite::{Connection, Transaction, params};

use super::codec;
use crate::cast::block::Seq;
use crate::cast::durable::{Mark, Number, StorageError};
use crate::cast::frame::Frame;

/// Provider's bytes of one chunk: what a late reader holds at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// How far a stream is in chunks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Its last block there.
    pub(super) last: Seq,
    bytes: u64,
    /// The last block that has events.
    id: Seq,
}

impl Progress {
    /// Where a run of frames stands behind this, and how far the stream is with it.
    pub(super) fn over(self, run: &[Frame]) -> (Mark, Self) {
        let first = run.first().map_or(self.last + 1, |frame| frame.first);
        let last = run.last().map_or(self.last, Frame::last);
        let bytes: usize = run.iter().map(|frame| frame.bytes.len()).sum();
        let id = run.iter().rev().find_map(|frame| frame.events.last()).map_or(self.id, |(seq, _)| *seq);
        let mark = Mark { first, last, begin: self.bytes, id: self.id };
        (mark, Self { last, bytes: self.bytes + bytes as u64, id })
    }
}

/// Writes what a stream has behind `progress` as chunks. Gives how far it is then, and how large they are.
pub(super) fn write(
    transaction: &Transaction<'_>,
    stream: Number,
    frames: &[Frame],
    mut progress: Progress,
) -> rusqlite::Result<(Progress, usize)> {
    let mut written = 0;
    // A frame that is there already is one whose row others needed.
    let mut rest = &frames[frames.partition_point(|frame| frame.last() <= progress.last)..];
    while !rest.is_empty() {
        let mut bytes = 0;
        let len = rest.iter().take_while(|frame| {
            let fits = bytes < CHUNK_BYTES;
            bytes += frame.bytes.len();
            fits
        });
        let (run, more) = rest.split_at(len.count());
        let (mark, after) = progress.over(run);
        let chunk = codec::chunk(run);
        written += chunk.len();
        insert(transaction, stream, &mark, &chunk)?;
        (progress, rest) = (after, more);
    }
    Ok((progress, written))
}

pub(super) fn insert(
    transaction: &Transaction<'_>,
    stream: Number,
    mark: &Mark,
    data: &[u8],
) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO chunks (stream, first, last, begin, id, sum, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    insert.execute(params![
        stream as i64,
        mark.first as i64,
        mark.last as i64,
        mark.begin as i64,
        mark.id as i64,
        codec::sum(data),
        data
    ])?;
    Ok(())
}

/// Where a stream's chunks are, in order.
pub(super) fn marks(connection: &Connection, stream: Number) -> rusqlite::Result<Vec<Mark>> {
    let mut select = connection
        .prepare_cached("SELECT first, last, begin, id FROM chunks WHERE stream = ?1 ORDER BY first")?;
    let marks = select.query_map([stream as i64], |row| {
        let number = |column| -> rusqlite::Result<u64> {
            let number: i64 = row.get(column)?;
            number.try_into().map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
        };
        Ok(Mark { first: number(0)?, last: number(1)?, begin: number(2)?, id: number(3)? })
    })?;
    marks.collect()
}

/// The frames of one chunk; none if there is no such chunk.
pub(super) fn frames(
    connection: &Connection,
    stream: Number,
    first: Seq,
) -> Result<Vec<Frame>, StorageError> {
    let mut select = connection
        .prepare_cached("SELECT sum, data FROM chunks WHERE stream = ?1 AND first = ?2")
        .map_err(super::recover::fail)?;
    let found = select.query_row([stream as i64, first as i64], |row| {
        let (sum, data) = (row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        Ok(codec::check(sum, data).and_then(|()| codec::frames(data)))
    });
    match found {
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(Vec::new()),
        found => found.map_err(super::recover::fail)?,
    }
}

/// How far a stream is in chunks, if it has any.
pub(super) fn progress(connection: &Connection, stream: Number) -> Result<Progress, StorageError> {
    let marks = marks(connection, stream).map_err(super::recover::fail)?;
    let Some(mark) = marks.last() else { return Ok(Progress::default()) };
    let before = Progress { last: mark.first.saturating_sub(1), bytes: mark.begin, id: mark.id };
    Ok(before.over(&frames(connection, stream, mark.first)?).1)
}
