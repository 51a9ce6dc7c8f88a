//! The durable log below the in-memory one. The core asks for it as [`Durable`](crate::cast::durable::Durable).

pub mod memory;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cast::durable::Durable;

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
            mode: Mode::Memory,
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

/// Opens the journal that the configuration asks for.
pub fn open(config: &Config) -> Arc<dyn Durable> {
    if config.mode == Mode::Sqlite {
        tracing::warn!(
            "journal.mode = \"sqlite\" is not built yet: streams live in memory and are lost when this process ends"
        );
    }
    Arc::new(memory::Memory)
}
