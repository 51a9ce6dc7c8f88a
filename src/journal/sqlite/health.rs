//! Whether the database takes anything, and how much it has. A full disk heals by itself; a failed sync does not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::ffi;
use tracing::{error, info};

use crate::cast::durable::StorageError;

/// Shared by the writer and whoever asks for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Health(Arc<Mutex<State>>, Arc<AtomicU64>);

#[derive(Debug, Default)]
struct State {
    trouble: Option<StorageError>,
    /// What the system did not sync may be lost although it can still be read: nothing is written behind it.
    poisoned: bool,
}

impl Health {
    /// Bytes of the disk that are in use, as last noted.
    pub(super) fn used_bytes(&self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }

    pub(super) fn note_used(&self, bytes: u64) {
        self.1.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn trouble(&self) -> Option<StorageError> {
        self.lock().trouble.clone()
    }

    /// Whether another attempt makes sense.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        let state = self.lock();
        match &state.trouble {
            Some(trouble) if state.poisoned => Err(trouble.clone()),
            _ => Ok(()),
        }
    }

    /// Notes how an attempt ended.
    pub(super) fn note<T>(&self, result: rusqlite::Result<T>) -> Result<T, StorageError> {
        let mut state = self.lock();
        match result {
            Ok(value) => {
                if state.trouble.take().is_some() {
                    info!("the journal takes records again");
                }
                Ok(value)
            }
            Err(error) => {
                let code = error.sqlite_error().map(|error| error.extended_code);
                state.poisoned |= matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC));
                let trouble = StorageError(format!("the journal takes nothing: {error}"));
                // Once: it is tried again every second.
                if state.trouble.replace(trouble.clone()).is_none() {
                    error!(%error, poisoned = state.poisoned, "the journal failed");
                }
                Err(trouble)
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
