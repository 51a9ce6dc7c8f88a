//! What everybody in the world has seen, and when: the trace of a seed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

/// All diaries of one run; clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Diaries(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Diary {
    diaries: Diaries,
    name: String,
    began: Instant,
}

impl Diaries {
    pub(crate) fn of(&self, name: impl Into<String>, began: Instant) -> Diary {
        Diary { diaries: self.clone(), name: name.into(), began }
    }

    /// One after the other: who is first within a millisecond is nobody's business.
    pub(crate) fn tell(&self) -> String {
        let diaries = self.0.lock().unwrap();
        diaries.iter().map(|(name, lines)| format!("{name}\n    {}\n", lines.join("\n    "))).collect()
    }

    pub(crate) fn hash(&self) -> String {
        tokencast::crypto::hex(&tokencast::crypto::sha256(self.tell().as_bytes()))
    }

    /// The first lines that are not the same.
    pub(crate) fn difference(&self, other: &Self) -> String {
        let (one, other) = (self.tell(), other.tell());
        let at = one.lines().zip(other.lines()).position(|(one, other)| one != other).unwrap_or_default();
        let around =
            |text: &str| text.lines().skip(at.saturating_sub(5)).take(10).collect::<Vec<_>>().join("\n");
        format!("{}\n--- and ---\n{}", around(&one), around(&other))
    }
}

impl Diary {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    pub(crate) fn note(&self, line: impl std::fmt::Display) {
        let line = format!("{:>6} {line}", self.ms());
        self.diaries.0.lock().unwrap().entry(self.name.clone()).or_default().push(line);
    }

    /// For somebody else, at the same time.
    pub(crate) fn of(&self, name: impl Into<String>) -> Self {
        self.diaries.of(name, self.began)
    }
}
