//! Times in microseconds, counted in buckets that are 3 % wide, by many tasks at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const PARTS: u32 = 32;
const PARTS_LOG2: u32 = 5;

#[derive(Debug)]
pub(crate) struct Histogram(Vec<AtomicU64>);

impl Histogram {
    pub(crate) fn new() -> Self {
        Self((0..(64 - PARTS_LOG2) * PARTS).map(|_| AtomicU64::new(0)).collect())
    }

    pub(crate) fn add(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0[bucket(us)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// In milliseconds.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<f64> {
        let len = self.len();
        let wanted = ((len as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        self.0.iter().enumerate().find_map(|(bucket, count)| {
            seen += count.load(Ordering::Relaxed);
            (seen >= wanted && len > 0).then(|| middle(bucket) / 1000.0)
        })
    }
}

fn bucket(us: u64) -> usize {
    let log2 = us.max(1).ilog2();
    let bucket = match log2.checked_sub(PARTS_LOG2) {
        None => us,
        Some(shift) => u64::from((shift + 1) * PARTS) + ((us >> shift) - u64::from(PARTS)),
    };
    usize::try_from(bucket).expect("there are few buckets")
}

fn middle(bucket: usize) -> f64 {
    let (shift, part) = (bucket as u32 / PARTS, bucket as u32 % PARTS);
    match shift.checked_sub(1) {
        None => f64::from(part),
        Some(shift) => (f64::from(part + PARTS) + 0.5) * 2_f64.powi(shift as i32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_narrow() {
        for us in (0..5000).chain([123_456, 9_876_543, u64::MAX / 2, u64::MAX]) {
            let found = middle(bucket(us));
            assert!((found - us as f64).abs() <= us as f64 * 0.035 + 0.5, "{us}: {found}");
        }
    }

    #[test]
    fn quantiles() {
        let histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=1000).for_each(|ms| histogram.add(Duration::from_millis(ms)));
        let p99 = histogram.quantile(0.99).unwrap();
        assert!((950.0..1030.0).contains(&p99), "{p99}");
    }
}
