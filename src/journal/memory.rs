//! The journal that keeps nothing: the in-memory log is all there is, and it ends with the process.

use std::future::ready;

use crate::cast::block::Seq;
use crate::cast::durable::{Commit, Content, Durable, Load, Number, Record, StorageError, committed};
use crate::cast::frame::Frame;

/// Commits at once, to nowhere.
#[derive(Debug)]
pub struct Memory;

impl Durable for Memory {
    fn commit(&self, _record: Record) -> Commit {
        committed()
    }

    fn content(&self, _number: Number) -> Load<Content> {
        Box::pin(ready(Err(in_memory())))
    }

    fn piece(&self, _number: Number, _first: Seq) -> Load<Vec<Frame>> {
        Box::pin(ready(Err(in_memory())))
    }

    fn keeps_content(&self) -> bool {
        false
    }

    fn trouble(&self) -> Option<StorageError> {
        None
    }
}

fn in_memory() -> StorageError {
    StorageError("content is in memory alone".into())
}
