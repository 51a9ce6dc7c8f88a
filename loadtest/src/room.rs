//! `run` by flags instead of a preset: streams with viewers each, attached at random times, perhaps cut at random bytes.

use clap::Args;

use crate::gateway::Journal;
use crate::preset::{Preset, Transport};
use crate::run::Against;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Viewers of each stream
    #[arg(long, default_value_t = 1000)]
    viewers: u64,
    #[arg(long, default_value_t = 1)]
    streams: u64,
    /// Tokens of each stream
    #[arg(long, default_value_t = 600)]
    tokens: u64,
    /// Tokens per second of each stream; 0 is as fast as possible
    #[arg(long, default_value_t = 60.0)]
    rate: f64,
    /// How far a token may be early or late, in intervals, 0 to 1
    #[arg(long, default_value_t = 0.3)]
    jitter: f64,
    /// Tokens that are due together
    #[arg(long, default_value_t = 1)]
    burst: u64,
    /// Bytes of text per token
    #[arg(long, default_value_t = 64)]
    token_bytes: u64,
    /// Viewers come at random within so many seconds; otherwise as long as a stream takes. 0 is all at once
    #[arg(long, value_name = "S")]
    attach: Option<f64>,
    /// Streams start spread over so many seconds
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    spread: f64,
    /// What of a stream outlives the gateway
    #[arg(long, value_enum, default_value_t = Journal::Memory)]
    journal: Journal,
    /// Cut connections at random bytes, and come back to the last id
    #[arg(long)]
    cut: bool,
    /// Same seed, same viewers
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    pub(crate) against: Against,
}

impl Options {
    pub(crate) fn preset(&self) -> Preset {
        Preset {
            about: "a room".to_owned(),
            streams: self.streams,
            viewers: self.viewers,
            rate: self.rate,
            tokens: self.tokens,
            token_bytes: self.token_bytes,
            jitter: self.jitter,
            burst: self.burst,
            transport: Transport::Sse,
            spread_s: if self.streams > 1 { self.spread } else { 0.0 },
            late: if self.attach == Some(0.0) { 0.0 } else { 1.0 },
            late_within_s: self.attach.filter(|attach| *attach > 0.0),
            silent: 0.0,
            cuts: if self.cut { 3.0 } else { 0.0 },
            kill_at_s: 0.0,
            down_s: 0.0,
            journal: self.journal,
            seed: self.seed,
        }
    }
}
