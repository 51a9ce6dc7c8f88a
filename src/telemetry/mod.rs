//! Verbs for what happens; the only module that names a metric.
//!
//! Names are `tokencast_*` in base units. Labels are bounded: providers and keys of the configuration, views,
//! transports, reasons and codes; never an id, a user, a path or a model.

mod auth;
mod http;
mod journal;
mod stream;
mod viewing;
mod webtransport;

use std::sync::{Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use self::auth::{denied, keys_read};
pub use self::http::{
    Connection, Listener, connection_refused, http_certificate_expires, refused, request_answered,
};
pub use self::journal::{Journal, piece_read, sample_database, sample_journal};
pub use self::stream::{
    Appending, Breaker, breaker_is, call_refused, connect_retried, flush_forced, provider_is_known,
    stream_ended, stream_interrupted, stream_started, tokens_spent,
};
pub use self::viewing::{Audience, Resume, Viewing, limit_reached, refused_by, resumed};
pub use self::webtransport::{
    Handshake, Session, Subscription, Traffic, certificate_expires, handshake, session_traffic, write_blocked,
};

const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const COUNTS: [f64; 12] = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 512.0, 2048.0, 8192.0];

/// A panic in this room of the code ended what it happened in.
pub fn panicked(room: &'static str) {
    counter!("tokencast_panics_total", "where" => room).increment(1);
}

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
                    builder.set_buckets_for_metric(Matcher::Suffix("_blocks".into()), &COUNTS)
                })
                .and_then(|builder| {
                    builder.set_buckets_for_metric(Matcher::Suffix("_records".into()), &COUNTS)
                });
            let handle =
                builder.expect("the buckets are not empty").install_recorder().expect("installed only here");
            describe();
            // What has not happened yet is 0, and not missing.
            for name in [
                "tokencast_http_connections_refused_total",
                "tokencast_journal_pieces_read_total",
                "tokencast_webtransport_blocked_writes_total",
            ] {
                counter!(name).increment(0);
            }
            for limit in
                ["quotas.running_max", "quotas.viewers_max", "limits.viewers_max", "limits.memory_bytes_max"]
            {
                counter!("tokencast_limit_refusals_total", "limit" => limit).increment(0);
            }
            counter!("tokencast_denied_total", "code" => "unauthorized").increment(0);
            for outcome in ["taken", "refused"] {
                counter!("tokencast_keys_reads_total", "outcome" => outcome).increment(0);
            }
            for room in ["cast", "http", "journal", "server", "upstream", "view", "webtransport"] {
                counter!("tokencast_panics_total", "where" => room).increment(0);
            }
            for listener in Listener::ALL {
                let listener = listener.label();
                counter!("tokencast_refused_total", "listener" => listener, "reason" => "overloaded")
                    .increment(0);
            }
            gauge!("tokencast_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
            handle
        })
        .clone()
}

fn describe() {
    metrics_process::Collector::default().describe();
    describe_gauge!("tokencast_build_info", "1, with the version as a label");
    describe_counter!("tokencast_panics_total", "Panics, by the room of the code whose task they ended");
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
    describe_gauge!("tokencast_upstream_breaker", "Whether a provider is called: 0, 1 to see, 2 left alone");
    describe_counter!("tokencast_upstream_refused_total", "Calls not made, to a provider that is left alone");
    describe_counter!("tokencast_tokens_total", "Tokens of providers, as they count them or as estimated");
    describe_counter!(
        "tokencast_limit_refusals_total",
        "Starts and viewers turned away, by the limit in the way"
    );
    describe_gauge!("tokencast_viewers", "Viewers attached, by view and transport");
    describe_counter!("tokencast_deliveries_total", "Batches handed to a viewer's connection");
    describe_counter!("tokencast_delivered_bytes_total", Unit::Bytes, "Bytes handed to viewers' connections");
    describe_histogram!(
        "tokencast_viewer_lag_blocks",
        "Blocks that a viewer was behind when it took a batch, at most within a second"
    );
    describe_counter!("tokencast_resumes_total", "Viewers that came with a cursor, by outcome");
    describe_counter!("tokencast_http_requests_total", "HTTP requests, by route and status code");
    describe_counter!("tokencast_denied_total", "Callers who were refused, by error code");
    describe_counter!("tokencast_keys_reads_total", "Times that auth.keys_file was read again, by outcome");
    describe_counter!("tokencast_refused_total", "What was refused, by listener and reason");
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
    describe_counter!("tokencast_journal_commits_total", "Group commits that succeeded");
    describe_histogram!(
        "tokencast_journal_commit_seconds",
        Unit::Seconds,
        "A group commit, from its first statement to its sync"
    );
    describe_histogram!("tokencast_journal_commit_records", "Records in a group commit");
    describe_histogram!(
        "tokencast_journal_durable_seconds",
        Unit::Seconds,
        "From the append of a frame to its being durable"
    );
    describe_counter!(
        "tokencast_journal_written_bytes_total",
        Unit::Bytes,
        "Bytes of the rows of the journal table"
    );
    describe_counter!("tokencast_journal_sealed_streams_total", "Streams moved into chunks of their own");
    describe_counter!(
        "tokencast_journal_sealed_bytes_total",
        Unit::Bytes,
        "Compressed bytes of those chunks"
    );
    describe_gauge!("tokencast_journal_waiting_records", "Records that wait for a commit to begin");
    describe_gauge!("tokencast_journal_owed_records", "Records that could not be committed and have to be");
    describe_gauge!("tokencast_journal_database_bytes", Unit::Bytes, "Size of the database");
    describe_gauge!("tokencast_journal_wal_bytes", Unit::Bytes, "Size of its write-ahead log");
    describe_gauge!("tokencast_journal_free_bytes", Unit::Bytes, "Pages of the database that hold nothing");
    describe_gauge!("tokencast_journal_trouble", "1 while the journal takes nothing");
    describe_gauge!("tokencast_memory_held_bytes", Unit::Bytes, "Bytes held by logs and their renderings");
    describe_gauge!("tokencast_memory_limit_bytes", Unit::Bytes, "limits.memory_bytes_max");
    describe_gauge!("tokencast_disk_used_bytes", Unit::Bytes, "Bytes that the journal uses of the disk");
    describe_gauge!("tokencast_disk_limit_bytes", Unit::Bytes, "limits.disk_bytes_max");
}

/// Seconds since 1970.
fn timestamp(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Reads what is sampled and not counted: the budgets of memory and disk, and the figures of the process.
pub fn sample(memory: (usize, usize), disk: (u64, u64)) {
    gauge!("tokencast_memory_held_bytes").set(memory.0 as f64);
    gauge!("tokencast_memory_limit_bytes").set(memory.1 as f64);
    gauge!("tokencast_disk_used_bytes").set(disk.0 as f64);
    gauge!("tokencast_disk_limit_bytes").set(disk.1 as f64);
    metrics_process::Collector::default().collect();
}
