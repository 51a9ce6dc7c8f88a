//! What the streams count.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, gauge, histogram};

use crate::cast::account::Spent;
use crate::cast::coalesce::Forced;
use crate::cast::end::Why;

pub fn stream_started(provider: &str) {
    counter!("tokencast_streams_started_total", "provider" => provider.to_owned()).increment(1);
    gauge!("tokencast_streams_active", "provider" => provider.to_owned()).increment(1.0);
}

/// A stream of a process before this one was found, and ended where it is durable.
pub fn stream_interrupted(provider: &str) {
    count_end(provider, Why::Restart);
}

pub fn stream_ended(provider: &str, why: Why) {
    count_end(provider, why);
    gauge!("tokencast_streams_active", "provider" => provider.to_owned()).decrement(1.0);
}

fn count_end(provider: &str, why: Why) {
    let (reason, code) = why.wire();
    let code = code.unwrap_or("");
    counter!("tokencast_streams_ended_total", "provider" => provider.to_owned(), "reason" => reason, "code" => code)
        .increment(1);
}

/// Whether a provider is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaker {
    Closed = 0,
    HalfOpen = 1,
    Open = 2,
}

/// A provider that nobody has called yet.
pub fn provider_is_known(provider: &str) {
    breaker_is(provider, Breaker::Closed);
    counter!("tokencast_upstream_refused_total", "provider" => provider.to_owned()).increment(0);
}

pub fn breaker_is(provider: &str, breaker: Breaker) {
    gauge!("tokencast_upstream_breaker", "provider" => provider.to_owned()).set(f64::from(breaker as u8));
}

/// A provider that is left alone was not called.
pub fn call_refused(provider: &str) {
    counter!("tokencast_upstream_refused_total", "provider" => provider.to_owned()).increment(1);
}

/// What a stream has cost of a provider's tokens.
pub fn tokens_spent(provider: &str, spent: Spent) {
    for (said_by, tokens) in [("provider", spent.counted), ("estimate", spent.estimated)] {
        counter!("tokencast_tokens_total", "provider" => provider.to_owned(), "said_by" => said_by)
            .increment(tokens);
    }
}

/// What one stream counts often, looked up once.
#[derive(Debug)]
pub struct Appending {
    provider: String,
    blocks: Counter,
    frames: Counter,
    frame_blocks: Histogram,
    upstream_bytes: Counter,
}

impl Appending {
    pub fn of(provider: &str) -> Self {
        let label = provider.to_owned();
        Self {
            blocks: counter!("tokencast_blocks_total", "provider" => label.clone()),
            frames: counter!("tokencast_frames_total", "provider" => label.clone()),
            frame_blocks: histogram!("tokencast_frame_blocks", "provider" => label.clone()),
            upstream_bytes: counter!("tokencast_upstream_bytes_total", "provider" => label.clone()),
            provider: label,
        }
    }

    pub fn frame_appended(&self, blocks: usize, bytes: usize) {
        self.blocks.increment(blocks as u64);
        self.frames.increment(1);
        self.frame_blocks.record(blocks as f64);
        self.upstream_bytes.increment(bytes as u64);
    }

    pub fn first_token(&self, after: Duration) {
        histogram!("tokencast_first_token_seconds", "provider" => self.provider.clone()).record(after);
    }
}

pub fn flush_forced(cause: Forced) {
    let cause = match cause {
        Forced::First => "first",
        Forced::Bytes => "bytes",
        Forced::Full => "full",
        Forced::Finish => "finish",
        Forced::Error => "error",
        Forced::End => "end",
    };
    counter!("tokencast_forced_flushes_total", "cause" => cause).increment(1);
}

pub fn connect_retried(provider: &str) {
    counter!("tokencast_upstream_retries_total", "provider" => provider.to_owned()).increment(1);
}
