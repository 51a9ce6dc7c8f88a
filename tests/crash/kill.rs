//! SIGKILL at random moments, and at writes and syncs, again and again, under streams of every kind and the viewers on
//! them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::check::{Reference, check};
use crate::gateway::{Gateway, PATIENCE};
use crate::provider::{Provider, request};
use crate::round::{Order, Ran};
use crate::shim::Disk;

/// What is asked of the provider. Same settings, same pace: the moment of the kill makes the difference.
const KINDS: &[&str] = &[
    r#"{"simulate": {"rate": 25, "tokens": 60}}"#,
    r#"{"simulate": {"rate": 300, "tokens": 400, "jitter": 1}}"#,
    r#"{"simulate": {"rate": 0, "tokens": 3000}}"#,
    r#"{"simulate": {"rate": 0, "tokens": 3}}"#,
    r#"{"simulate": {"rate": 100, "tokens": 20, "tool_calls": 3},
        "tools": [{"type": "function", "function": {"name": "look"}}]}"#,
    r#"{"n": 3, "simulate": {"rate": 60, "tokens": 80, "reasoning": 10, "burst": 4}}"#,
    r#"{"simulate": {"rate": 40, "tokens": 80, "token_bytes": 9000}}"#,
    r#"{"simulate": {"rate": 150, "tokens": 150, "line_end": "crlf", "comments": 3, "emoji_halves": true}}"#,
    r#"{"simulate": {"rate": 200, "tokens": 80, "cut_after": 60}}"#,
    r#"{"simulate": {"rate": 100, "first_byte_ms": 300}}"#,
    r#"{"simulate": {"status": 429}}"#,
];
/// Streams of one round and viewers of each, usually and in every eighth round; and streams that are looked at again
/// later.
const SMALL: (usize, usize) = (9, 5);
const LARGE: (usize, usize) = (50, 20);
const LARGE_EVERY: usize = 8;
const REMEMBERED: usize = 24;
/// How long a process that dies at its next write may go without any.
const WRITES_WITHIN: Duration = Duration::from_millis(300);

/// What is known of the past.
#[derive(Default)]
struct Memory {
    ended: Vec<(Order, Reference)>,
    /// Purged or expired.
    gone: Vec<Order>,
    /// Will be gone a second after their end, which lies before this moment.
    fleeting: Vec<(Order, Instant)>,
    calls: HashMap<String, Vec<u64>>,
    interrupted: usize,
    completed: usize,
    latencies: Vec<Duration>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_seen_is_there_after_a_kill() {
    let long = std::env::var("TOKENCAST_LONG").is_ok();
    let seed = std::env::var("TOKENCAST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let kills = if long { 400 } else { 25 };
    println!("seed {seed}, {kills} kills");
    let mut rng = Rng::with_seed(seed);
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "[log]\nlevel = \"warn\"").on_a_disk_without_trace();
    gateway.start().await;
    let mut memory = Memory::default();
    for number in 0..kills {
        round(number, &mut rng, &provider, &mut gateway, &mut memory).await;
    }
    memory.latencies.sort();
    let at = |part: usize| memory.latencies[(memory.latencies.len() - 1) * part / 100];
    println!(
        "{} completed, {} interrupted, {} resumed: p50 {:?}, p99 {:?}, max {:?}",
        memory.completed,
        memory.interrupted,
        memory.latencies.len(),
        at(50),
        at(99),
        at(100)
    );
    assert!(memory.completed > 0 && memory.interrupted > 0, "another pace is needed");
    assert!(at(99) < Duration::from_secs(5), "coming back takes too long");
}

async fn round(
    number: usize,
    rng: &mut Rng,
    provider: &Provider,
    gateway: &mut Gateway,
    memory: &mut Memory,
) {
    let client = gateway.client();
    let mut running = JoinSet::new();
    let (streams, viewers) = if number % LARGE_EVERY == 1 { LARGE } else { SMALL };
    for index in 0..streams {
        let kind = KINDS[rng.usize(..KINDS.len())];
        let marker = format!("r{number}s{index}");
        let order = Order::new(&marker, &request(&marker, kind), rng);
        let late = (0..viewers).map(|_| Duration::from_millis(rng.u64(..200))).collect();
        running.spawn(order.run(client.clone(), late));
    }
    let mut fleeting = Order::new(&format!("r{number}f"), &request(&format!("r{number}f"), KINDS[3]), rng);
    fleeting.id = Some(format!("fleeting-{number}"));
    fleeting.envelope["id"] = fleeting.id.clone().into();
    fleeting.envelope["ttl_s"] = 1.into();
    let mut passing = JoinSet::new();
    passing.spawn(fleeting.run(client.clone(), Vec::new()));
    // This is the random moment; sometimes it lies before any answer.
    sleep(Duration::from_millis(if rng.u8(..6) == 0 { rng.u64(..20) } else { rng.u64(20..1200) })).await;
    let before = client.list().await.unwrap();
    let calls_before = provider.log.received();
    sleep(Duration::from_micros(rng.u64(..3000))).await;
    die(rng, gateway).await;
    // Sometimes the next life ends before it has begun.
    while rng.u8(..4) == 0 {
        gateway.spawn();
        sleep(Duration::from_millis(rng.u64(..40))).await;
        gateway.kill();
    }
    let up = gateway.start().await;
    let after = client.list().await.unwrap();
    same_catalogue(&before, &after);

    let ran: Vec<Ran> = timeout(PATIENCE, running.join_all()).await.expect("all viewers see the end");
    for (marker, calls) in provider.calls() {
        let known = memory.calls.entry(marker).or_default();
        known.extend(calls);
        known.sort_unstable();
        known.dedup();
    }
    let calls = provider.log.received();
    assert!(calls >= calls_before);
    for ran in ran.into_iter().filter(|ran| ran.id.is_some()) {
        let reference = check(&client, &ran).await;
        let came_back = ran.events.iter().flat_map(|seen| seen.greeted.iter().copied());
        memory.latencies.extend(
            came_back
                .filter(|at| *at > up && at.duration_since(up) < PATIENCE)
                .map(|at| at.duration_since(up)),
        );
        if let Some(then) = before.iter().find(|then| then["id"] == *reference.id()) {
            let was_running = then["status"] == "running";
            assert!(
                !was_running
                    || ["interrupted/restart", "completed"].contains(&&*reference.ended_as)
                    || reference.ended_as.starts_with("failed/upstream"),
                "{} was running: {}",
                ran.order.marker,
                reference.ended_as
            );
        }
        match &*reference.ended_as {
            "completed" => memory.completed += 1,
            "interrupted/restart" => memory.interrupted += 1,
            other => assert!(other.starts_with("failed/upstream"), "{other}"),
        }
        memory.ended.push((ran.order, reference));
    }
    let passed = passing.join_all().await;
    memory.fleeting.extend(passed.into_iter().map(|ran| (ran.order, Instant::now())));
    past(rng, provider, &client, memory).await;
}

/// Ends the process: now, before its next write, or between a write and its sync.
async fn die(rng: &mut Rng, gateway: &mut Gateway) {
    let disk = match rng.u8(..3) {
        0 => return gateway.kill(),
        1 => Disk::KillsAtWrite,
        _ => Disk::KillsAtSync,
    };
    gateway.disk(disk);
    if timeout(WRITES_WITHIN, gateway.exit()).await.is_err() {
        gateway.kill();
    }
    gateway.disk(Disk::Works);
}

/// Looks at what earlier lives of the gateway have left.
async fn past(rng: &mut Rng, provider: &Provider, client: &crate::client::Client, memory: &mut Memory) {
    let calls = provider.log.received();
    for (order, reference) in &memory.ended {
        if rng.u8(..4) > 0 {
            continue;
        }
        assert_eq!(Reference::of(client, reference.id()).await, *reference);
        if order.is_named() {
            let replayed = order.post(client).await.unwrap().want(200);
            assert_eq!(replayed.head["idempotency-replayed"], "true");
            assert_eq!(replayed.json()["id"], reference.id());
        }
    }
    let is_over = |(_, ended): &mut (Order, Instant)| ended.elapsed() > Duration::from_secs(4);
    memory.gone.extend(memory.fleeting.extract_if(.., is_over).map(|(order, _)| order));
    for order in &memory.gone {
        let id = order.id.as_deref().expect("only streams with an own id are remembered");
        client.get(&format!("/v1/streams/{id}")).await.unwrap().want(410);
        order.post(client).await.unwrap().want(if order.key.is_some() { 410 } else { 409 });
    }
    assert_eq!(provider.log.received(), calls, "nothing of the past is asked again");
    for (marker, calls) in &memory.calls {
        let is_keyed = |order: &Order| order.marker == *marker && order.key.is_some();
        let keyed = memory.ended.iter().map(|(order, _)| order).chain(&memory.gone).any(is_keyed);
        assert!(!keyed || calls.len() == 1, "{marker} was asked {calls:?}");
    }
    // One more is gone.
    let purged = memory.ended.iter().position(|(order, _)| order.id.is_some());
    if let Some(purged) = purged {
        let (order, reference) = memory.ended.swap_remove(purged);
        client.delete(&format!("/v1/streams/{}?purge=1", reference.id())).await.unwrap().want(200);
        memory.gone.push(order);
        let forgotten = memory.gone.len().saturating_sub(REMEMBERED);
        memory.gone.drain(..forgotten);
    }
    while memory.ended.len() > REMEMBERED {
        memory.ended.swap_remove(rng.usize(..memory.ended.len()));
    }
}

/// What had ended before looks the same after; what ran is still there.
fn same_catalogue(before: &[Value], after: &[Value]) {
    let after: HashMap<&str, &Value> =
        after.iter().map(|stream| (stream["id"].as_str().unwrap(), stream)).collect();
    for then in before {
        let id = then["id"].as_str().unwrap();
        if id.starts_with("fleeting") {
            continue;
        }
        let Some(now) = after.get(id).filter(|now| now["started_at"] == then["started_at"]) else {
            // The list has it a moment before it is durable, and before anybody is told; it may have been asked for
            // again.
            assert_eq!(then["status"], "running", "{then} is lost");
            assert_eq!(then["blocks"], 0, "{then} is lost");
            continue;
        };
        if then["status"] == "running" {
            assert_ne!(now["status"], "running", "{now}");
            assert!(now["blocks"].as_u64() >= then["blocks"].as_u64(), "{then} {now}");
            continue;
        }
        let strip = |stream: &Value| {
            let mut stream = stream.clone();
            stream["viewers"] = 0.into();
            stream
        };
        assert_eq!(strip(then), strip(now));
    }
}
