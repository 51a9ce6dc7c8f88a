//! What the viewers count.

use std::mem::take;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tokio::time::Instant;

use crate::cast::account::Reached;

const TELL_EVERY: Duration = Duration::from_secs(1);

/// What viewers of one kind count who are served together; each is one of the viewers until it has `left`.
#[derive(Debug)]
pub struct Audience {
    here: usize,
    viewers: Gauge,
    deliveries: Counter,
    bytes: Counter,
    lag: Histogram,
}

impl Audience {
    pub fn of(view: &'static str, transport: &'static str) -> Self {
        Self {
            here: 0,
            viewers: gauge!("tokencast_viewers", "view" => view, "transport" => transport),
            deliveries: counter!("tokencast_deliveries_total", "view" => view, "transport" => transport),
            bytes: counter!("tokencast_delivered_bytes_total", "view" => view, "transport" => transport),
            lag: histogram!("tokencast_viewer_lag_blocks", "view" => view, "transport" => transport),
        }
    }

    pub fn came(&mut self, viewers: usize) {
        self.here += viewers;
        self.viewers.increment(viewers as f64);
    }

    pub fn left(&mut self, viewers: usize) {
        self.here -= viewers;
        self.viewers.decrement(viewers as f64);
    }

    /// Batches were taken, all in all of so many bytes, by viewers who were so many blocks `behind`.
    pub fn delivered(&self, batches: u64, bytes: u64, behind: u64) {
        self.deliveries.increment(batches);
        self.bytes.increment(bytes);
        self.lag.record(behind as f64);
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        self.left(self.here);
    }
}

/// What one viewer counts by itself. Counters are shared by all threads, which is dear at every batch: it tells once a
/// second what has come together.
#[derive(Debug)]
pub struct Viewing {
    audience: Audience,
    batches: u64,
    bytes: u64,
    /// At most, in blocks.
    behind: u64,
    told: Instant,
}

impl Viewing {
    pub fn of(view: &'static str, transport: &'static str) -> Self {
        let mut audience = Audience::of(view, transport);
        audience.came(1);
        Self { audience, batches: 0, bytes: 0, behind: 0, told: Instant::now() }
    }

    /// A batch was taken by a viewer that was `behind` blocks behind.
    pub fn delivered(&mut self, bytes: usize, behind: u64) {
        self.batches += 1;
        self.bytes += bytes as u64;
        self.behind = self.behind.max(behind);
    }

    /// Tells what there is to tell, if it is time.
    pub fn tell(&mut self, now: Instant) {
        if self.batches > 0 && self.told + TELL_EVERY <= now {
            self.tell_all();
            self.told = now;
        }
    }

    fn tell_all(&mut self) {
        let (batches, bytes, behind) =
            (take(&mut self.batches), take(&mut self.bytes), take(&mut self.behind));
        self.audience.delivered(batches, bytes, behind);
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        if self.batches > 0 {
            self.tell_all();
        }
    }
}

/// Somebody was turned away because of this limit.
pub fn limit_reached(reached: &Reached) {
    refused_by(reached.key);
}

/// The same, by the key of the limit in the configuration.
pub fn refused_by(key: &'static str) {
    counter!("tokencast_limit_refusals_total", "limit" => key).increment(1);
}

/// How a viewer with a cursor fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    Resumed,
    Ahead,
    Gone,
    Over,
}

pub fn resumed(outcome: Resume) {
    let outcome = match outcome {
        Resume::Resumed => "resumed",
        Resume::Ahead => "ahead",
        Resume::Gone => "gone",
        Resume::Over => "over",
    };
    counter!("tokencast_resumes_total", "outcome" => outcome).increment(1);
}
