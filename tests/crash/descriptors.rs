//! A gateway that has no file descriptors left: it waits for some, and goes on with what it has.

use std::net::TcpStream as Socket;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::check::Reference;
use crate::crowd::Fan;
use crate::gateway::{Gateway, LOOK, PATIENCE};
use crate::process::Process;
use crate::provider::{Provider, request};

const DESCRIPTORS: u64 = 256;
const HOGS: usize = 300;
/// How long it is looked at, and how much of that it may work.
const LOOKING: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_it_neither_spins_nor_stops() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "[log]\nlevel = \"error\"");
    gateway.variables.push(("TOKENCAST_HTTP__FIRST_BYTE_S".into(), "60".into()));
    gateway.descriptors = Some(DESCRIPTORS);
    gateway.start().await;
    let client = gateway.client();
    let kind = r#"{"simulate": {"rate": 10, "tokens": 100000}}"#;
    client.start(&json!({ "id": "s", "request": request("s", kind) }), None).await.unwrap().want(201);
    let mut viewer = Fan::new("s");
    viewer.connect(gateway.http).await;
    while viewer.cursor < 3 {
        assert!(viewer.read().await);
    }
    // Callers that say nothing take all there are, and then stand in the backlog.
    let mut hogs = Vec::new();
    for _ in 0..HOGS {
        hogs.push(TcpStream::connect(gateway.http).await.unwrap());
    }
    let process = Process(gateway.pid());
    let begun = Instant::now();
    while process.descriptors() < DESCRIPTORS as usize - 48 {
        assert!(begun.elapsed() < PATIENCE, "it has {} open", process.descriptors());
        tokio::time::sleep(LOOK).await;
    }
    let (begun, worked, cursor) = (Instant::now(), process.worked(), viewer.cursor);
    while begun.elapsed() < LOOKING {
        assert!(viewer.read().await, "who is there already is served: what it hears is in the journal");
    }
    let worked = process.worked() - worked;
    println!("{} descriptors open: works {worked:?} in {:?}", process.descriptors(), begun.elapsed());
    assert!(viewer.cursor > cursor + 5, "the journal goes on");
    assert!(worked < LOOKING / 5, "it spins: {worked:?} in {LOOKING:?}");

    // As soon as there are some again, everything is as before.
    drop(hogs);
    let begun = Instant::now();
    let answered = loop {
        match timeout(PATIENCE, client.get("/v1/streams/s")).await.expect("it answers") {
            Ok(answer) if answer.status == 200 => break begun.elapsed(),
            _ => tokio::time::sleep(LOOK).await,
        }
        assert!(begun.elapsed() < PATIENCE);
    };
    println!("answers again after {answered:?}");
    let end = client.delete("/v1/streams/s").await.unwrap();
    assert!([200, 202].contains(&end.status));
    viewer.read_on().await;
    assert!(viewer.has_ended);
    // The listener of operations has waited as well.
    let mut late = TcpStream::connect(gateway.ops).await.unwrap();
    assert!(timeout(Duration::from_millis(50), late.read(&mut [0])).await.is_err(), "it is open");
    gateway.readiness(200).await;
}

fn limit(pid: u32, files: usize) {
    let nofile = format!("--nofile={files}:{files}");
    assert!(Command::new("prlimit").args(["--pid", &pid.to_string(), &nofile]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_connections_wait_and_streams_go_on() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "");
    gateway.variables.push(("TOKENCAST_HTTP__FIRST_BYTE_S".into(), "600".into()));
    gateway.start().await;
    let (client, pid) = (gateway.client(), gateway.pid());
    let process = Process(pid);
    let order =
        json!({ "id": "one", "request": request("a", r#"{"simulate": {"rate": 50, "tokens": 250}}"#) });
    client.start(&order, None).await.unwrap().want(201);
    while client.get("/v1/streams/one").await.unwrap().json()["blocks"] == 0 {
        tokio::time::sleep(LOOK).await;
    }
    // Less than the connections that come now.
    limit(pid, process.descriptors() + 10);
    let crowd: Vec<Socket> = (0..40).map(|_| Socket::connect(gateway.http).unwrap()).collect();
    let begun = Instant::now();
    while !gateway.said().contains("connections cannot be accepted") {
        assert!(begun.elapsed() < PATIENCE, "it accepts them all");
        tokio::time::sleep(LOOK).await;
    }
    let before = process.worked();
    // Long enough for a loop that spins to show, and for the stream to end.
    tokio::time::sleep(LOOKING).await;
    let worked = process.worked() - before;
    assert!(worked < LOOKING / 5, "it spins: {worked:?} in {LOOKING:?}");
    assert_eq!(gateway.said().matches("connections cannot be accepted").count(), 1, "said once");
    drop(crowd);
    let end = client.end("one").await;
    assert_eq!(end["reason"], "completed", "{end}");
    let reference = Reference::of(&client, "one").await;
    // It was durable all the while.
    gateway.kill();
    gateway.start().await;
    assert_eq!(Reference::of(&gateway.client(), "one").await, reference);
}

/// Connections stay below the limit that the process was started under, so that the rest keeps its descriptors.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_low_limit_lowers_the_connections() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "");
    gateway.descriptors = Some(100);
    gateway.start().await;
    let said = gateway.said();
    assert!(said.contains("http.connections_max") && said.contains("\"granted\":68"), "{said}");
    let crowd: Vec<Socket> = (0..100).map(|_| Socket::connect(gateway.http).unwrap()).collect();
    let begun = Instant::now();
    loop {
        let (_, metrics) = gateway.ops("/metrics").await;
        let sample = "tokencast_refused_total{listener=\"public\",reason=\"overloaded\"} ";
        let refused = metrics.lines().find_map(|line| line.strip_prefix(sample)?.parse::<u32>().ok());
        if refused >= Some(32) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{metrics}");
        tokio::time::sleep(LOOK).await;
    }
    drop(crowd);
    let client = gateway.client();
    let order = json!({ "id": "one", "request": request("a", r#"{"simulate": {"rate": 0, "tokens": 50}}"#) });
    while client.start(&order, None).await.map_or(503, |answer| answer.status) >= 500 {
        tokio::time::sleep(LOOK).await;
    }
    assert_eq!(client.end("one").await["reason"], "completed");
    assert!(!gateway.said().contains("cannot be accepted"), "{}", gateway.said());
}
