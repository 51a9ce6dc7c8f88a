//! Databases of earlier versions, brought up to this one: each step in one transaction, so that a database is of one
//! version or of the next.

use rusqlite::{Connection, Transaction, params};
use tracing::info;

use super::codec;
use super::recover::fail;
use super::seal::Progress;
use crate::cast::durable::StorageError;

/// The oldest version that is still understood.
pub(super) const OLDEST: i32 = 1;

pub(super) fn migrate(connection: &mut Connection, from: i32, to: i32) -> Result<(), StorageError> {
    info!(from, to, "bringing the database up to date");
    for version in from..to {
        let transaction = connection.transaction().map_err(fail)?;
        match version {
            1 => add_sums(&transaction)?,
            _ => return Err(StorageError(format!("there is no way from version {version}"))),
        }
        transaction.pragma_update(None, "user_version", version + 1).map_err(fail)?;
        transaction.commit().map_err(fail)?;
    }
    Ok(())
}

/// Version 2 knows what a chunk holds without unpacking it, and whether a row or a chunk is what was written.
fn add_sums(transaction: &Transaction<'_>) -> Result<(), StorageError> {
    transaction
        .execute_batch(
            "ALTER TABLE journal RENAME TO journal_1;
             ALTER TABLE chunks RENAME TO chunks_1;
             CREATE TABLE journal (row INTEGER PRIMARY KEY, sum BLOB NOT NULL, data BLOB NOT NULL);
             CREATE TABLE chunks (
                 stream INTEGER NOT NULL REFERENCES streams (number),
                 first  INTEGER NOT NULL,
                 last   INTEGER NOT NULL,
                 begin  INTEGER NOT NULL,
                 id     INTEGER NOT NULL,
                 sum    BLOB NOT NULL,
                 data   BLOB NOT NULL,
                 PRIMARY KEY (stream, first)
             );",
        )
        .map_err(fail)?;
    let mut rows = transaction.prepare("SELECT row, data FROM journal_1 ORDER BY row").map_err(fail)?;
    let mut rows = rows.query([]).map_err(fail)?;
    while let Some(row) = rows.next().map_err(fail)? {
        let (number, data): (i64, Vec<u8>) = (row.get(0).map_err(fail)?, row.get(1).map_err(fail)?);
        let insert = "INSERT INTO journal (row, sum, data) VALUES (?1, ?2, ?3)";
        transaction.execute(insert, params![number, codec::sum(&data), data]).map_err(fail)?;
    }
    let select = "SELECT stream, data FROM chunks_1 ORDER BY stream, first";
    let mut rows = transaction.prepare(select).map_err(fail)?;
    let mut rows = rows.query([]).map_err(fail)?;
    let mut before = (0, Progress::default());
    while let Some(row) = rows.next().map_err(fail)? {
        let (stream, data): (i64, Vec<u8>) = (row.get(0).map_err(fail)?, row.get(1).map_err(fail)?);
        if before.0 != stream {
            before = (stream, Progress::default());
        }
        let frames = codec::frames(&data)?;
        let (mark, after) = before.1.over(&frames);
        before.1 = after;
        super::seal::insert(transaction, stream as u64, &mark, &data).map_err(fail)?;
    }
    transaction.execute_batch("DROP TABLE journal_1; DROP TABLE chunks_1").map_err(fail)
}
