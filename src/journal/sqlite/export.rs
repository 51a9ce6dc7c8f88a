//! One stream of the database, for another process than the gateway.

use std::path::Path;

use rusqlite::Connection;

use super::{codec, outside, recover, seal};
use crate::cast::about::{About, Number};
use crate::cast::durable::{Ended, State, StorageError};
use crate::cast::frame::Frame;
use crate::journal::OpenError;

/// What the database has of a stream.
#[derive(Debug)]
pub struct Stored {
    pub about: About,
    /// `None` while it runs, and when the gateway was killed meanwhile and did not start again yet.
    pub ended: Option<Ended>,
    pub frames: Vec<Frame>,
}

/// Why there is nothing to export.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{0}")]
    Storage(#[from] StorageError),
    #[error("the database cannot be read: {0}")]
    Sql(#[from] rusqlite::Error),
    #[error("no such stream")]
    Unknown,
    #[error("its content is gone: it has expired, or was purged")]
    Gone,
    #[error("several tenants have a stream of this name: add --tenant, with one of {}", .0.join(", "))]
    Tenants(Vec<String>),
}

/// Reads one stream, as it is at one moment. Without a tenant, whichever has it.
pub fn read(path: &Path, tenant: Option<&str>, id: &str) -> Result<Stored, Error> {
    let mut connection = outside::open(path)?;
    // What moves from the journal into chunks meanwhile is in one of them.
    let transaction = connection.transaction()?;
    let mut found = Vec::new();
    {
        let sql = format!(
            "SELECT {} FROM streams WHERE id = ?1 AND tenant = coalesce(?2, tenant) ORDER BY tenant",
            recover::CATALOGUE
        );
        let mut select = transaction.prepare(&sql)?;
        let mut rows = select.query((id, tenant))?;
        while let Some(row) = rows.next()? {
            found.push(recover::stream(row)?);
        }
    }
    if found.len() > 1 {
        return Err(Error::Tenants(found.iter().map(|(known, _)| known.about.tenant.to_string()).collect()));
    }
    let (known, is_running) = found.pop().ok_or(Error::Unknown)?;
    let ended = match known.state {
        State::Ended(ended) => Some(ended),
        State::Gone(_) if is_running => None,
        State::Gone(_) => return Err(Error::Gone),
    };
    let number = known.about.number;
    let mut frames = Vec::new();
    for mark in seal::marks(&transaction, number)? {
        frames.extend(seal::frames(&transaction, number, mark.first)?);
    }
    let blocks = ended.as_ref().map_or(u64::MAX, |ended| ended.end.blocks);
    if frames.last().map_or(0, Frame::last) < blocks {
        unsealed(&transaction, number, &mut frames)?;
    }
    // A frame whose commit came too late to be shown is no part of the stream.
    frames.retain(|frame| frame.last() <= blocks);
    Ok(Stored { about: known.about, ended, frames })
}

/// Adds what the journal table has of a stream behind those frames; it holds many streams, and is read row by row.
fn unsealed(connection: &Connection, stream: Number, frames: &mut Vec<Frame>) -> Result<(), Error> {
    let mut tail = frames.last().map_or(0, Frame::last);
    let mut select = connection.prepare("SELECT sum, data FROM journal ORDER BY row")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let blob = |column| row.get_ref(column).and_then(|data| Ok(data.as_blob()?));
        let data = blob(1)?;
        codec::check(blob(0)?, data)?;
        let mut offset = 0;
        while offset < data.len() {
            let (owner, end) = codec::owner(data, offset)?;
            if owner == stream {
                let frame = codec::at(data, offset)?;
                if frame.first == tail + 1 {
                    tail = frame.last();
                    frames.push(frame);
                }
            }
            offset = end;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
