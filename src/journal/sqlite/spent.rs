//! What tenants have spent: a row of `meta` each, of the last day on which they have.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use crate::cast::account::Spent;

/// A tenant's name stands behind it.
const NAME: &str = "spent ";

/// A day, and what was spent on it.
type Day = (u64, Spent);

/// Adds what was spent on a day. Of a day before the last one nobody asks any more.
pub(super) fn add(connection: &Connection, tenant: &str, day: u64, mut spent: Spent) -> rusqlite::Result<()> {
    let name = format!("{NAME}{tenant}");
    let mut select = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    let known: Option<Vec<u8>> = select.query_row([&name], |row| row.get(0)).optional()?;
    match known.as_deref().and_then(read) {
        Some((last, _)) if last > day => return Ok(()),
        Some((last, before)) if last == day => spent.add(before),
        _ => {}
    }
    let value = rmp_serde::to_vec(&(day, spent)).expect("plain data");
    let mut replace =
        connection.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?;
    replace.execute(params![name, value]).map(drop)
}

/// What all tenants have spent on this day.
pub(super) fn on(connection: &Connection, day: u64) -> rusqlite::Result<Vec<(Arc<str>, Spent)>> {
    let mut select = connection.prepare("SELECT name, value FROM meta WHERE name GLOB ?1")?;
    let mut rows = select.query([format!("{NAME}*")])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, value): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        if let (Some(tenant), Some((on, spent))) = (name.strip_prefix(NAME), read(&value))
            && on == day
        {
            found.push((tenant.into(), spent));
        }
    }
    Ok(found)
}

/// What cannot be read counts as nothing: it is a limit on spending, and no content.
fn read(value: &[u8]) -> Option<Day> {
    rmp_serde::from_slice(value).ok()
}
