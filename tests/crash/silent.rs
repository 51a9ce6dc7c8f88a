//! Viewers that never read cost what the sockets are allowed to hold, and nobody else's time: not when they come, nor
//! while they stay, nor when all of them are sent away.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use crate::crowd::{Witness, percentiles, silent};
use crate::gateway::{Gateway, LOOK, PATIENCE};
use crate::process::{Process, is_long, may_open, tcp_memory, unsent};
use crate::provider::{Provider, request};

/// The least that a socket can ask for.
const RECEIVE_BYTES: usize = 4096;
/// What one viewer may cost: in the gateway, in its socket, and in the kernel all told (1.5 GiB for 10,000).
const MEMORY_EACH: u64 = 40 * 1024;
const UNSENT_EACH: u64 = 128 * 1024;
const KERNEL_EACH: u64 = 157 * 1024;
/// What the log and everything else may grow by meanwhile.
const MEMORY_BESIDE: u64 = 48 << 20;
/// How long somebody else may hear nothing, who is told something sixty times a second: all others come within a second,
/// and each is some work.
const GAP: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_that_never_read_cost_what_is_allowed() {
    let (viewers, lasting) =
        if is_long() { (10_000, Duration::from_secs(60)) } else { (500, Duration::from_secs(6)) };
    // Nobody is sent away while the others still come.
    let stalled = lasting + if is_long() { PATIENCE } else { Duration::from_secs(4) };
    may_open(viewers as u64 + 200);
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "[log]\nlevel = \"warn\"");
    gateway.variables.push(("TOKENCAST_HTTP__STALLED_S".into(), stalled.as_secs().to_string().into()));
    gateway.start().await;
    let client = gateway.client();
    // Enough to fill every buffer, at sixty frames a second.
    let kind = r#"{"simulate": {"rate": 60, "tokens": 100000, "token_bytes": 1000}}"#;
    client.start(&json!({ "id": "s", "request": request("s", kind) }), None).await.unwrap().want(201);
    let process = Process(gateway.pid());
    let mut healthy = Witness::come("s", gateway.http);
    sleep(Duration::from_secs(1)).await;
    healthy.gaps();
    let mut beside = |what: &str| {
        let (p50, p99, most) = percentiles(healthy.gaps());
        println!("{what}: a healthy one hears every {p50:?}, p99 {p99:?}, at most {most:?}");
        assert!(most < GAP, "{what}: a healthy viewer has heard nothing for {most:?}");
    };
    let (memory, kernel) = (process.memory(), tcp_memory());

    let watching = async || {
        let (_, text) = gateway.ops("/metrics").await;
        let lines = text.lines().filter(|line| line.starts_with("tokencast_viewers{"));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum::<usize>()
    };
    let addr = gateway.http;
    let coming = tokio::task::spawn_blocking(move || silent(viewers, "s", addr, RECEIVE_BYTES));
    let silent = coming.await.unwrap();
    // All of them are answered.
    while watching().await <= viewers {
        sleep(LOOK).await;
    }
    beside("they come");
    let (begun, mut most_kernel) = (Instant::now(), 0);
    while begun.elapsed() < lasting {
        sleep(LOOK * 10).await;
        most_kernel = most_kernel.max(tcp_memory());
    }
    let (grown, waiting) = (process.memory().saturating_sub(memory), unsent(gateway.http.port()));
    let kernel = most_kernel.saturating_sub(kernel);
    beside("they stay");
    let viewers = viewers as u64;
    println!(
        "{viewers} silent viewers for {lasting:?}: +{} KiB each, {} KiB each unsent, {} KiB each in the kernel",
        grown / 1024 / viewers,
        waiting / 1024 / viewers,
        kernel / 1024 / viewers,
    );
    assert!(waiting > viewers * 16 * 1024, "their sockets are full: {waiting}");
    assert!(waiting <= viewers * UNSENT_EACH, "{waiting} bytes wait in sockets");
    assert!(grown <= viewers * MEMORY_EACH + MEMORY_BESIDE, "memory has grown by {grown}");
    // Others use the same kernel, which only shows where there are few.
    assert!(!is_long() || kernel <= viewers * KERNEL_EACH, "the kernel holds {kernel}");

    let begun = Instant::now();
    while watching().await > 1 {
        assert!(begun.elapsed() < stalled + PATIENCE, "not all of them are sent away");
        sleep(Duration::from_millis(100)).await;
    }
    beside("they are sent away");
    drop(silent);
}
