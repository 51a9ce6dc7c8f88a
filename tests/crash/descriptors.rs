//! A gateway that has no file descriptors left: it waits for some, and goes on with what it has.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

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
    viewer.connect(gateway.http, None).await;
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
