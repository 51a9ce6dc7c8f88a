//! Verbs for what happens; the only place that names a metric.
//!
//! Names are `tokencast_*` in base units. Labels are bounded: providers and keys of the configuration, views,
//! transports, reasons and codes; never an id, a user, a path or a model.

use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram};
use metrics::{Unit, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::cast::coalesce::Forced;
use crate::cast::end::Why;

const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const BLOCKS: [f64; 12] = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 512.0, 2048.0, 8192.0];

/// Installs the recorder of this process, once, and gives the handle that renders it.
pub fn install() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    static INSTALL: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALL.lock();
    HANDLE
        .get_or_init(|| {
            let builder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
                .and_then(|builder| {
                    builder.set_buckets_for_metric(Matcher::Suffix("_blocks".into()), &BLOCKS)
                });
            let handle =
                builder.expect("the buckets are not empty").install_recorder().expect("installed only here");
            describe();
            // Nobody asks for it before there is something to read.
            counter!("tokencast_journal_pieces_read_total").increment(0);
            gauge!("tokencast_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
            handle
        })
        .clone()
}

fn describe() {
    metrics_process::Collector::default().describe();
    describe_gauge!("tokencast_build_info", "1, with the version as a label");
    describe_gauge!("tokencast_streams_active", "Streams that have not ended");
    describe_counter!("tokencast_streams_started_total", "Streams started");
    describe_counter!("tokencast_streams_ended_total", "Streams ended, by reason and code");
    describe_counter!("tokencast_blocks_total", "Blocks appended");
    describe_counter!("tokencast_frames_total", "Frames appended");
    describe_histogram!("tokencast_frame_blocks", "Blocks in a frame");
    describe_counter!(
        "tokencast_forced_flushes_total",
        "Frames flushed before their interval was over, by cause"
    );
    describe_histogram!("tokencast_first_token_seconds", Unit::Seconds, "From the POST to the first token");
    describe_counter!("tokencast_upstream_bytes_total", Unit::Bytes, "Bytes of response bodies of providers");
    describe_counter!("tokencast_upstream_retries_total", "Connects to a provider that were tried again");
    describe_gauge!("tokencast_viewers", "Viewers attached, by view and transport");
    describe_counter!("tokencast_deliveries_total", "Batches handed to a viewer's connection");
    describe_counter!("tokencast_delivered_bytes_total", Unit::Bytes, "Bytes handed to viewers' connections");
    describe_histogram!(
        "tokencast_viewer_lag_blocks",
        "Blocks that a viewer was behind when it took a batch"
    );
    describe_counter!("tokencast_resumes_total", "Viewers that came with a cursor, by outcome");
    describe_counter!("tokencast_http_requests_total", "HTTP requests, by route and status code");
    describe_gauge!("tokencast_http_connections", "Open connections");
    describe_counter!(
        "tokencast_http_connections_refused_total",
        "Connections refused at http.connections_max"
    );
    describe_counter!("tokencast_journal_pieces_read_total", "Pieces of ended streams that were read");
    describe_gauge!("tokencast_webtransport_sessions", "Open sessions");
    describe_gauge!("tokencast_webtransport_subscriptions", "Open subscriptions of sessions");
    describe_counter!("tokencast_webtransport_handshakes_total", "Connections that came, by outcome");
    describe_counter!("tokencast_webtransport_packets_total", "Packets of sessions, by direction; lost ones");
    describe_counter!("tokencast_webtransport_bytes_total", Unit::Bytes, "Bytes of sessions, by direction");
    describe_histogram!(
        "tokencast_webtransport_rtt_seconds",
        Unit::Seconds,
        "Round trips of sessions, every two seconds"
    );
    describe_counter!(
        "tokencast_webtransport_blocked_writes_total",
        "Writes that had to wait for the client"
    );
    describe_gauge!(
        "tokencast_webtransport_certificate_expiry_timestamp_seconds",
        Unit::Seconds,
        "When the certificate in use expires, since 1970"
    );
    describe_gauge!("tokencast_memory_held_bytes", Unit::Bytes, "Bytes held by logs and their renderings");
    describe_gauge!("tokencast_memory_limit_bytes", Unit::Bytes, "limits.memory_bytes_max");
}

/// Reads what is sampled and not counted: the memory budget, and the figures of the process.
pub fn sample(memory_held: usize, memory_limit: usize) {
    gauge!("tokencast_memory_held_bytes").set(memory_held as f64);
    gauge!("tokencast_memory_limit_bytes").set(memory_limit as f64);
    metrics_process::Collector::default().collect();
}

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

/// What one viewer counts; it is one of the viewers for as long as this lives.
#[derive(Debug)]
pub struct Viewing {
    viewers: Gauge,
    deliveries: Counter,
    bytes: Counter,
    lag: Histogram,
}

impl Viewing {
    pub fn of(view: &'static str, transport: &'static str) -> Self {
        let viewers = gauge!("tokencast_viewers", "view" => view, "transport" => transport);
        viewers.increment(1.0);
        Self {
            viewers,
            deliveries: counter!("tokencast_deliveries_total", "view" => view, "transport" => transport),
            bytes: counter!("tokencast_delivered_bytes_total", "view" => view, "transport" => transport),
            lag: histogram!("tokencast_viewer_lag_blocks", "view" => view, "transport" => transport),
        }
    }

    /// A batch was taken by a viewer that was `behind` blocks behind.
    pub fn delivered(&self, bytes: usize, behind: u64) {
        self.deliveries.increment(1);
        self.bytes.increment(bytes as u64);
        self.lag.record(behind as f64);
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        self.viewers.decrement(1.0);
    }
}

/// How a viewer with a cursor fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    Resumed,
    Ahead,
    Gone,
    Over,
}

pub fn resumed(outcome: Resume) {
    let outcome = match outcome {
        Resume::Resumed => "resumed",
        Resume::Ahead => "ahead",
        Resume::Gone => "gone",
        Resume::Over => "over",
    };
    counter!("tokencast_resumes_total", "outcome" => outcome).increment(1);
}

/// No place was left for a connection.
pub fn connection_refused() {
    counter!("tokencast_http_connections_refused_total").increment(1);
}

pub fn request_answered(route: &str, code: u16) {
    counter!("tokencast_http_requests_total", "route" => route.to_owned(), "code" => code.to_string())
        .increment(1);
}

/// One open connection.
#[derive(Debug)]
pub struct Connection(Gauge);

impl Connection {
    pub fn opened() -> Self {
        let gauge = gauge!("tokencast_http_connections");
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A piece of an ended stream was read from the journal.
pub fn piece_read() {
    counter!("tokencast_journal_pieces_read_total").increment(1);
}

/// How a WebTransport handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    Accepted,
    /// The address had to prove itself first.
    Retried,
    Failed,
    Forbidden,
    NotFound,
    Overloaded,
}

pub fn handshake(outcome: Handshake) {
    let outcome = match outcome {
        Handshake::Accepted => "accepted",
        Handshake::Retried => "retried",
        Handshake::Failed => "failed",
        Handshake::Forbidden => "forbidden",
        Handshake::NotFound => "not_found",
        Handshake::Overloaded => "overloaded",
    };
    counter!("tokencast_webtransport_handshakes_total", "outcome" => outcome).increment(1);
}

/// One open session.
#[derive(Debug)]
pub struct Session(Gauge);

impl Session {
    pub fn opened() -> Self {
        let gauge = gauge!("tokencast_webtransport_sessions");
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// One open subscription.
#[derive(Debug)]
pub struct Subscription(Gauge);

impl Subscription {
    pub fn opened() -> Self {
        let gauge = gauge!("tokencast_webtransport_subscriptions");
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A subscription has more to write than its client takes.
pub fn write_blocked() {
    counter!("tokencast_webtransport_blocked_writes_total").increment(1);
}

/// What a session has sent and received since it began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    pub packets_sent: u64,
    pub packets_received: u64,
    pub packets_lost: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

/// Counts what a session did between two looks at it.
pub fn session_traffic(now: &Traffic, before: &Traffic, rtt: Duration) {
    let packets = |direction: &'static str, now: u64, before: u64| {
        counter!("tokencast_webtransport_packets_total", "direction" => direction)
            .increment(now.saturating_sub(before));
    };
    let bytes = |direction: &'static str, now: u64, before: u64| {
        counter!("tokencast_webtransport_bytes_total", "direction" => direction)
            .increment(now.saturating_sub(before));
    };
    packets("sent", now.packets_sent, before.packets_sent);
    packets("received", now.packets_received, before.packets_received);
    packets("lost", now.packets_lost, before.packets_lost);
    bytes("sent", now.bytes_sent, before.bytes_sent);
    bytes("received", now.bytes_received, before.bytes_received);
    histogram!("tokencast_webtransport_rtt_seconds").record(rtt);
}

/// When the certificate in use expires.
pub fn certificate_expires(at: SystemTime) {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    gauge!("tokencast_webtransport_certificate_expiry_timestamp_seconds").set(seconds);
}
