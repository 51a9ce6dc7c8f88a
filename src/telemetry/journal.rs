//! What a journal counts.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

#[derive(Debug, Clone)]
pub struct Journal {
    commits: Counter,
    commit_seconds: Histogram,
    commit_records: Histogram,
    durable_seconds: Histogram,
    written_bytes: Counter,
    sealed_streams: Counter,
    sealed_bytes: Counter,
    owed: Gauge,
}

impl Journal {
    pub fn opened() -> Self {
        Self {
            commits: counter!("tokencast_journal_commits_total"),
            commit_seconds: histogram!("tokencast_journal_commit_seconds"),
            commit_records: histogram!("tokencast_journal_commit_records"),
            durable_seconds: histogram!("tokencast_journal_durable_seconds"),
            written_bytes: counter!("tokencast_journal_written_bytes_total"),
            sealed_streams: counter!("tokencast_journal_sealed_streams_total"),
            sealed_bytes: counter!("tokencast_journal_sealed_bytes_total"),
            owed: gauge!("tokencast_journal_owed_records"),
        }
    }

    pub fn committed(&self, records: usize, bytes: usize, took: Duration) {
        self.commits.increment(1);
        self.commit_records.record(records as f64);
        self.written_bytes.increment(bytes as u64);
        self.commit_seconds.record(took);
    }

    /// A frame is durable, so long after it was handed over.
    pub fn durable(&self, after: Duration) {
        self.durable_seconds.record(after);
    }

    /// Chunks of a stream were written, its last ones or, of a long one, some before.
    pub fn sealed(&self, bytes: usize, is_whole: bool) {
        self.sealed_streams.increment(u64::from(is_whole));
        self.sealed_bytes.increment(bytes as u64);
    }

    pub fn owed(&self, records: usize) {
        self.owed.set(records as f64);
    }
}

/// What is looked up of a journal.
pub fn sample_journal(waiting: usize, is_in_trouble: bool) {
    gauge!("tokencast_journal_waiting_records").set(waiting as f64);
    gauge!("tokencast_journal_trouble").set(f64::from(is_in_trouble));
}

/// How large its files are, and how much of the database holds nothing.
pub fn sample_database(database: u64, wal: u64, free: u64) {
    gauge!("tokencast_journal_database_bytes").set(database as f64);
    gauge!("tokencast_journal_wal_bytes").set(wal as f64);
    gauge!("tokencast_journal_free_bytes").set(free as f64);
}

/// A piece of an ended stream was read from the journal.
pub fn piece_read() {
    counter!("tokencast_journal_pieces_read_total").increment(1);
}
