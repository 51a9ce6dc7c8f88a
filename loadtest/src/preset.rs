//! What to do to a gateway: a TOML file of few keys, several of which are in this program.

use clap::Args;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::gateway::Journal;
use crate::token;

/// The presets of this program, in the order in which they are listed.
pub(crate) const ALL: [(&str, &str); 8] = [
    ("hot-room", include_str!("../presets/hot-room.toml")),
    ("many-rooms", include_str!("../presets/many-rooms.toml")),
    ("agents", include_str!("../presets/agents.toml")),
    ("churn", include_str!("../presets/churn.toml")),
    ("silent", include_str!("../presets/silent.toml")),
    ("herd", include_str!("../presets/herd.toml")),
    ("webtransport", include_str!("../presets/webtransport.toml")),
    ("burst", include_str!("../presets/burst.toml")),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    Sse,
    Webtransport,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Preset {
    /// One line for people.
    pub(crate) about: String,
    pub(crate) streams: u64,
    /// Of each stream.
    pub(crate) viewers: u64,
    /// Tokens per second of each stream; 0 is all at once.
    pub(crate) rate: f64,
    /// Of each stream.
    pub(crate) tokens: u64,
    #[serde(default = "defaults::token_bytes")]
    pub(crate) token_bytes: u64,
    #[serde(default = "defaults::jitter")]
    pub(crate) jitter: f64,
    /// Tokens that are due together.
    #[serde(default = "defaults::one")]
    pub(crate) burst: u64,
    #[serde(default = "defaults::transport")]
    pub(crate) transport: Transport,
    /// Streams begin spread over so many seconds.
    #[serde(default)]
    pub(crate) spread_s: f64,
    /// Part of the viewers that comes at random while their stream runs.
    #[serde(default)]
    pub(crate) late: f64,
    /// Those come within so many seconds instead.
    #[serde(default)]
    pub(crate) late_within_s: Option<f64>,
    /// Part of the viewers that never reads.
    #[serde(default)]
    pub(crate) silent: f64,
    /// How often each connection is cut, on average, at a random byte.
    #[serde(default)]
    pub(crate) cuts: f64,
    /// Kill the gateway so long after the beginning; 0 is never.
    #[serde(default)]
    pub(crate) kill_at_s: f64,
    /// And start it again so much later.
    #[serde(default = "defaults::down_s")]
    pub(crate) down_s: f64,
    #[serde(default = "defaults::journal")]
    pub(crate) journal: Journal,
    #[serde(default = "defaults::one")]
    pub(crate) seed: u64,
}

mod defaults {
    use super::{Journal, Transport};

    pub(super) fn token_bytes() -> u64 {
        64
    }

    pub(super) fn jitter() -> f64 {
        0.3
    }

    pub(super) fn one() -> u64 {
        1
    }

    pub(super) fn down_s() -> f64 {
        0.5
    }

    pub(super) fn transport() -> Transport {
        Transport::Sse
    }

    pub(super) fn journal() -> Journal {
        Journal::Memory
    }
}

/// How to change a preset.
#[derive(Debug, Default, Args)]
pub(crate) struct Changes {
    /// Another value for a key of the preset, as in `rate=20`
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// As many streams as that part of them, then as many viewers
    #[arg(long, value_name = "FACTOR")]
    pub(crate) scale: Option<f64>,
    /// Let streams run so long, at their rate
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<f64>,
}

/// The text of a preset of this program.
pub(crate) fn named(name: &str) -> Result<&'static str, String> {
    let found = ALL.iter().find(|(of, _)| *of == name);
    let names = || ALL.map(|(name, _)| name).join(", ");
    found
        .map(|(_, text)| *text)
        .ok_or_else(|| format!("there is no preset {name}: take one of {}, or --file", names()))
}

impl Preset {
    pub(crate) fn read(text: &str, changes: &Changes) -> Result<Self, String> {
        let mut table: Table = text.parse().map_err(|error| format!("this is no TOML: {error}"))?;
        for set in &changes.set {
            let (key, value) =
                set.split_once('=').ok_or_else(|| format!("--set {set}: write KEY=VALUE, as in rate=20"))?;
            // A word without quotes is a string.
            let value = value.parse::<Value>().unwrap_or_else(|_| Value::String(value.to_owned()));
            // Whoever writes 20 for a fraction means 20.0.
            let value = match (table.get(key), value) {
                (Some(Value::Float(_)), Value::Integer(number)) => Value::Float(number as f64),
                (_, value) => value,
            };
            table.insert(key.to_owned(), value);
        }
        let mut preset = Self::deserialize(table).map_err(|error| error.to_string())?;
        if let Some(scale) = changes.scale {
            preset.scale(scale)?;
        }
        if let Some(seconds) = changes.seconds {
            preset.run_for(seconds)?;
        }
        preset.check()?;
        Ok(preset)
    }

    fn scale(&mut self, scale: f64) -> Result<(), String> {
        if !(scale > 0.0 && scale <= 100.0) {
            return Err("--scale must be above 0 and at most 100".into());
        }
        let all = (self.streams * self.viewers) as f64 * scale;
        self.streams = ((self.streams as f64 * scale).round() as u64).max(1);
        self.viewers = ((all / self.streams as f64).round() as u64).max(1);
        Ok(())
    }

    fn run_for(&mut self, seconds: f64) -> Result<(), String> {
        if !(seconds > 0.0 && seconds <= 86_400.0) {
            return Err("--seconds must be above 0 and at most 86400".into());
        }
        if self.rate > 0.0 {
            self.tokens = ((seconds * self.rate).ceil() as u64).max(1);
        }
        self.spread_s = self.spread_s.min(seconds / 4.0);
        // A restart that comes behind the end would be none.
        self.kill_at_s = self.kill_at_s.min(seconds / 2.0);
        Ok(())
    }

    /// Whether every value is within its limits. The error begins with the name of the one that is not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let whole = [
            ("streams", self.streams, 1, token::STREAMS_MAX),
            ("viewers", self.viewers, 1, 1_000_000),
            ("tokens", self.tokens, 1, 10_000_000),
            ("token_bytes", self.token_bytes, token::BYTES_MIN as u64, token::BYTES_MAX as u64),
            ("burst", self.burst, 1, 10_000),
        ];
        for (name, value, least, most) in whole {
            if !(least..=most).contains(&value) {
                return Err(format!("{name} is {value}, and must be from {least} to {most}"));
            }
        }
        let parts = [
            ("rate", self.rate, 100_000.0),
            ("jitter", self.jitter, 1.0),
            ("late", self.late, 1.0),
            ("late_within_s", self.late_within_s.unwrap_or(0.0), 3600.0),
            ("silent", self.silent, 1.0),
            ("spread_s", self.spread_s, 3600.0),
            ("cuts", self.cuts, 1000.0),
            ("kill_at_s", self.kill_at_s, 3600.0),
            ("down_s", self.down_s, 20.0),
        ];
        for (name, value, most) in parts {
            if !(0.0..=most).contains(&value) {
                return Err(format!("{name} is {value}, and must be from 0 to {most}"));
            }
        }
        if self.kills() && self.journal == Journal::Memory {
            return Err(
                "kill_at_s needs a journal that outlives the gateway: set journal to \"commit\"".into()
            );
        }
        if self.silent > 0.0 && self.transport == Transport::Webtransport {
            return Err(
                "silent is for transport = \"sse\": a session without a reader acknowledges all the same"
                    .into(),
            );
        }
        Ok(())
    }

    /// Whether streams are interrupted and connections break.
    pub(crate) fn kills(&self) -> bool {
        self.kill_at_s > 0.0
    }

    pub(crate) fn all_viewers(&self) -> u64 {
        self.streams * self.viewers
    }

    /// How long it takes by its schedule.
    pub(crate) fn seconds(&self) -> f64 {
        self.spread_s + if self.rate > 0.0 { self.tokens as f64 / self.rate } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, set: &[&str]) -> Result<Preset, String> {
        let set = set.iter().map(|set| (*set).to_owned()).collect();
        Preset::read(text, &Changes { set, ..Changes::default() })
    }

    #[test]
    fn all_presets_are_good_at_any_scale() {
        for (name, text) in ALL {
            let whole =
                Preset::read(text, &Changes::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let changes = Changes { scale: Some(0.01), seconds: Some(2.0), ..Changes::default() };
            let small = Preset::read(text, &changes).unwrap_or_else(|error| panic!("{name}: {error}"));
            let wanted = whole.all_viewers() as f64 / 100.0;
            assert!((wanted * 0.9..=wanted * 1.1).contains(&(small.all_viewers() as f64)), "{name}");
            assert!(small.rate == 0.0 || small.seconds() <= 2.6, "{name}");
            assert_eq!(named(name), Ok(text));
        }
        assert!(named("room").unwrap_err().contains("hot-room"));
    }

    #[test]
    fn values_are_set_by_key() {
        let text = ALL[0].1;
        let preset =
            read(text, &["streams=10", "rate=5", "transport=webtransport", "journal=\"process\""]).unwrap();
        assert_eq!((preset.streams, preset.rate), (10, 5.0));
        assert_eq!((preset.transport, preset.journal), (Transport::Webtransport, Journal::Process));
    }

    #[test]
    fn an_error_names_the_key() {
        for (set, wanted) in [
            ("streems=1", "streems"),
            ("streams", "KEY=VALUE"),
            ("streams=0", "streams is 0"),
            ("streams=many", "streams"),
            ("token_bytes=10", "token_bytes is 10, and must be from 40"),
            ("late=1.5", "late is 1.5"),
            ("rate=-1", "rate is -1"),
            ("transport=carrier-pigeon", "carrier-pigeon"),
            ("kill_at_s=2.0", "journal"),
        ] {
            let error = read(ALL[0].1, &[set]).unwrap_err();
            assert!(error.contains(wanted), "{set}: {error}");
        }
        assert!(Preset::read("about = ", &Changes::default()).unwrap_err().contains("TOML"));
        let scale = Changes { scale: Some(0.0), ..Changes::default() };
        assert!(Preset::read(ALL[0].1, &scale).unwrap_err().starts_with("--scale"));
    }
}
