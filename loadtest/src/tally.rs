//! What viewers count and time. Children tell it to their parent as JSON, and sums of tallies are tallies.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest time that is told apart.
const MAX_US: u64 = 3_600_000_000;

/// Times in microseconds, to three digits.
#[derive(Debug, Clone)]
pub(crate) struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, MAX_US, 3).expect("these bounds are good"))
    }
}

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(MAX_US));
    }

    /// From one moment of [`crate::clock`] to another.
    pub(crate) fn add_between(&mut self, from_ns: u64, to_ns: u64) {
        self.add(Duration::from_nanos(to_ns.saturating_sub(from_ns)));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len()
    }

    /// In milliseconds; none if nothing was timed.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1000.0)
    }
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let recorded = self.0.iter_recorded().map(|at| (at.value_iterated_to(), at.count_at_value()));
        serializer.collect_seq(recorded)
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut times = Self::default();
        for (us, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            times.0.record_n(us, count).map_err(D::Error::custom)?;
        }
        Ok(times)
    }
}

/// Everything that viewers have counted and timed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Events, of any kind but the first of each connection.
    pub(crate) events: u64,
    pub(crate) tokens: u64,
    /// Of bodies or streams, without the transport's framing.
    pub(crate) bytes: u64,
    /// Connections that broke off, by intent or by a restart, and were taken up again.
    pub(crate) resumes: u64,
    /// Connections and handshakes that failed, and were tried again.
    pub(crate) unopened: u64,
    /// When the last token came, by [`crate::clock`].
    pub(crate) last_ns: u64,
    /// From the moment in which a token was due to its viewer; of tokens that were not there when the viewer came.
    pub(crate) latency: Times,
    /// The same from the moment in which the provider has really sent it.
    pub(crate) since_sent: Times,
    /// The same as `latency`, of the first token alone.
    pub(crate) first_token: Times,
    /// From a late viewer's connect to the last thing that had been there before it.
    pub(crate) late_join: Times,
    /// From the loss of a connection to the first event behind the cursor.
    pub(crate) recovery: Times,
}

impl Tally {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.events += other.events;
        self.tokens += other.tokens;
        self.bytes += other.bytes;
        self.resumes += other.resumes;
        self.unopened += other.unopened;
        self.last_ns = self.last_ns.max(other.last_ns);
        self.latency.merge(&other.latency);
        self.since_sent.merge(&other.since_sent);
        self.first_token.merge(&other.first_token);
        self.late_join.merge(&other.late_join);
        self.recovery.merge(&other.recovery);
    }
}

/// One moment of a run: counts since its beginning, times since the moment before.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Moment {
    pub(crate) events: u64,
    pub(crate) tokens: u64,
    pub(crate) bytes: u64,
    /// Viewers with an open connection.
    pub(crate) connected: u64,
    /// Viewers that have seen their stream's end.
    pub(crate) finished: u64,
    pub(crate) violations: u64,
    pub(crate) latency: Times,
    /// The longest pause between two events of one viewer.
    pub(crate) silence_ms: f64,
}

impl Moment {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.events += other.events;
        self.tokens += other.tokens;
        self.bytes += other.bytes;
        self.connected += other.connected;
        self.finished += other.finished;
        self.violations += other.violations;
        self.latency.merge(&other.latency);
        self.silence_ms = self.silence_ms.max(other.silence_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_travel_and_add_up() {
        let mut times = Times::default();
        assert_eq!(times.quantile_ms(0.5), None);
        (1..=1000).for_each(|ms| times.add(Duration::from_millis(ms)));
        times.add(Duration::from_secs(7200));
        let text = serde_json::to_string(&times).unwrap();
        let mut both: Times = serde_json::from_str(&text).unwrap();
        both.merge(&times);
        assert_eq!(both.len(), 2002);
        for (quantile, wanted) in [(0.5, 500.0), (0.99, 990.0), (1.0, 3_600_000.0)] {
            let found = both.quantile_ms(quantile).unwrap();
            assert!((found - wanted).abs() <= wanted * 0.005, "{quantile}: {found}");
        }
        both.clear();
        assert_eq!(both.len(), 0);
    }
}
