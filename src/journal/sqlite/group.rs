//! The records of one commit, as SQL.

use std::collections::HashSet;

use rusqlite::{Transaction, params};

use super::{codec, spent};
use crate::cast::durable::{Number, Record};

/// What a commit changes in memory, once it has succeeded.
#[derive(Default)]
pub(super) struct Group {
    pub(super) row: Vec<u8>,
    /// Where in the row each frame stands, and how long it is.
    pub(super) frames: Vec<(Number, usize, usize)>,
    pub(super) ended: Vec<Number>,
    pub(super) dropped: Vec<Number>,
    pub(super) forgotten: Vec<Number>,
}

/// Writes one record; frames gather in the group's row.
pub(super) fn write(
    transaction: &Transaction<'_>,
    record: &Record,
    gone: &HashSet<Number>,
    group: &mut Group,
) -> rusqlite::Result<()> {
    match record {
        Record::Frame(stream, _) | Record::End(stream, _)
            if gone.contains(stream) || group.dropped.contains(stream) => {}
        Record::Begin(begin) => {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO streams
                     (number, tenant, id, provider, metadata, ttl_s, key, fingerprint, started_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?;
            insert.execute(params![
                begin.number as i64,
                begin.tenant,
                begin.id.as_str(),
                begin.provider,
                begin.metadata.as_ref().map(|metadata| metadata.get()),
                begin.ttl_s as i64,
                begin.key,
                begin.fingerprint,
                begin.started_ms as i64,
            ])?;
        }
        #[cfg(test)]
        Record::Describe(_, content_type) if content_type == super::tests::PLANTED => panic!("planted"),
        Record::Describe(stream, content_type) => {
            let mut update =
                transaction.prepare_cached("UPDATE streams SET content_type = ?2 WHERE number = ?1")?;
            update.execute(params![*stream as i64, content_type])?;
        }
        Record::Frame(stream, frame) => {
            let offset = group.row.len();
            codec::put(&mut group.row, *stream, frame);
            group.frames.push((*stream, offset, group.row.len() - offset));
        }
        Record::End(stream, ended) => {
            let (reason, code) = ended.end.why.wire();
            let mut update = transaction.prepare_cached(
                "UPDATE streams SET reason = ?2, code = ?3, ended_ms = started_ms + ?4, end = ?5 WHERE number = ?1",
            )?;
            let known = update.execute(params![
                *stream as i64,
                reason,
                code,
                ended.end.at_ms as i64,
                codec::ended(ended)
            ])?;
            // One whose beginning could not be stored leaves nothing.
            if known > 0 { group.ended.push(*stream) } else { group.dropped.push(*stream) }
        }
        Record::Bury(stream, until_ms) => {
            transaction.prepare_cached("DELETE FROM chunks WHERE stream = ?1")?.execute([*stream as i64])?;
            let mut update = transaction.prepare_cached(
                "UPDATE streams SET gone_ms = ?2, metadata = NULL, end = NULL WHERE number = ?1",
            )?;
            update.execute(params![*stream as i64, *until_ms as i64])?;
            group.dropped.push(*stream);
        }
        Record::Spend(tenant, day, spent) => spent::add(transaction, tenant, *day, *spent)?,
        Record::Probe => {
            transaction.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('probe', x'')", [])?;
        }
        Record::Forget(stream) => {
            transaction.prepare_cached("DELETE FROM chunks WHERE stream = ?1")?.execute([*stream as i64])?;
            transaction.prepare_cached("DELETE FROM streams WHERE number = ?1")?.execute([*stream as i64])?;
            group.forgotten.push(*stream);
        }
    }
    Ok(())
}
