//! Viewers that never read cost what the sockets are allowed to hold, and nobody else's time.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::crowd::{Fan, connect, percentiles};
use crate::gateway::Gateway;
use crate::process::{Process, is_long, may_open, tcp_memory, unsent};
use crate::provider::{Provider, request};

/// The least that a socket can ask for.
const RECEIVE_BYTES: u32 = 4096;
/// What one viewer may cost: in the gateway, in its socket, and in the kernel all told (1.5 GiB for 10,000).
const MEMORY_EACH: u64 = 40 * 1024;
const UNSENT_EACH: u64 = 128 * 1024;
const KERNEL_EACH: u64 = 157 * 1024;
/// What the log and everything else may grow by meanwhile.
const MEMORY_BESIDE: u64 = 48 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_that_never_read_cost_what_is_allowed() {
    let (viewers, lasting) =
        if is_long() { (10_000, Duration::from_secs(60)) } else { (500, Duration::from_secs(6)) };
    may_open(viewers as u64 + 200);
    let provider = Provider::start().await;
    // They stay for the whole of it.
    let mut gateway = Gateway::new(&provider.url, "[log]\nlevel = \"warn\"");
    gateway.variables.push(("TOKENCAST_HTTP__STALLED_S".into(), "600".into()));
    gateway.start().await;
    let client = gateway.client();
    // Enough to fill every buffer, at sixty frames a second.
    let kind = r#"{"simulate": {"rate": 60, "tokens": 100000, "token_bytes": 1000}}"#;
    client.start(&json!({ "id": "s", "request": request("s", kind) }), None).await.unwrap().want(201);
    let process = Process(gateway.pid());
    let mut healthy = Fan::new("s");
    healthy.connect(gateway.http, None).await;
    while healthy.cursor < 20 {
        assert!(healthy.read().await);
    }
    let (memory, kernel) = (process.memory(), tcp_memory());

    let silent =
        connect((0..viewers).map(|_| Fan::new("s")).collect(), gateway.http, Some(RECEIVE_BYTES)).await;
    healthy.gaps.clear();
    let (begun, mut most_kernel) = (Instant::now(), 0);
    while begun.elapsed() < lasting {
        assert!(healthy.read().await, "the healthy one is cut off");
        most_kernel = most_kernel.max(tcp_memory());
    }
    let (grown, waiting) = (process.memory().saturating_sub(memory), unsent(gateway.http.port()));
    let kernel = most_kernel.saturating_sub(kernel);
    let (p50, p99, most) = percentiles(std::mem::take(&mut healthy.gaps));
    println!(
        "{viewers} silent viewers for {lasting:?}: +{} KiB each, {} KiB each unsent, {} KiB each in the kernel; \
         a healthy one hears every {p50:?}, p99 {p99:?}, at most {most:?}",
        grown / 1024 / viewers as u64,
        waiting / 1024 / viewers as u64,
        kernel / 1024 / viewers as u64,
    );
    let viewers = viewers as u64;
    assert!(waiting > viewers * 16 * 1024, "their sockets are full: {waiting}");
    assert!(waiting <= viewers * UNSENT_EACH, "{waiting} bytes wait in sockets");
    assert!(grown <= viewers * MEMORY_EACH + MEMORY_BESIDE, "memory has grown by {grown}");
    // Others use the same kernel, which only shows where there are few.
    assert!(!is_long() || kernel <= viewers * KERNEL_EACH, "the kernel holds {kernel}");
    drop(silent);
}
