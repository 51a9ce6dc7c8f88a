//! How often something may happen: so many times at once, and so many each second.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    tokens: f64,
    at: Instant,
}

/// What a bucket holds, and how fast it fills.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    pub(crate) per_s: f64,
    pub(crate) burst: f64,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self { tokens: rate.burst, at: now }
    }

    /// Takes one token, or says how long it takes until there is one.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        self.fill(rate, now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / rate.per_s))
    }

    /// Whether it holds as much as one that nobody has taken from.
    pub(crate) fn is_full(&mut self, rate: Rate, now: Instant) -> bool {
        self.fill(rate, now);
        self.tokens >= rate.burst
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = since.mul_add(rate.per_s, self.tokens).min(rate.burst);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate { per_s: 20.0, burst: 3.0 };
        let begin = Instant::now();
        let mut bucket = Bucket::full(rate, begin);
        let at = |ms| begin + Duration::from_millis(ms);
        assert!((0..3).all(|_| bucket.take(rate, begin).is_ok()));
        let wait = bucket.take(rate, begin).unwrap_err();
        assert_eq!(wait, Duration::from_millis(50));
        assert!(bucket.take(rate, at(49)).is_err());
        assert!(bucket.take(rate, at(51)).is_ok());
        assert!(bucket.take(rate, at(51)).is_err());
        assert!(!bucket.is_full(rate, at(100)));
        assert!(bucket.is_full(rate, at(1000)));
        assert!((0..3).all(|_| bucket.take(rate, at(5000)).is_ok()), "it holds no more than a burst");
        assert!(bucket.take(rate, at(5000)).is_err());
    }
}
