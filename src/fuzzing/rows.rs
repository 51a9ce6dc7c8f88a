//! Databases in whose tables stands what nobody wrote there, and whose sums are right all the same.

use std::fs;
use std::sync::LazyLock;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};

use super::journal::{KILLED, RUNTIME, frame, write};
use crate::cast::durable::Content;
use crate::journal::sqlite::{Sqlite, codec};
use crate::journal::{Durability, Opened};

/// Table, what orders its rows, and a column.
const COLUMNS: [(&str, &str, &str); 20] = [
    ("streams", "number", "number"),
    ("streams", "number", "tenant"),
    ("streams", "number", "id"),
    ("streams", "number", "metadata"),
    ("streams", "number", "ttl_s"),
    ("streams", "number", "key"),
    ("streams", "number", "fingerprint"),
    ("streams", "number", "started_ms"),
    ("streams", "number", "content_type"),
    ("streams", "number", "end"),
    ("streams", "number", "gone_ms"),
    ("journal", "row", "row"),
    ("journal", "row", "data"),
    ("chunks", "rowid", "stream"),
    ("chunks", "rowid", "first"),
    ("chunks", "rowid", "last"),
    ("chunks", "rowid", "begin"),
    ("chunks", "rowid", "id"),
    ("chunks", "rowid", "data"),
    ("meta", "name", "value"),
];

const NUMBERS: [i64; 8] = [0, -1, 2, i64::MAX, i64::MIN, u32::MAX as i64, 1 << 53, i64::MAX - 1];
const TEXTS: [&str; 6] = ["", "stream-1", "key-1", "no id", "{", "a\0b"];

/// What a gateway has left that was killed while its streams shared rows: 1 has left them whole, 4 by half.
static SHARED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = write("shared", &KILLED.files);
    let share = || -> rusqlite::Result<()> {
        let connection = Connection::open(&path)?;
        connection.execute("DELETE FROM journal", [])?;
        for first in 1..=8 {
            let mut row = Vec::new();
            (1..=5).for_each(|stream| codec::put(&mut row, stream, &frame(stream, first)));
            let insert = "INSERT INTO journal (row, sum, data) VALUES (?1, ?2, ?3)";
            connection.execute(insert, params![first as i64, codec::sum(&row), row])?;
        }
        let half = codec::chunk(&[1, 2, 3, 4].map(|first| frame(4, first)));
        let insert =
            "INSERT INTO chunks (stream, first, last, begin, id, sum, data) VALUES (4, 1, 4, 0, 0, ?1, ?2)";
        connection.execute(insert, params![codec::sum(&half), half])?;
        connection.pragma_update(None, "journal_mode", "DELETE")
    };
    share().expect("it is a database");
    fs::read(path).expect("it is there")
});

/// The input is a list of changes to a database, which is refused or told then. Nothing panics: neither the start nor the
/// thread that writes, which would take the process with it.
pub fn rows(bytes: &[u8]) {
    let path = write("rows", &[SHARED.clone(), Vec::new(), Vec::new()]);
    let connection = Connection::open(&path).expect("it is a database");
    connection.pragma_update(None, "synchronous", "OFF").expect("it can be written");
    for change in bytes.chunks_exact(6) {
        // Some are against the rules of the tables.
        let _ = make(&connection, change.try_into().expect("it has that length"));
    }
    sum(&connection).expect("sums can be written");
    drop(connection);
    match Sqlite::open(&path, Durability::Process) {
        Ok(opened) => RUNTIME.block_on(read(&opened)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn make(connection: &Connection, [column, row, kind, a, b, c]: [u8; 6]) -> rusqlite::Result<()> {
    let (table, order, column) = COLUMNS[usize::from(column) % COLUMNS.len()];
    let place = format!("{order} = (SELECT {order} FROM {table} ORDER BY {order} LIMIT 1 OFFSET ?1)");
    let row = row % 16;
    let at = usize::from(u16::from_le_bytes([a, b]));
    let bytes = || -> rusqlite::Result<Vec<u8>> {
        let select = format!("SELECT {column} FROM {table} WHERE {place}");
        let found = connection.query_row(&select, [row], |row| {
            let value = row.get_ref(0)?;
            Ok(value.as_bytes().unwrap_or_default().to_owned())
        });
        Ok(found.optional()?.unwrap_or_default())
    };
    let value = match kind % 8 {
        0 => Value::Integer(i64::from(a)),
        1 => Value::Integer(NUMBERS[usize::from(a) % NUMBERS.len()]),
        2 => Value::Text(TEXTS[usize::from(a) % TEXTS.len()].into()),
        3 => Value::Null,
        4 => {
            let mut bytes = bytes()?;
            bytes.truncate(at);
            Value::Blob(bytes)
        }
        5 | 6 => {
            let mut bytes = bytes()?;
            if let Some(byte) = bytes.get_mut(at) {
                *byte = c;
            }
            Value::Blob(bytes)
        }
        _ => {
            return connection.execute(&format!("DELETE FROM {table} WHERE {place}"), [row]).map(drop);
        }
    };
    let update = format!("UPDATE {table} SET {column} = ?2 WHERE {place}");
    connection.execute(&update, params![row, value]).map(drop)
}

/// Makes the sums those of what stands there now.
fn sum(connection: &Connection) -> rusqlite::Result<()> {
    for table in ["journal", "chunks"] {
        let mut select = connection.prepare(&format!("SELECT rowid, data FROM {table}"))?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (row, data): (i64, Value) = (row.get(0)?, row.get(1)?);
            if let Value::Blob(data) = data {
                let update = format!("UPDATE {table} SET sum = ?2 WHERE rowid = ?1");
                connection.execute(&update, params![row, codec::sum(&data)])?;
            }
        }
    }
    Ok(())
}

async fn read(opened: &Opened) {
    for known in &opened.known {
        let number = known.about.number;
        let pieces = match opened.journal.content(number).await {
            Ok(Content::Pieces(marks)) => marks,
            Ok(Content::Whole(_)) | Err(_) => continue,
        };
        for mark in pieces {
            let _ = opened.journal.piece(number, mark.first).await;
        }
    }
}
