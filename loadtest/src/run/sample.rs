//! The run, moment by moment.

use std::time::Duration;

use serde_json::{Value, json};

use crate::report::rounded;
use crate::tally::Moment;

/// One moment of the run, with what the system says.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Since the beginning.
    pub(crate) at_s: f64,
    pub(crate) moment: Moment,
    /// Since the beginning.
    pub(crate) cpu: Duration,
    pub(crate) memory_kib: u64,
    pub(crate) tcp_kib: u64,
}

impl Sample {
    pub(super) fn json(&self) -> Value {
        let Moment { events, tokens, bytes, connected, finished, violations, latency, silence_ms } =
            &self.moment;
        let ms = |quantile| latency.quantile_ms(quantile).map(rounded);
        json!({
            "kind": "moment", "at_s": rounded(self.at_s),
            "events": events, "tokens": tokens, "bytes": bytes,
            "connected": connected, "finished": finished, "violations": violations,
            "latency_ms": { "p50": ms(0.5), "p99": ms(0.99), "max": ms(1.0) },
            "silence_ms": rounded(*silence_ms),
            "cpu_s": rounded(self.cpu.as_secs_f64()), "memory_kib": self.memory_kib, "tcp_kib": self.tcp_kib,
        })
    }
}
