//! What the viewers count.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::cast::account::Reached;

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

    /// A batch was taken by so many viewers who were equally far `behind`, in blocks.
    pub fn delivered(&self, viewers: usize, bytes: usize, behind: u64) {
        self.deliveries.increment(viewers as u64);
        self.bytes.increment((viewers * bytes) as u64);
        self.lag.record(behind as f64);
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        self.left(self.here);
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
