//! The provider's answer, read once: from the connect to the last byte.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use super::Limits;
use super::feed::{Closed, Sender};
use super::provider::Call;
use super::proxy::handed_on;
use super::secret::Secret;
use super::split::{Piece, Splitter, is_comment};
use crate::cast::Cast;
use crate::cast::block::Block;
use crate::cast::end::{Outcome, Why};
use crate::cast::event::Event;
use crate::cast::head::Head;
use crate::dialect::{Dialect, Verdict};
use crate::outbound::causes;
use crate::seldom::Seldom;
use crate::telemetry;

/// How long bytes are still read after the terminal marker.
const LINGER: Duration = Duration::from_millis(250);
/// The largest head of an answer. Beyond a few times of that it is not even read.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const LARGE_HEAD: &str = "the head of the provider's answer is larger than 64 KiB, or has too many fields";
/// How much of an error body is read, and for how long.
const ERROR_BYTES_MAX: usize = 8 * 1024;
const ERROR_WITHIN: Duration = Duration::from_secs(5);
const MESSAGE_CHARS_MAX: usize = 1000;

/// Reads one answer and feeds its blocks to the appender.
pub(super) struct Reader<'a> {
    call: &'a Call,
    /// What must not come back from the provider.
    keys: Vec<Secret<'a>>,
    limits: &'a Limits,
    cast: &'a Cast,
    feed: Sender,
    splitter: Splitter,
    dialect: Box<dyn Dialect>,
    /// Cut, and not fed yet: a reader that is interrupted still feeds them, so that the log has no gap.
    pieces: VecDeque<Piece>,
    /// Empty but while a piece is read.
    events: Vec<Event>,
    bytes: u64,
    /// The body has ended, and cleanly: what is left of it is all that will come.
    at_eof: bool,
}

/// Ends the reading early.
type Stop = Outcome;

impl<'a> Reader<'a> {
    pub(super) fn new(call: &'a Call, limits: &'a Limits, cast: &'a Cast, feed: Sender) -> Self {
        Self {
            call,
            keys: call.keys(),
            limits,
            cast,
            feed,
            splitter: Splitter::new(call.family.framing(), limits.config.block_bytes_max),
            dialect: call.family.dialect(&call.path),
            pieces: VecDeque::new(),
            events: Vec::new(),
            bytes: 0,
            at_eof: false,
        }
    }

    /// Calls the provider and reads its answer to the end. The connection is closed when this is dropped.
    pub(super) async fn read(&mut self, client: &reqwest::Client) -> Outcome {
        let read = async {
            let response = self.call(client).await?;
            let response = self.check(response).await?;
            self.body(response).await
        };
        read.await.unwrap_or_else(|stop: Stop| stop)
    }

    /// Feeds what was read and not fed yet, and what is left of the body as its last block, however the body ended.
    pub(super) async fn finish(mut self) {
        #[cfg(not(planted_bug = "torn_block_dropped"))]
        self.pieces.extend(self.splitter.finish());
        let _ = self.feed_pieces().await;
    }

    /// Calls the provider, unless it is left alone.
    async fn call(&self, client: &reqwest::Client) -> Result<Response, Stop> {
        let attempt = self.call.breaker.attempt();
        let attempt = attempt.map_err(|alone| Outcome::because(Why::UpstreamConnect, alone.to_string()))?;
        let sent = self.send(client).await;
        match &sent {
            Ok(response) => attempt.got(response.status()),
            // It has said something, if too much.
            Err(stop) if stop.why == Why::UpstreamTooLarge => {}
            Err(_) => attempt.failed(),
        }
        sent
    }

    /// Sends the request and waits for the head of the answer. Only a connect that failed is tried again: a request
    /// that was sent is never sent twice.
    async fn send(&self, client: &reqwest::Client) -> Result<Response, Stop> {
        let config = &self.limits.config;
        let mut attempt = 1;
        loop {
            let sent =
                timeout(Duration::from_secs(config.first_byte_s), self.call.request(client).send()).await;
            let error = match sent {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => error.without_url(),
                Err(_) => {
                    let message =
                        format!("no answer within upstream.first_byte_s, {} s", config.first_byte_s);
                    return Err(Outcome::because(Why::UpstreamSilent, message));
                }
            };
            if is_head_too_large(&error) {
                return Err(Outcome::because(Why::UpstreamTooLarge, LARGE_HEAD));
            }
            if !error.is_connect() && !cfg!(planted_bug = "sent_again") {
                return Err(self.because(Why::UpstreamCut, &causes(&error)));
            }
            if attempt >= config.connect_attempts {
                return Err(self.because(Why::UpstreamConnect, &causes(&error)));
            }
            warn!(attempt, error = causes(&error), "connecting to the provider failed");
            telemetry::connect_retried(&self.call.name);
            let pause = 50 << attempt.min(5);
            sleep(Duration::from_millis(fastrand::u64(pause / 2..=pause))).await;
            attempt = attempt.saturating_add(1);
        }
    }

    /// Lets through what can be read as a stream; anything else is an end.
    async fn check(&self, response: Response) -> Result<Response, Stop> {
        let status = response.status();
        debug!(%status, "the provider answers");
        let fields = response.headers().iter();
        let head: usize =
            fields.flat_map(|(name, value)| [name.as_str().len(), value.len(), ": \r\n".len()]).sum();
        if head > HEAD_BYTES_MAX {
            return Err(Outcome::because(Why::UpstreamTooLarge, LARGE_HEAD));
        }
        if status.is_redirection() {
            return Err(Outcome::because(
                Why::NotAStream,
                format!("{}: redirects are not followed", said(status)),
            ));
        }
        if !status.is_success() {
            let message = format!("{}: {}", said(status), self.refused(response).await);
            return Err(self.because(Why::UpstreamStatus, &message));
        }
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
            return Err(Outcome::because(Why::NotAStream, said(status)));
        }
        let encoding = text(response.headers(), CONTENT_ENCODING);
        if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
            let message =
                format!("the provider sent content-encoding {encoding:?} although none was asked for");
            return Err(Outcome::because(Why::NotAStream, message));
        }
        let content_type = text(response.headers(), CONTENT_TYPE);
        if !self.call.family.accepts(content_type) {
            let content_type = content_type.unwrap_or_default().to_owned();
            let body = self.refused(response).await;
            let message = format!("the provider sent {content_type:?} and no stream of events: {body}");
            return Err(self.because(Why::NotAStream, &message));
        }
        if let Some(content_type) = content_type {
            self.cast.describe(content_type);
        }
        if self.call.wants_head {
            let headers = handed_on(response.headers(), &self.call.secrets());
            self.cast.answered(Head { status: status.as_u16(), headers, refusal: None });
        }
        Ok(response)
    }

    async fn body(&mut self, mut response: Response) -> Result<Outcome, Stop> {
        let super::Config { silent_s, next_byte_s, .. } = self.limits.config;
        let within = |seconds| after(Duration::from_secs(seconds));
        let (mut speaks_by, mut lingers_until) = (within(silent_s), None);
        let mut late = Seldom::alarm(speaks_by);
        loop {
            let over = self.verdict();
            let next_by = within(next_byte_s);
            late.ring_at(lingers_until.unwrap_or(speaks_by.min(next_by)));
            let chunk = tokio::select! {
                biased;
                chunk = response.chunk() => Some(chunk),
                () = &mut late => None,
            };
            match (chunk, over) {
                (Some(Ok(Some(chunk))), over) => {
                    if self.push(chunk).await? {
                        speaks_by = within(silent_s);
                    }
                    if over.is_none() && self.verdict().is_some() {
                        lingers_until = Some(after(LINGER));
                    }
                }
                // After the marker it does not matter any more how the body ends.
                (_, Some(outcome)) => return Ok(outcome),
                (Some(Ok(None)), None) => return self.at_eof().await,
                (Some(Err(error)), None) => {
                    #[cfg(planted_bug = "cut_is_completed")]
                    return Ok(Outcome::completed());
                    #[cfg(not(planted_bug = "cut_is_completed"))]
                    return Err(self.because(Why::UpstreamCut, &causes(&error.without_url())));
                }
                (None, None) => {
                    let message = if speaks_by <= next_by {
                        format!("nothing, or nothing but comments, for upstream.silent_s, {silent_s} s")
                    } else {
                        format!("not a byte for upstream.next_byte_s, {next_byte_s} s")
                    };
                    return Err(Outcome::because(Why::UpstreamSilent, message));
                }
            }
        }
    }

    /// How the stream ends whatever follows, once the provider has said so.
    pub(super) fn verdict(&self) -> Option<Outcome> {
        match self.dialect.verdict() {
            Verdict::Terminal => Some(Outcome::completed()),
            Verdict::Failed { message } => Some(self.because(Why::UpstreamError, &message)),
            Verdict::Unfinished | Verdict::Finished => None,
        }
    }

    /// How the stream ends now that the body did. Its last block comes first: it can be whole without a line behind it,
    /// and say how.
    async fn at_eof(&mut self) -> Result<Outcome, Stop> {
        self.at_eof = true;
        self.pieces.extend(self.splitter.finish());
        self.feed_pieces().await?;
        Ok(match self.dialect.verdict() {
            Verdict::Finished => Outcome::completed(),
            _ => Outcome::because(Why::UpstreamEof, "the provider's answer ended before it was finished"),
        })
    }

    /// Reads on. Gives whether the provider has said something.
    async fn push(&mut self, chunk: Bytes) -> Result<bool, Stop> {
        let cut = self.splitter.push(chunk, &mut self.pieces);
        let is_said = self.pieces.iter().any(|piece| piece.complete && !is_comment(&piece.bytes));
        self.feed_pieces().await?;
        cut.map_err(|too_large| Outcome::because(Why::UpstreamTooLarge, too_large.to_string()))?;
        Ok(is_said)
    }

    async fn feed_pieces(&mut self) -> Result<(), Stop> {
        while let Some(piece) = self.pieces.front_mut() {
            // Everybody who may watch will have it, and so will the disk.
            for key in &self.keys {
                if let Some(clean) = key.taken_out(&piece.bytes) {
                    piece.bytes = clean.into();
                }
            }
            let bytes = self.bytes.saturating_add(piece.bytes.len() as u64);
            let max = self.limits.stream_bytes_max;
            if bytes > max {
                let message = format!("the stream is larger than limits.stream_bytes_max, {max} bytes");
                return Err(Outcome::because(Why::StreamTooLarge, message));
            }
            let room = self.feed.room(piece.bytes.len()).await;
            // The appender says itself why it is gone.
            let room = room.map_err(|Closed| Outcome::because(Why::Internal, "the appender is gone"))?;
            // Nothing is awaited from here on: an interruption finds a piece either waiting or fed.
            let Some(Piece { bytes: piece, complete }) = self.pieces.pop_front() else { return Ok(()) };
            self.bytes = bytes;
            if complete {
                self.dialect.read(&piece, &mut self.events);
            } else if self.at_eof {
                self.dialect.read_rest(&piece, &mut self.events);
            }
            for event in &mut self.events {
                if let Event::Error { message, .. } = event {
                    *message = self.call.scrub(message);
                }
            }
            room.fill(Block { bytes: piece, events: self.events.drain(..).collect() });
        }
        Ok(())
    }

    /// What the provider says instead of a stream. Whoever wants to hand it on gets all of it.
    async fn refused(&self, mut response: Response) -> String {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = BytesMut::new();
        let read = async {
            while let Ok(Some(chunk)) = response.chunk().await {
                body.extend_from_slice(&chunk);
                if body.len() >= ERROR_BYTES_MAX {
                    return;
                }
            }
        };
        let is_whole = timeout(ERROR_WITHIN, read).await.is_ok() && body.len() < ERROR_BYTES_MAX;
        body.truncate(ERROR_BYTES_MAX);
        // In this order: half a key would not be found.
        let message = self.call.scrub(&message_in(&body)).chars().take(MESSAGE_CHARS_MAX).collect();
        // What is half or packed nobody could read.
        if self.call.wants_head && is_whole && !headers.contains_key(CONTENT_ENCODING) {
            let refusal = self.call.scrub(&String::from_utf8_lossy(&body)).into();
            self.cast.answered(Head {
                status,
                headers: handed_on(&headers, &self.call.secrets()),
                refusal: Some(refusal),
            });
        }
        message
    }

    fn because(&self, why: Why, message: &str) -> Outcome {
        Outcome::because(why, self.call.scrub(message))
    }
}

/// Whether the head was too much for the HTTP client itself.
pub(super) fn is_head_too_large(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse_too_large) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A moment that is so far away.
fn after(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now)
}

/// The status as providers name it.
fn said(status: StatusCode) -> String {
    format!("the provider answered {status}")
}

fn text(headers: &HeaderMap, name: reqwest::header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The message of an error body in the usual shapes, or all of it.
fn message_in(body: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Shape {
        Nested { error: Inner },
        Flat { error: String },
        Bare(Inner),
    }
    #[derive(Deserialize)]
    struct Inner {
        message: String,
    }
    let text = match serde_json::from_slice(body) {
        Ok(Shape::Nested { error: Inner { message } } | Shape::Bare(Inner { message })) => message,
        Ok(Shape::Flat { error }) => error,
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    };
    if text.is_empty() { "no message".into() } else { text }
}
