//! The one clock that all processes of a machine share: what one of them says that it will do, another one can time.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, sleep_until};

/// Nanoseconds of the monotonic clock.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Waits until that moment, and at most a millisecond longer: tokio's timers know no finer steps.
pub(crate) async fn until(ns: u64) {
    let left = Duration::from_nanos(ns.saturating_sub(now_ns()));
    if !left.is_zero() {
        sleep_until(Instant::now() + left).await;
    }
}
