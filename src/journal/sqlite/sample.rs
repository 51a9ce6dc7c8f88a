//! How large the database is, looked up when somebody wants to know.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rusqlite::Connection;

use super::schema;
use crate::telemetry;

#[derive(Debug)]
pub(super) struct Sampler {
    path: PathBuf,
    wal: PathBuf,
    /// Opened at the first look, and kept.
    connection: Mutex<Option<Connection>>,
}

impl Sampler {
    pub(super) fn new(path: &Path) -> Self {
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        Self { path: path.to_owned(), wal: wal.into(), connection: Mutex::default() }
    }

    /// Lets go of the database.
    pub(super) fn close(&self) {
        *self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }

    /// One look at a time: what a disk holds up is not waited for twice. What cannot be looked up stays as it was.
    pub(super) fn sample(&self) {
        let Ok(mut connection) = self.connection.try_lock() else { return };
        let bytes = |path: &Path| path.metadata().map(|file| file.len());
        let Ok(free) = free(&self.path, &mut connection) else { return *connection = None };
        if let (Ok(database), Ok(wal)) = (bytes(&self.path), bytes(&self.wal)) {
            telemetry::sample_database(database, wal, free);
        }
    }
}

/// Bytes of the pages that hold nothing.
fn free(path: &Path, kept: &mut Option<Connection>) -> rusqlite::Result<u64> {
    if kept.is_none() {
        *kept = Some(schema::open_reader(path)?);
    }
    let connection = kept.as_ref().expect("it was just opened");
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok((pragma("freelist_count")? * pragma("page_size")?) as u64)
}
