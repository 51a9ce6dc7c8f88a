//! Logs: for people on a terminal, as JSON anywhere else.

use std::io::{IsTerminal, stderr};

use serde::{Deserialize, Serialize};
use tracing::Level;
use tracing_subscriber::filter::{FilterExt, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A level, or levels by target: `info`, `tokencast=debug,info`.
    pub level: String,
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Auto,
    Pretty,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self { level: "info".into(), format: Format::Auto }
    }
}

/// Whether the levels can be read.
pub fn check(config: &Config) -> Result<Targets, String> {
    config.level.parse().map_err(|error| {
        let level = &config.level;
        format!(
            "log.level = {level}: {error}: write a level, or `target=level` pairs, as in tokencast=debug,info"
        )
    })
}

/// Below info, libraries print headers, paths and bytes, where credentials are: there only what is ours may speak,
/// whatever the configuration asks for.
fn discreet() -> Targets {
    // What a peer does wrong h2 tells as a warning for each frame: a flood of them would be one of the log.
    Targets::new()
        .with_default(Level::INFO)
        .with_target("h2", Level::ERROR)
        .with_target("tokencast", Level::TRACE)
}

/// Begins to log to standard error; the first call of a process counts.
pub fn init(config: &Config) -> Result<(), String> {
    let levels = check(config)?.and(discreet());
    let pretty = match config.format {
        Format::Auto => stderr().is_terminal(),
        Format::Pretty => true,
        Format::Json => false,
    };
    let layer = if pretty {
        fmt::layer().with_target(false).with_writer(stderr).boxed()
    } else {
        fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(stderr).boxed()
    };
    let _ = tracing_subscriber::registry().with(layer.with_filter(levels)).try_init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_never_tell_what_they_carry() {
        let asked =
            Config { level: "trace,hyper=trace,wtransport::endpoint=debug".into(), ..Config::default() };
        let (asked, discreet) = (check(&asked).unwrap(), discreet());
        let is_said = |target: &str, level: &Level| {
            asked.would_enable(target, level) && discreet.would_enable(target, level)
        };
        for target in ["hyper", "hyper::proto::h1", "wtransport::endpoint", "rustls", "axum::rejection"] {
            assert!(is_said(target, &Level::INFO) && !is_said(target, &Level::DEBUG), "{target}");
        }
        assert!(is_said("tokencast::http::gate", &Level::TRACE));
        let h2 = "h2::proto::ping_pong";
        assert!(is_said(h2, &Level::ERROR) && !is_said(h2, &Level::WARN), "a line for each frame of a flood");
    }
}
