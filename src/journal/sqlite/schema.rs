//! The database: one file, held by one process, of a known version. docs/operations.md describes the tables.

use std::fs::{self, DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tracing::warn;

use super::migrate;
use crate::journal::{Durability, OpenError};

/// `tkcs`: this file is ours.
pub(super) const APPLICATION_ID: i32 = 0x746b_6373;
pub(super) const VERSION: i32 = 2;

/// How long to wait for a reader or a writer.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// What the write-ahead log keeps of the disk when it is idle.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Spare pages that are kept, and how many are given back to the system in one step, which others wait for.
const SPARE_PAGES_MAX: i64 = 256;
const PAGES_AT_ONCE: i64 = 32;

const NO_CHECKPOINT_AT_CLOSE: DbConfig = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;

const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    -- One row per stream, from its start to the end of its tombstone. Times are milliseconds since 1970.
    CREATE TABLE streams (
        number       INTEGER PRIMARY KEY,
        tenant       TEXT NOT NULL,
        id           TEXT NOT NULL,
        provider     TEXT NOT NULL,
        metadata     TEXT,
        ttl_s        INTEGER NOT NULL,
        key          TEXT,
        fingerprint  BLOB NOT NULL,
        started_ms   INTEGER NOT NULL,
        content_type TEXT,
        reason       TEXT,
        code         TEXT,
        ended_ms     INTEGER,
        end          BLOB,
        gone_ms      INTEGER,
        UNIQUE (tenant, id)
    );
    CREATE UNIQUE INDEX streams_key ON streams (tenant, key) WHERE key IS NOT NULL;
    -- What running streams have: one row per group commit, with frames of many streams; only ever appended to.
    CREATE TABLE journal (row INTEGER PRIMARY KEY, sum BLOB NOT NULL, data BLOB NOT NULL);
    -- What ended streams have, and long ones before: compressed runs of frames, from the block `first` to `last`. Before
    -- them lie `begin` bytes, and the last block with events is `id`.
    CREATE TABLE chunks (
        stream INTEGER NOT NULL REFERENCES streams (number),
        first  INTEGER NOT NULL,
        last   INTEGER NOT NULL,
        begin  INTEGER NOT NULL,
        id     INTEGER NOT NULL,
        sum    BLOB NOT NULL,
        data   BLOB NOT NULL,
        PRIMARY KEY (stream, first)
    );
";

/// The database, and the lock that keeps every other process away from it.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) connection: Connection,
    /// The write-ahead log.
    wal: PathBuf,
    /// By its path, and by what it is under any other name.
    _locks: [File; 2],
}

impl Database {
    /// Bytes of the disk that are in use: pages that hold something, and the write-ahead log, without what a burst has
    /// made of it, which is on its way back.
    pub(super) fn used_bytes(&self) -> u64 {
        let pages = self.pragma("page_count") - self.pragma("freelist_count");
        u64::try_from(pages * self.pragma("page_size")).unwrap_or(0) + self.log_bytes().min(LOG_BYTES_MAX)
    }

    /// Whether the write-ahead log is larger than an idle one should be.
    pub(super) fn is_log_large(&self) -> bool {
        self.log_bytes() > LOG_BYTES_MAX
    }

    pub(super) fn has_spare_pages(&self) -> bool {
        self.pragma("freelist_count") > SPARE_PAGES_MAX
    }

    /// Gives some spare pages back to the system. Each row of this pragma is a page, and its last one a commit.
    pub(super) fn give_back(&self) -> rusqlite::Result<()> {
        let mut vacuum =
            self.connection.prepare_cached(&format!("PRAGMA incremental_vacuum({PAGES_AT_ONCE})"))?;
        let mut pages = vacuum.query([])?;
        while pages.next()?.is_some() {}
        Ok(())
    }

    /// From now on what is in the write-ahead log is merged when the database is closed.
    pub(super) fn is_sound(&self) -> rusqlite::Result<()> {
        self.connection.set_db_config(NO_CHECKPOINT_AT_CLOSE, false).map(drop)
    }

    fn log_bytes(&self) -> u64 {
        std::fs::metadata(&self.wal).map_or(0, |metadata| metadata.len())
    }

    fn pragma(&self, name: &str) -> i64 {
        self.connection.pragma_query_value(None, name, |row| row.get(0)).unwrap_or(0)
    }
}

/// Opens the database for writing, and makes it if there is none.
pub(super) fn open(path: &Path, durability: Durability) -> Result<Database, OpenError> {
    let log = beside(path, "-wal");
    // SQLite would begin a new database, and wipe the log for that.
    if !path.exists() && log.metadata().is_ok_and(|log| log.len() > 0) {
        return Err(OpenError::LogAlone { path: path.to_owned(), log });
    }
    let locks = lock(path)?;
    let itself = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let wal = beside(&itself, "-wal");
    let fail = |error| failed(path, &error);
    let mut connection = Connection::open(path).map_err(fail)?;
    // What turns out to be damaged stays as it was found.
    connection.set_db_config(NO_CHECKPOINT_AT_CLOSE, true).map_err(fail)?;
    connection.busy_timeout(BUSY).map_err(fail)?;
    let objects = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    if objects.map_err(fail)? == 0 {
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(fail)?;
        set_up(&connection, durability).map_err(fail)?;
        let transaction = connection.transaction().map_err(fail)?;
        transaction.execute_batch(TABLES).map_err(fail)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(fail)?;
        transaction.pragma_update(None, "user_version", VERSION).map_err(fail)?;
        transaction.commit().map_err(fail)?;
        return Ok(Database { connection, wal, _locks: locks });
    }
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    if pragma("application_id").map_err(fail)? != APPLICATION_ID {
        return Err(OpenError::NotOurs(path.to_owned()));
    }
    let version = pragma("user_version").map_err(fail)?;
    if !(migrate::OLDEST..=VERSION).contains(&version) {
        return Err(OpenError::Version { path: path.to_owned(), version, ours: VERSION });
    }
    for table in ["meta", "streams", "journal", "chunks"] {
        let found = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        if connection.query_row(found, [table], |row| row.get::<_, i64>(0)).map_err(fail)? == 0 {
            let error = format!("the database is damaged: it has no table {table}: restore a backup");
            return Err(OpenError::Storage { path: path.to_owned(), error });
        }
    }
    keep_private(&itself);
    set_up(&connection, durability).map_err(fail)?;
    if version < VERSION {
        migrate::migrate(&mut connection, version, VERSION)
            .map_err(|error| OpenError::Storage { path: path.to_owned(), error: error.0 })?;
    }
    // Whether it can be written is better known now than at the first stream.
    connection.execute_batch("BEGIN IMMEDIATE; COMMIT").map_err(fail)?;
    Ok(Database { connection, wal, _locks: locks })
}

/// Opens the database for reading beside the writer.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

fn set_up(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What a burst has made of the write-ahead log is given back when it is over.
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX as i64)?;
    // FULL syncs the write-ahead log with every commit; with OFF the system writes it when it likes.
    let synchronous = match durability {
        Durability::Commit => "FULL",
        Durability::Process => "OFF",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // What is purged is overwritten.
    connection.pragma_update(None, "secure_delete", true)
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Keeps every other process away: from this path, and from the file whatever else it is called. These locks are of another
/// kind than SQLite's own, which end when this process closes the file: it is not closed before the connection.
fn lock(path: &Path) -> Result<[File; 2], OpenError> {
    let fail = |what: &'static str| {
        move |error: std::io::Error| OpenError::Storage {
            path: path.to_owned(),
            error: format!("{what}: {error}: write a path that this process may write to"),
        }
    };
    let no_lock = fail("the lock beside it cannot be made");
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(fail("its directory cannot be made"))?;
    }
    let name = beside(path, ".lock");
    // Who may read it may lock it, too.
    let by_path = File::options().create(true).truncate(false).write(true).mode(0o600).open(name);
    let by_path = by_path.map_err(no_lock)?;
    let take = |file: &File| match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::Locked(path.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(no_lock(error)),
    };
    take(&by_path)?;
    // It holds contents and a secret; SQLite gives its other files the same permissions.
    let itself = File::options().create(true).append(true).mode(0o600).open(path);
    let itself = itself.map_err(fail("it cannot be opened for writing"))?;
    take(&itself)?;
    Ok([by_path, itself])
}

/// Takes from others what a copy or a restore has given to them: contents, and the secret that signs tickets.
fn keep_private(path: &Path) {
    const OTHERS: u32 = 0o007;
    for path in ["", "-wal", "-shm", "-owed", ".lock"].map(|suffix| beside(path, suffix)) {
        let Ok(mode) = path.metadata().map(|metadata| metadata.permissions().mode()) else { continue };
        if mode & OTHERS != 0 {
            let kept = fs::set_permissions(&path, Permissions::from_mode(mode & !OTHERS));
            warn!(path = %path.display(), ?kept, "others could read or change this");
        }
    }
}

pub(super) fn failed(path: &Path, error: &rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotOurs(path.to_owned()),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked(path.to_owned()),
        _ => OpenError::Storage { path: path.to_owned(), error: error.to_string() },
    }
}

#[cfg(test)]
mod tests;
