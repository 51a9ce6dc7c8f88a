//! The journal that keeps nothing: the in-memory log is all there is, and it ends with the process.

use std::future::ready;

use crate::cast::durable::{Commit, Durable, Load, Number, Record, StorageError, committed};

/// Commits at once, to nowhere.
#[derive(Debug)]
pub struct Memory;

impl Durable for Memory {
    fn commit(&self, _record: Record) -> Commit {
        committed()
    }

    fn load(&self, _number: Number) -> Load {
        Box::pin(ready(Err(StorageError("content is in memory alone".into()))))
    }

    fn keeps_content(&self) -> bool {
        false
    }

    fn trouble(&self) -> Option<StorageError> {
        None
    }
}
