//! What is done to everybody, in figures.

use clap::ValueEnum;

use super::Options;
use super::table::Kind;

/// What is done to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Point {
    /// One stream × 1,000 viewers, 60 events/s
    Room,
    /// One stream × 5,000 viewers, 20 events/s
    Hall,
    /// 500 streams × 4 viewers, 10 events/s
    Many,
    /// 500 viewers, 4,000 events at once
    Burst,
    /// 5,000 viewers who wait
    Idle,
}

/// A point in figures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) streams: u32,
    pub(super) viewers: u64,
    pub(super) rate: f64,
    pub(super) tokens: u64,
}

impl Point {
    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }

    pub(super) fn about(self) -> String {
        self.to_possible_value()
            .and_then(|value| value.get_help().map(ToString::to_string))
            .unwrap_or_default()
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Idle => Kind::Memory,
            Self::Burst => Kind::Burst,
            Self::Room | Self::Hall | Self::Many => Kind::Paced,
        }
    }

    pub(super) fn shape(self, options: &Options) -> Shape {
        let scaled = |number: u64| ((number as f64 * options.scale).round() as u64).max(1);
        let lasting = |rate: f64| ((rate * options.seconds).ceil() as u64).max(1);
        match self {
            Self::Room => Shape { streams: 1, viewers: scaled(1000), rate: 60.0, tokens: lasting(60.0) },
            Self::Hall => Shape { streams: 1, viewers: scaled(5000), rate: 20.0, tokens: lasting(20.0) },
            Self::Many => {
                Shape { streams: scaled(500) as u32, viewers: 4, rate: 10.0, tokens: lasting(10.0) }
            }
            Self::Burst => Shape { streams: 1, viewers: scaled(500), rate: 0.0, tokens: 4000 },
            Self::Idle => Shape { streams: 1, viewers: scaled(5000), rate: 1.0, tokens: 1 },
        }
    }
}

impl Shape {
    /// Streams take turns within one interval.
    pub(super) fn spread_s(self) -> f64 {
        if self.rate > 0.0 && self.streams > 1 { 1.0 / self.rate } else { 0.0 }
    }

    pub(super) fn all_viewers(self) -> u64 {
        u64::from(self.streams) * self.viewers
    }
}
