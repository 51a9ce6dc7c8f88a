//! What the database knows: read once at the start, and ended streams again on demand.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::value::RawValue;

use super::codec;
use super::unsealed::{Place, Unsealed};
use crate::cast::about::About;
use crate::cast::durable::{Ended, Known, Number, Record, State, StorageError};
use crate::cast::end::{End, Outcome, Why};
use crate::cast::frame::Frame;
use crate::cast::id::Id;
use crate::cast::log::Log;
use crate::crypto::random;
use crate::telemetry;

/// The columns that [`stream`] reads.
pub(super) const CATALOGUE: &str =
    "number, tenant, id, provider, metadata, ttl_s, key, fingerprint, started_ms,
    content_type, end, gone_ms";

#[derive(Debug)]
pub(super) struct Recovered {
    /// All streams, by their numbers; those that were running have a preliminary end.
    pub(super) known: Vec<Known>,
    /// What is durable of the streams that have not ended.
    pub(super) running: BTreeMap<Number, Vec<Frame>>,
    pub(super) unsealed: Unsealed,
    pub(super) next_row: i64,
}

/// Reads the catalogue, and the journal whole: it holds running streams only, and ended ones for a moment.
pub(super) fn read(connection: &Connection) -> Result<Recovered, StorageError> {
    let (mut known, mut running) = (Vec::new(), BTreeMap::new());
    let mut select =
        connection.prepare(&format!("SELECT {CATALOGUE} FROM streams ORDER BY number")).map_err(fail)?;
    let mut rows = select.query([]).map_err(fail)?;
    while let Some(row) = rows.next().map_err(fail)? {
        let (stream, is_running) = stream(row)?;
        if is_running {
            running.insert(stream.about.number, Vec::new());
        }
        known.push(stream);
    }
    let sealed = sealed(connection)?;
    let mut unsealed = Unsealed::default();
    let mut next_row = 1;
    let mut select = connection.prepare("SELECT row, data FROM journal ORDER BY row").map_err(fail)?;
    let mut rows = select.query([]).map_err(fail)?;
    while let Some(row) = rows.next().map_err(fail)? {
        let number: i64 = row.get(0).map_err(fail)?;
        let data = row.get_ref(1).and_then(|data| Ok(data.as_blob()?)).map_err(fail)?;
        next_row = number + 1;
        let mut offset = 0;
        while offset < data.len() {
            let (stream, end) = codec::owner(data, offset)?;
            let place = Place { row: number, offset };
            offset = end;
            if stream == 0 {
                continue;
            }
            unsealed.span(stream, number);
            if let Some(frames) = running.get_mut(&stream) {
                frames.push(codec::at(data, place.offset)?);
                unsealed.note(stream, place);
                continue;
            }
            let found = known.binary_search_by_key(&stream, |known| known.about.number);
            match found.map(|found| &known[found].state) {
                // It has left the journal; only rows that it shares with others are still there.
                Ok(State::Ended(_)) if sealed.contains(&stream) => continue,
                Ok(State::Ended(_)) if !unsealed.ended.contains(&stream) => unsealed.ended.push(stream),
                Ok(State::Ended(_)) => {}
                // Purged, or never begun, and not erased any more.
                Ok(State::Gone(_)) | Err(_) => {
                    unsealed.erase.insert(stream);
                    continue;
                }
            }
            unsealed.note(stream, place);
        }
        if !unsealed.rows.contains_key(&number) {
            unsealed.empty.push(number);
        }
    }
    Ok(Recovered { known, running, unsealed, next_row })
}

/// The streams whose content is in chunks, all of it.
fn sealed(connection: &Connection) -> Result<HashSet<Number>, StorageError> {
    let mut select = connection.prepare("SELECT DISTINCT stream FROM chunks").map_err(fail)?;
    let rows = select.query_map([], |row| row.get::<_, i64>(0)).map_err(fail)?;
    rows.map(|row| row.map(|number| number as Number).map_err(fail)).collect()
}

/// Ends every stream that was running when the process before this one died, where it is durable: it is never
/// continued.
pub(super) fn interrupt(known: &mut [Known], running: BTreeMap<Number, Vec<Frame>>) -> Vec<Record> {
    let mut records = Vec::new();
    for (number, frames) in running {
        let Ok(found) = known.binary_search_by_key(&number, |known| known.about.number) else { continue };
        let begins = |frame: &&Frame| frame.events.iter().any(|(_, event)| event.is_content());
        let first_token_ms = frames.iter().find(begins).map(|frame| frame.at_ms as f64);
        let at_ms = frames.last().map_or(0, |frame| frame.at_ms);
        let log = Log::of(frames);
        let outcome = Outcome::because(Why::Restart, "the gateway was restarted");
        let ended = Ended {
            end: End::clone(&log.conclude(outcome, at_ms)),
            model: log.fold().model.clone(),
            frames: log.frames(),
            first_token_ms,
        };
        telemetry::stream_interrupted(&known[found].about.provider);
        known[found].state = State::Ended(ended.clone());
        records.push(Record::End(number, Arc::new(ended)));
    }
    records
}

/// A row of the catalogue, and whether the stream has not ended.
pub(super) fn stream(row: &Row<'_>) -> Result<(Known, bool), StorageError> {
    let text = |column| row.get::<_, String>(column).map_err(fail);
    let number = |column| row.get::<_, i64>(column).map(|number| number as u64).map_err(fail);
    let id = text(2)?;
    let metadata: Option<String> = row.get(4).map_err(fail)?;
    let end: Option<Vec<u8>> = row.get(10).map_err(fail)?;
    let gone: Option<i64> = row.get(11).map_err(fail)?;
    let is_running = gone.is_none() && end.is_none();
    let state = match (gone, end) {
        (None, Some(end)) => State::Ended(codec::read_ended(&end)?),
        (until, _) => State::Gone(until.unwrap_or_default() as u64),
    };
    let known = Known {
        about: About {
            number: number(0)?,
            tenant: text(1)?.into(),
            id: Id::parse(&id)
                .map_err(|_| StorageError(format!("the database is damaged: {id:?} is no id")))?,
            provider: text(3)?.into(),
            metadata: metadata.and_then(|metadata| RawValue::from_string(metadata).ok()),
            ttl_s: number(5)?,
            key: row.get::<_, Option<String>>(6).map_err(fail)?.map(Into::into),
            fingerprint: row.get(7).map_err(fail)?,
            started_ms: number(8)?,
        },
        content_type: row.get(9).map_err(fail)?,
        state,
    };
    Ok((known, is_running))
}

/// The sealed content of a stream.
pub(super) fn content(connection: &Connection, number: Number) -> Result<Vec<Frame>, StorageError> {
    let mut frames = Vec::new();
    let mut select = connection
        .prepare_cached("SELECT data FROM chunks WHERE stream = ?1 ORDER BY first")
        .map_err(fail)?;
    let mut rows = select.query([number as i64]).map_err(fail)?;
    while let Some(row) = rows.next().map_err(fail)? {
        let data = row.get_ref(0).and_then(|data| Ok(data.as_blob()?)).map_err(fail)?;
        frames.extend(codec::frames(data)?);
    }
    Ok(frames)
}

/// The secret of this data directory, made once.
pub(super) fn secret(connection: &Connection) -> Result<[u8; 32], StorageError> {
    let select = "SELECT value FROM meta WHERE name = 'secret'";
    if let Some(secret) = connection.query_row(select, [], |row| row.get(0)).optional().map_err(fail)? {
        return Ok(secret);
    }
    let secret: [u8; 32] = random();
    connection.execute("INSERT INTO meta (name, value) VALUES ('secret', ?1)", [secret]).map_err(fail)?;
    Ok(secret)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn fail(error: rusqlite::Error) -> StorageError {
    StorageError(format!("the database cannot be read: {error}"))
}
