//! Whether a provider is called at all: one that has failed again and again is left alone for a while, and then asked
//! once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Config;
use crate::cast::hub::order::LeftAlone;
use crate::telemetry;

/// What is known of one provider.
#[derive(Debug)]
pub(super) struct Breaker {
    provider: Arc<str>,
    /// Failures in a row after which it is left alone; 0 is never.
    failures_max: u32,
    /// The longest row: failures further apart are unrelated.
    window: Duration,
    /// How long it is left alone, at least.
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is called. So many calls have failed in a row, the first of them then.
    Closed { failures: u32, since: Instant },
    /// It is not called before this time.
    Open { until: Instant },
    /// One call is out to see.
    HalfOpen,
}

impl Breaker {
    pub(super) fn new(provider: Arc<str>, config: &Config) -> Arc<Self> {
        telemetry::provider_is_known(&provider);
        Arc::new(Self {
            provider,
            failures_max: config.breaker_failures,
            window: Duration::from_secs(config.breaker_window_s),
            pause: Duration::from_secs(config.breaker_open_s),
            state: Mutex::new(State::Closed { failures: 0, since: Instant::now() }),
        })
    }

    /// A call that may go out now. Whoever makes it says what came of it.
    pub(super) fn attempt(&self) -> Result<Attempt<'_>, LeftAlone> {
        let mut state = self.lock();
        match self.look(*state) {
            Ok(is_probe) => {
                if is_probe {
                    self.turn(&mut state, State::HalfOpen);
                }
                Ok(Attempt { breaker: self, is_probe })
            }
            Err(left_alone) => {
                telemetry::call_refused(&self.provider);
                Err(left_alone)
            }
        }
    }

    /// Whether a call could go out now.
    pub(super) fn check(&self) -> Result<(), LeftAlone> {
        let state = *self.lock();
        self.look(state).map(drop).inspect_err(|_| telemetry::call_refused(&self.provider))
    }

    /// Whether a call that goes out now is the one that is to see.
    fn look(&self, state: State) -> Result<bool, LeftAlone> {
        let retry_after = match state {
            State::Closed { .. } => return Ok(false),
            State::Open { until } => match until.checked_duration_since(Instant::now()) {
                Some(wait) if !wait.is_zero() => wait,
                _ => return Ok(true),
            },
            State::HalfOpen => self.pause,
        };
        Err(LeftAlone { provider: self.provider.to_string(), retry_after })
    }

    fn turn(&self, state: &mut State, to: State) {
        *state = to;
        telemetry::breaker_is(
            &self.provider,
            match to {
                State::Closed { .. } => telemetry::Breaker::Closed,
                State::Open { .. } => telemetry::Breaker::Open,
                State::HalfOpen => telemetry::Breaker::HalfOpen,
            },
        );
    }

    /// Leaves it alone; not everybody comes back at the same time.
    fn open(&self, state: &mut State) {
        let pause = self.pause + self.pause.mul_f64(fastrand::f64() / 2.0);
        self.turn(state, State::Open { until: Instant::now() + pause });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call. Dropped without a verdict, nobody knows what would have come of it.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    breaker: &'a Breaker,
    /// Everybody else waits for what comes of it.
    is_probe: bool,
}

impl Attempt<'_> {
    /// The provider has answered, perhaps to say that it is in trouble.
    pub(super) fn got(self, status: StatusCode) {
        if status.is_server_error() { self.failed() } else { self.answered() }
    }

    /// The provider is there, whatever it has said.
    fn answered(mut self) {
        self.is_probe = false;
        let mut state = self.breaker.lock();
        match *state {
            State::Closed { failures: 0, .. } => return,
            State::Closed { .. } => {}
            State::Open { .. } | State::HalfOpen => {
                info!(provider = %self.breaker.provider, "the provider answers again");
            }
        }
        self.breaker.turn(&mut state, State::Closed { failures: 0, since: Instant::now() });
    }

    /// The provider is not there, or in trouble.
    pub(super) fn failed(mut self) {
        let breaker = self.breaker;
        let mut state = breaker.lock();
        if std::mem::take(&mut self.is_probe) {
            return breaker.open(&mut state);
        }
        // What went out before is no news to a breaker that is open.
        let State::Closed { failures, since } = *state else { return };
        let now = Instant::now();
        let (failures, since) = if failures == 0 || now - since > breaker.window {
            (1, now)
        } else {
            (failures.saturating_add(1), since)
        };
        *state = State::Closed { failures, since };
        if failures == breaker.failures_max {
            warn!(provider = %breaker.provider, failures, "the provider has failed again and again, and is left alone");
            breaker.open(&mut state);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            // The next one is to see.
            let mut state = self.breaker.lock();
            if *state == State::HalfOpen {
                self.breaker.turn(&mut state, State::Open { until: Instant::now() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn breaker(failures: u32) -> Arc<Breaker> {
        let config = Config {
            breaker_failures: failures,
            breaker_window_s: 30,
            breaker_open_s: 10,
            ..Config::default()
        };
        Breaker::new("p".into(), &config)
    }

    fn fail(breaker: &Breaker, times: usize) {
        (0..times).for_each(|_| breaker.attempt().expect("it is called").failed());
    }

    /// Seconds until it makes sense to come again; none when it is called.
    fn wait(breaker: &Breaker) -> Option<u64> {
        breaker.check().err().map(|left_alone| left_alone.retry_after.as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_nothing_else_does() {
        let breaker = breaker(3);
        fail(&breaker, 2);
        breaker.attempt().unwrap().answered();
        fail(&breaker, 2);
        assert_eq!(wait(&breaker), None, "there was an answer between them");
        advance(Duration::from_secs(31)).await;
        fail(&breaker, 2);
        assert_eq!(wait(&breaker), None, "too long ago");
        drop(breaker.attempt().unwrap());
        assert_eq!(wait(&breaker), None, "nobody knows");
        fail(&breaker, 1);
        assert!((10..=15).contains(&wait(&breaker).unwrap()));
        assert!(breaker.attempt().is_err());
        let never = self::breaker(0);
        fail(&never, 1000);
        assert_eq!(wait(&never), None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_goes_out_to_see() {
        let breaker = breaker(1);
        let (before, late) = (breaker.attempt().unwrap(), breaker.attempt().unwrap());
        fail(&breaker, 1);
        before.failed();
        advance(Duration::from_secs(16)).await;
        assert_eq!(wait(&breaker), None, "whoever comes first");
        let probe = breaker.attempt().unwrap();
        assert_eq!(wait(&breaker), Some(10), "all others wait for it");
        drop(probe);
        let probe = breaker.attempt().expect("it was given up, and tells nothing");
        probe.failed();
        assert!(wait(&breaker).is_some());
        advance(Duration::from_secs(16)).await;
        breaker.attempt().unwrap().answered();
        assert_eq!(wait(&breaker), None);
        fail(&breaker, 1);
        late.answered();
        assert_eq!(wait(&breaker), None, "an answer is an answer");
    }
}
