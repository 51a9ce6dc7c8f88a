//! The task that calls a provider and fills a cast. It belongs to the cast, never to a request or a viewer.
//!
//! Reader and appender run side by side in it, joined by a channel that is bounded by bytes. When the journal is so
//! far behind that the channel is full, the reader stops reading, which stalls this one connection alone.

mod append;
mod breaker;
mod feed;
pub mod provider;
mod proxy;
mod read;
mod secret;
pub mod split;

use std::time::Duration;

use reqwest::{Client, ClientBuilder};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tracing::{debug, info};

use self::provider::Call;
use self::read::Reader;
use crate::cast::end::{Outcome, Why};
use crate::cast::{Cast, Producer, coalesce};
use crate::outbound;
use crate::seldom::Seldom;

/// `[upstream]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub connect_s: u64,
    pub first_byte_s: u64,
    pub silent_s: u64,
    pub next_byte_s: u64,
    pub total_s: u64,
    pub connect_attempts: u32,
    pub block_bytes_max: usize,
    pub journal_stall_s: u64,
    pub breaker_failures: u32,
    pub breaker_window_s: u64,
    pub breaker_open_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_s: 5,
            first_byte_s: 60,
            silent_s: 120,
            next_byte_s: 120,
            total_s: 1800,
            connect_attempts: 3,
            block_bytes_max: 1024 * 1024,
            journal_stall_s: 10,
            breaker_failures: 10,
            breaker_window_s: 30,
            breaker_open_s: 5,
        }
    }
}

/// A client for providers; `reach` may say how it reaches them. One HTTP/1.1 connection per request: an unread stream on
/// a shared connection would hurt its neighbours.
pub fn client(config: &Config, reach: impl Fn(ClientBuilder) -> ClientBuilder) -> Client {
    outbound::client(|| {
        let builder = Client::builder()
            .http1_only()
            .pool_max_idle_per_host(0)
            .connect_timeout(Duration::from_secs(config.connect_s))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .user_agent(concat!("tokencast/", env!("CARGO_PKG_VERSION")));
        reach(builder)
    })
}

/// What one stream may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    pub config: Config,
    /// Bytes that the log of one stream can have.
    pub stream_bytes_max: u64,
}

/// Calls the provider, fills the cast, and ends it.
async fn run(
    call: &Call,
    client: &reqwest::Client,
    limits: &Limits,
    coalesce: &coalesce::Config,
    mut producer: Producer,
) {
    let cast = producer.cast().clone();
    let (sender, receiver) = feed::channel(coalesce.pending_bytes_max);
    let reading = async {
        let appender = sender.clone();
        let mut reader = Reader::new(call, limits, &cast, sender);
        let interrupted = Seldom::new(async {
            tokio::select! {
                biased;
                outcome = interrupted(&cast, limits) => outcome,
                () = appender.closed() => Outcome::because(Why::Internal, "the appender is gone"),
            }
        });
        let outcome = tokio::select! {
            biased;
            // First, because a provider that never pauses uses up what one poll may do.
            outcome = interrupted => outcome,
            outcome = reader.read(client) => outcome,
        };
        // What the provider has said of its end counts, if that came first.
        let outcome = reader.verdict().unwrap_or(outcome);
        reader.finish().await;
        outcome
    };
    let journal_stall = Duration::from_secs(limits.config.journal_stall_s);
    let appending = async {
        // Here the call is on its way, and does not wait for the line.
        info!("stream started");
        append::append(receiver, &mut producer, coalesce, journal_stall).await
    };
    // In this order what was read is appended at once, in the same poll.
    let (outcome, appended) = tokio::join!(biased; reading, appending);
    let outcome = appended.err().unwrap_or(outcome);
    debug!(reason = outcome.why.reason(), code = outcome.why.code(), "the provider's answer is over");
    producer.end(outcome, journal_stall).await;
}

/// Whatever ends a stream from our side.
async fn interrupted(cast: &Cast, limits: &Limits) -> Outcome {
    let abandoned = async {
        match cast.cancel_after() {
            Some(after) => cast.abandoned(after).await,
            None => std::future::pending().await,
        }
    };
    let total = limits.config.total_s;
    tokio::select! {
        why = cast.stopped() => Outcome { why, message: stopped(why).map(str::to_owned) },
        () = abandoned => Outcome::because(Why::NoViewers, "nobody was watching any more"),
        () = sleep(Duration::from_secs(total)) => {
            Outcome::because(Why::TotalTimeout, format!("the stream took longer than upstream.total_s, {total} s"))
        }
    }
}

fn stopped(why: Why) -> Option<&'static str> {
    match why {
        Why::Stopped => Some("the stream was stopped on request"),
        Why::Internal => Some("the gateway failed while it rendered this stream"),
        Why::Drain => Some("the gateway was shut down"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
