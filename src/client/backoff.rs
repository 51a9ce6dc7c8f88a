//! When to come back: as the server says at first, then with full jitter, so that a thousand viewers do not come back
//! together.

use std::time::Duration;

const RETRY_DEFAULT: Duration = Duration::from_millis(500);
/// The longest pause of our own.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The longest that a server can make us wait.
const RETRY_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Backoff {
    retry: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { retry: RETRY_DEFAULT, failures: 0 }
    }

    /// What the server says about coming back.
    pub(super) fn hear(&mut self, retry: Duration) {
        self.retry = retry.min(RETRY_MAX);
    }

    /// Something came: the next cut is the first.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Cuts in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes one more cut and says how long to wait.
    pub(super) fn pause(&mut self) -> Duration {
        let failures = self.failures;
        self.failures += 1;
        if failures == 0 {
            return self.retry;
        }
        let ceiling = RETRY_DEFAULT.saturating_mul(1 << failures.min(8)).min(PAUSE_MAX);
        ceiling.mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_first_then_full_jitter() {
        let mut backoff = Backoff::new();
        backoff.hear(Duration::from_millis(640));
        assert_eq!(backoff.pause(), Duration::from_millis(640));
        assert!(backoff.pause() <= Duration::from_secs(1));
        assert!(backoff.pause() <= Duration::from_secs(2));
        let later: Vec<_> = (0..1000).map(|_| backoff.pause()).collect();
        assert!(later.iter().all(|pause| *pause <= PAUSE_MAX));
        assert!(later.iter().any(|pause| *pause < PAUSE_MAX / 5));
        assert!(later.iter().any(|pause| *pause > PAUSE_MAX / 5 * 4));
        backoff.succeeded();
        backoff.hear(Duration::from_secs(1 << 40));
        assert_eq!(backoff.pause(), RETRY_MAX);
    }
}
