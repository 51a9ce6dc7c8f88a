//! What the database knows: read once at the start, and ended streams again on demand.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::value::RawValue;

use super::codec;
use super::seal::{self, Progress};
use super::unsealed::{Place, Unsealed};
use crate::cast::about::About;
use crate::cast::account::{Spent, day_of};
use crate::cast::block::Seq;
use crate::cast::durable::{Ended, Known, Number, Record, State, StorageError};
use crate::cast::end::{End, Why};
use crate::cast::fold::Fold;
use crate::cast::frame::Frame;
use crate::cast::id::Id;
use crate::crypto::{Sha256, hex, random};
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
    pub(super) running: BTreeMap<Number, Tally>,
    pub(super) unsealed: Unsealed,
    pub(super) next_row: i64,
}

/// What the end of a stream says about its content, counted frame by frame.
#[derive(Debug, Default)]
pub(super) struct Tally {
    blocks: Seq,
    bytes: u64,
    frames: usize,
    hash: Sha256,
    fold: Fold,
    first_token_ms: Option<f64>,
    at_ms: u64,
}

impl Tally {
    fn count(&mut self, number: Number, frame: &Frame) -> Result<(), StorageError> {
        if frame.first != self.blocks.saturating_add(1) {
            let found = frame.first;
            let error = format!("the database is damaged: stream {number} goes on with block {found}");
            return Err(StorageError(error));
        }
        self.blocks = frame.last();
        self.bytes = self.bytes.saturating_add(frame.bytes.len() as u64);
        self.frames = self.frames.saturating_add(1);
        self.hash.update(&frame.bytes);
        self.at_ms = frame.at_ms;
        if self.first_token_ms.is_none() && frame.events.iter().any(|(_, event)| event.is_content()) {
            self.first_token_ms = Some(frame.at_ms as f64);
        }
        frame.events.iter().for_each(|(_, event)| self.fold.apply(event));
        Ok(())
    }

    /// How it ended, and what it has cost as far as that is known: not what was asked.
    fn interrupted(self) -> (Ended, Spent) {
        let end = End {
            why: Why::Restart,
            message: Some("the gateway was restarted".into()),
            finish: self.fold.finish().map(str::to_owned),
            usage: self.fold.usage,
            blocks: self.blocks,
            bytes: self.bytes,
            hash: hex(&self.hash.finish()),
            at_ms: self.at_ms,
        };
        let spent = Spent::by(&end, &self.fold, 0);
        let ended = Ended {
            end,
            model: self.fold.model,
            frames: self.frames,
            first_token_ms: self.first_token_ms,
            upstream_id: self.fold.upstream_id,
        };
        (ended, spent)
    }
}

/// Reads the catalogue, and the journal whole: it holds running streams only, and ended ones for a moment.
/// What a stream has beyond an end that is `owed` was never shown, and is no part of it.
pub(super) fn read(connection: &Connection, owed: &[Record]) -> Result<Recovered, StorageError> {
    let cuts: BTreeMap<Number, Seq> = owed
        .iter()
        .filter_map(|record| match record {
            Record::End(number, ended) => Some((*number, ended.end.blocks)),
            _ => None,
        })
        .collect();
    let (mut known, mut running) = (Vec::new(), BTreeMap::new());
    let mut unsealed = Unsealed::default();
    let mut select =
        connection.prepare(&format!("SELECT {CATALOGUE} FROM streams ORDER BY number")).map_err(fail)?;
    let mut rows = select.query([]).map_err(fail)?;
    while let Some(row) = rows.next().map_err(fail)? {
        let (stream, is_running) = stream(row)?;
        let number = stream.about.number;
        known.push(stream);
        if is_running {
            running.insert(number, in_chunks(connection, number, &mut unsealed)?);
        }
    }
    let mut next_row = 1;
    let mut select = connection.prepare("SELECT row, sum, data FROM journal ORDER BY row").map_err(fail)?;
    let mut rows = select.query([]).map_err(fail)?;
    while let Some(row) = rows.next().map_err(fail)? {
        let number: i64 = row.get(0).map_err(fail)?;
        let blob = |column| row.get_ref(column).and_then(|data| Ok(data.as_blob()?)).map_err(fail);
        let data = blob(2)?;
        codec::check(blob(1)?, data)?;
        next_row = number.saturating_add(1);
        let mut offset = 0;
        while offset < data.len() {
            let (stream, end) = codec::owner(data, offset)?;
            let place = Place { row: number, offset, len: end.saturating_sub(offset) };
            offset = end;
            if stream == 0 {
                continue;
            }
            unsealed.span(stream, number);
            if let Some(tally) = running.get_mut(&stream) {
                let frame = codec::at(data, place.offset)?;
                let is_shown = cuts.get(&stream).is_none_or(|blocks| frame.last() <= *blocks);
                // What is in chunks already stays where others still need its row.
                if is_shown && frame.last() > tally.blocks {
                    tally.count(stream, &frame)?;
                    unsealed.note(stream, place, data.len());
                }
                continue;
            }
            let found = known.binary_search_by_key(&stream, |known| known.about.number);
            match found.ok().and_then(|found| known.get(found)).map(|known: &Known| &known.state) {
                Some(State::Ended(ended)) => {
                    let progress = match unsealed.sealed.get(&stream) {
                        Some(progress) => *progress,
                        None => seal::progress(connection, stream)?,
                    };
                    unsealed.sealed.insert(stream, progress);
                    // It has left the journal; only rows that it shares with others are still there.
                    if progress.last >= ended.end.blocks {
                        continue;
                    }
                    if codec::at(data, place.offset)?.last() > ended.end.blocks {
                        continue;
                    }
                    if !unsealed.ended.contains(&stream) {
                        unsealed.ended.push(stream);
                    }
                    unsealed.note(stream, place, data.len());
                }
                // Purged, or never begun, and not erased any more.
                Some(State::Gone(_)) | None => drop(unsealed.erase.insert(stream)),
            }
        }
        if !unsealed.rows.contains_key(&number) {
            unsealed.empty.push(number);
        }
    }
    // What is there whole needs no more counting.
    unsealed.sealed.retain(|stream, _| unsealed.places.contains_key(stream) || running.contains_key(stream));
    Ok(Recovered { known, running, unsealed, next_row })
}

/// What a long stream had in chunks already when it was interrupted.
fn in_chunks(
    connection: &Connection,
    stream: Number,
    unsealed: &mut Unsealed,
) -> Result<Tally, StorageError> {
    let (mut tally, mut progress) = (Tally::default(), Progress::default());
    for mark in seal::marks(connection, stream).map_err(fail)? {
        let frames = seal::frames(connection, stream, mark.first)?;
        frames.iter().try_for_each(|frame| tally.count(stream, frame))?;
        progress = progress.over(&frames).1;
    }
    if progress != Progress::default() {
        unsealed.sealed.insert(stream, progress);
    }
    Ok(tally)
}

/// Ends every stream that was running when the process before this one died, where it is durable: it is never
/// continued. What that process had said and not stored is as it said.
pub(super) fn settle(
    known: &mut Vec<Known>,
    running: BTreeMap<Number, Tally>,
    owed: Vec<Record>,
) -> Vec<Record> {
    fn find(known: &mut [Known], number: Number) -> Option<&mut Known> {
        let found = known.binary_search_by_key(&number, |known| known.about.number).ok()?;
        known.get_mut(found)
    }
    let (ends, rest): (Vec<_>, Vec<_>) =
        owed.into_iter().partition(|record| matches!(record, Record::End(..)));
    let mut records = Vec::new();
    for (number, tally) in running {
        let Some(found) = find(known, number) else { continue };
        let (ended, spent) = tally.interrupted();
        let mut ended = Arc::new(ended);
        // The last one is what viewers were told: the one before it was that it could not be stored.
        let said = ends.iter().rev().find_map(|record| match record {
            Record::End(of, said) if *of == number => Some(said),
            _ => None,
        });
        match said {
            Some(said) if said.end.blocks == ended.end.blocks && said.end.hash == ended.end.hash => {
                ended = said.clone();
            }
            _ => telemetry::stream_interrupted(&found.about.provider),
        }
        found.state = State::Ended((*ended).clone());
        let About { tenant, started_ms, .. } = &found.about;
        let day = day_of(started_ms.saturating_add(ended.end.at_ms));
        let spent = Record::Spend(tenant.clone(), day, spent);
        records.extend([Record::End(number, ended), spent]);
    }
    for record in &rest {
        match record {
            Record::Bury(number, until_ms) => {
                if let Some(found) = find(known, *number) {
                    found.state = State::Gone(*until_ms);
                }
            }
            Record::Forget(number) => known.retain(|known| known.about.number != *number),
            _ => {}
        }
    }
    records.extend(rest);
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

/// The secret of this data directory, made once.
pub(super) fn secret(connection: &Connection) -> Result<[u8; 32], StorageError> {
    if let Some(secret) = kept_secret(connection)? {
        return Ok(secret);
    }
    let secret: [u8; 32] = random();
    connection.execute("INSERT INTO meta (name, value) VALUES ('secret', ?1)", [secret]).map_err(fail)?;
    Ok(secret)
}

/// The secret, if it was made already.
pub(super) fn kept_secret(connection: &Connection) -> Result<Option<[u8; 32]>, StorageError> {
    let select = "SELECT value FROM meta WHERE name = 'secret'";
    connection.query_row(select, [], |row| row.get(0)).optional().map_err(fail)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
pub(super) fn fail(error: rusqlite::Error) -> StorageError {
    StorageError(format!("the database cannot be read: {error}"))
}
