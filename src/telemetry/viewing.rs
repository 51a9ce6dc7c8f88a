//! What the viewers count.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// What one viewer counts; it is one of the viewers for as long as this lives.
#[derive(Debug)]
pub struct Viewing {
    viewers: Gauge,
    deliveries: Counter,
    bytes: Counter,
    lag: Histogram,
}

impl Viewing {
    pub fn of(view: &'static str, transport: &'static str) -> Self {
        let viewers = gauge!("tokencast_viewers", "view" => view, "transport" => transport);
        viewers.increment(1.0);
        Self {
            viewers,
            deliveries: counter!("tokencast_deliveries_total", "view" => view, "transport" => transport),
            bytes: counter!("tokencast_delivered_bytes_total", "view" => view, "transport" => transport),
            lag: histogram!("tokencast_viewer_lag_blocks", "view" => view, "transport" => transport),
        }
    }

    /// A batch was taken by a viewer that was `behind` blocks behind.
    pub fn delivered(&self, bytes: usize, behind: u64) {
        self.deliveries.increment(1);
        self.bytes.increment(bytes as u64);
        self.lag.record(behind as f64);
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        self.viewers.decrement(1.0);
    }
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
