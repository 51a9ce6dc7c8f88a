//! The durable log below the in-memory one. The core asks for it as [`Durable`].

pub mod memory;
pub mod sqlite;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cast::account::Spent;
use crate::cast::durable::{Durable, Known};
use crate::crypto::random;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub mode: Mode,
    pub path: PathBuf,
    pub durability: Durability,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Sqlite,
            path: "tokencast-data/tokencast.db".into(),
            durability: Durability::Commit,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Memory,
    Sqlite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    Commit,
    Process,
}

/// A journal that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("journal.path = {0:?}: there is no database: write the path that the gateway has")]
    Missing(PathBuf),
    #[error(
        "journal.path = {path:?}: there is its write-ahead log, {log:?}, and no database: put the database back, or move the log away"
    )]
    LogAlone { path: PathBuf, log: PathBuf },
    #[error("journal.path = {0:?}: another process has it: stop that one, or write another path")]
    Locked(PathBuf),
    #[error("journal.path = {0:?}: this is no database of tokencast: write another path")]
    NotOurs(PathBuf),
    #[error(
        "journal.path = {path:?}: made by another version (schema {version}, this one reads {ours}): run that version"
    )]
    Version { path: PathBuf, version: i32, ours: i32 },
    #[error(
        "journal.mode = \"memory\": the secret of its tickets is in the gateway alone: ask it for one, by POST /v1/tickets"
    )]
    NoSecret,
    #[error("journal.path = {path:?}: {error}")]
    Storage { path: PathBuf, error: String },
}

/// What a journal has when it is opened.
#[derive(Debug)]
pub struct Opened {
    pub journal: Arc<dyn Durable>,
    pub known: Vec<Known>,
    /// What tenants have spent today.
    pub spent: Vec<(Arc<str>, Spent)>,
    /// A secret that lives as long as the data does.
    pub secret: [u8; 32],
}

/// A journal that can be opened, and is nobody else's: what is in it is not known yet.
#[derive(Debug)]
pub enum Prepared {
    Memory,
    Sqlite(sqlite::Prepared),
}

/// The secret of a database that is there, while a gateway has it or not.
pub fn secret(config: &Config) -> Result<[u8; 32], OpenError> {
    match config.mode {
        Mode::Memory => Err(OpenError::NoSecret),
        Mode::Sqlite => sqlite::secret(&config.path),
    }
}

/// Makes sure that there is the journal that the configuration asks for.
pub fn prepare(config: &Config) -> Result<Prepared, OpenError> {
    match config.mode {
        Mode::Memory => Ok(Prepared::Memory),
        Mode::Sqlite => sqlite::Prepared::new(&config.path, config.durability).map(Prepared::Sqlite),
    }
}

impl Prepared {
    /// Reads what is known; that takes as long as there is much of it.
    pub fn recover(self) -> Result<Opened, OpenError> {
        match self {
            Self::Memory => Ok(Opened {
                journal: Arc::new(memory::Memory),
                known: Vec::new(),
                spent: Vec::new(),
                secret: random(),
            }),
            Self::Sqlite(prepared) => prepared.recover(),
        }
    }
}
