//! From acts to a response body, on time.

use std::io;
use std::time::Duration;

use async_stream::stream;
use bytes::Bytes;
use fastrand::Rng;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::time::{Instant, sleep, sleep_until};

use super::ask::Ask;
use super::log::Call;
use super::script::rng;
use super::wire::{Act, Wire};

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// hyper drops what it has not flushed when a body fails, and "cut after n events" means that n arrive.
const CUT_FLUSH: Duration = Duration::from_millis(20);

/// A body of known length.
pub(super) fn whole(bytes: impl Into<Bytes>, first_byte: Duration, mut call: Call) -> Body {
    let bytes = bytes.into();
    boxed(stream! {
        sleep(first_byte).await;
        // hyper does not ask again once it has as many bytes as the length says.
        call.complete();
        yield Ok(bytes);
    })
}

/// The body of a streamed answer.
pub(super) fn streamed(ask: &Ask, mut call: Call) -> Body {
    let wire = Wire::new(ask);
    let first_byte = Duration::from_millis(ask.options.first_byte_ms);
    let piece = ask.options.split.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let mut schedule = Schedule::new(ask);
    boxed(stream! {
        sleep(first_byte).await;
        schedule.start();
        for act in wire {
            match act {
                Act::Write(mut bytes) => {
                    while let Some(piece) = piece.filter(|piece| *piece < bytes.len()) {
                        yield Ok(bytes.split_to(piece));
                        // Being pending once makes hyper flush.
                        tokio::task::yield_now().await;
                    }
                    yield Ok(bytes);
                }
                Act::Due(token) => {
                    if let Some(due) = schedule.due(token) {
                        sleep_until(due).await;
                    }
                }
                Act::Stall(time) => {
                    sleep(time).await;
                    schedule.shift(time);
                }
                Act::StallForever => std::future::pending::<()>().await,
                Act::Hold(time) => {
                    call.complete();
                    sleep(time).await;
                }
                Act::Cut => {
                    sleep(CUT_FLUSH).await;
                    call.complete();
                    yield Err(io::Error::other("cut, on request"));
                }
            }
        }
        call.complete();
    })
}

fn boxed(bytes: impl tokio_stream::Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    use tokio_stream::StreamExt as _;
    StreamBody::new(bytes.map(|bytes| bytes.map(Frame::data))).boxed_unsync()
}

/// When each token is due. Open loop: a late write makes no later one later.
#[derive(Debug)]
struct Schedule {
    start: Instant,
    interval: Option<Duration>,
    jitter: f64,
    rng: Rng,
}

impl Schedule {
    fn new(ask: &Ask) -> Self {
        Self {
            start: Instant::now(),
            interval: ask.options.interval(),
            jitter: ask.options.jitter,
            rng: rng(ask.seed, u64::MAX - 1),
        }
    }

    fn start(&mut self) {
        self.start = Instant::now();
    }

    fn shift(&mut self, time: Duration) {
        self.start += time;
    }

    /// `None` is at once.
    fn due(&mut self, token: u64) -> Option<Instant> {
        let early_or_late = self.jitter * (2.0 * self.rng.f64() - 1.0);
        let intervals = (token as f64 + early_or_late).max(0.0);
        self.interval.map(|interval| self.start + interval.mul_f64(intervals))
    }
}

#[cfg(test)]
mod tests {
    use super::super::dialects::Endpoint;
    use super::super::options::Options;
    use super::*;

    fn schedule(simulate: &str) -> Schedule {
        let body = format!(r#"{{"model":"m","messages":[1],"simulate":{simulate}}}"#);
        Schedule::new(&Ask::read(Endpoint::OpenaiChat, body.as_bytes(), &Options::default()).unwrap())
    }

    #[test]
    fn jitter_stays_around_the_interval_and_nothing_drifts() {
        let mut schedule = schedule(r#"{"rate":100,"jitter":0.5}"#);
        let mut off = Vec::new();
        for token in 1..=10_000_u32 {
            let due = schedule.due(u64::from(token)).unwrap() - schedule.start;
            off.push(due.as_secs_f64() - f64::from(token) * 0.01);
        }
        assert!(off.iter().all(|off| off.abs() <= 0.005 + 1e-9));
        assert!(off.iter().any(|off| *off > 0.002) && off.iter().any(|off| *off < -0.002));
    }

    #[test]
    fn extremes() {
        assert_eq!(schedule(r#"{"rate":0}"#).due(5), None);
        let mut slow = schedule(r#"{"rate":0.001,"jitter":0}"#);
        assert_eq!(slow.due(0), Some(slow.start));
        assert!(slow.due(u64::from(u32::MAX)).unwrap() > slow.start);
    }
}
