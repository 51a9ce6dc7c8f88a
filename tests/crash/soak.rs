//! Churn: streams and viewers come and go, and in the end everything is as it was.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::Client;
use crate::crowd::Fan;
use crate::gateway::{Gateway, LOOK, PATIENCE};
use crate::process::{Process, is_long};
use crate::provider::{Provider, request};

/// Streams at a time, and viewers that each of them has in its life.
const STREAMS: usize = 20;
const VIEWERS: usize = 6;
const KINDS: [&str; 4] = [
    r#"{"simulate": {"rate": 200, "tokens": 60}}"#,
    r#"{"simulate": {"rate": 0, "tokens": 300}}"#,
    r#"{"simulate": {"rate": 300, "tokens": 80, "cut_after": 40}}"#,
    r#"{"simulate": {"rate": 100, "tokens": 100000}}"#,
];
/// What may stay of memory: caches, and what the allocator does not give back.
const MEMORY_LEFT: u64 = 32 << 20;

/// What a gateway has when nobody wants anything.
#[derive(Debug)]
struct Baseline {
    descriptors: usize,
    threads: u64,
    series: usize,
    memory: u64,
}

impl Baseline {
    /// Waits until nothing is left of the streams, and looks.
    async fn of(gateway: &Gateway) -> Self {
        let begun = Instant::now();
        let text = loop {
            let (_, text) = gateway.ops("/metrics").await;
            let is_zero = |name: &str| {
                text.lines().filter(|line| line.starts_with(name)).all(|line| line.ends_with(" 0"))
            };
            if ["tokencast_viewers", "tokencast_streams_active", "tokencast_memory_held_bytes"]
                .iter()
                .all(|name| is_zero(name))
            {
                break text;
            }
            assert!(begun.elapsed() < PATIENCE, "something is left:\n{text}");
            sleep(LOOK * 10).await;
        };
        let process = Process(gateway.pid());
        // What was closed a moment ago is still being closed.
        let mut descriptors = process.descriptors();
        for _ in 0..100 {
            sleep(LOOK).await;
            descriptors = descriptors.min(process.descriptors());
        }
        let series = text.lines().filter(|line| line.starts_with("tokencast_")).count();
        Self { descriptors, threads: process.threads(), series, memory: process.memory() }
    }
}

/// One stream from its start to its purge, with viewers that stay, leave, or were never wanted.
async fn life(client: Client, addr: std::net::SocketAddr, id: String, kind: &'static str) {
    let order = json!({ "id": id, "ttl_s": 1, "request": request(&id, kind) });
    client.start(&order, None).await.unwrap().want(201);
    let mut viewers = JoinSet::new();
    for index in 0..VIEWERS {
        let mut fan = Fan::new(&id);
        viewers.spawn(async move {
            sleep(Duration::from_millis(fastrand::u64(..300))).await;
            fan.connect(addr).await;
            for _ in 0..if index % 3 == 0 { 3 } else { usize::MAX } {
                if !fan.read().await {
                    return;
                }
            }
        });
    }
    sleep(Duration::from_millis(fastrand::u64(300..700))).await;
    let purged = client.delete(&format!("/v1/streams/{id}?purge=1")).await.unwrap();
    // One that has ended long ago is gone by itself.
    assert!([200, 202, 410].contains(&purged.status), "{purged:?}");
    viewers.join_all().await;
}

async fn churn(gateway: &Gateway, name: &str, lasting: Duration) -> usize {
    let begun = Instant::now();
    let (mut lives, mut count) = (JoinSet::new(), 0);
    while begun.elapsed() < lasting {
        while lives.len() < STREAMS {
            lives.spawn(life(
                gateway.client(),
                gateway.http,
                format!("{name}-{count}"),
                KINDS[count % KINDS.len()],
            ));
            count += 1;
        }
        lives.join_next().await.expect("there are some").unwrap();
    }
    lives.join_all().await;
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_soak_everything_is_as_it_was() {
    let lasting = Duration::from_secs(if is_long() { 600 } else { 8 });
    let provider = Provider::start().await;
    let settings = "[log]\nlevel = \"error\"\n[retention]\ntombstone_s = 1";
    let mut gateway = Gateway::new(&provider.url, settings);
    gateway.start().await;
    // Everything has happened once: threads, series and caches are there.
    churn(&gateway, "warm", lasting / 4).await;
    let before = Baseline::of(&gateway).await;
    let streams = churn(&gateway, "soak", lasting).await;
    let after = Baseline::of(&gateway).await;
    println!("{streams} streams in {lasting:?}: {before:?}, and then {after:?}");
    assert!(after.descriptors <= before.descriptors + 2, "descriptors are left");
    assert!(after.threads <= before.threads + 2, "threads are left");
    assert!(after.series <= before.series + 40, "metrics have grown with the streams");
    assert!(after.memory <= before.memory + MEMORY_LEFT, "memory is left");
    // What a later start finds.
    gateway.kill();
    gateway.start().await;
    assert_eq!(gateway.client().list().await.unwrap().len(), 0);
}
