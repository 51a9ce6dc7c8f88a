//! A provider that says nothing at all, and that as fast as it can: others hear nothing of it.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::crowd::{NO_DISK, Witness};
use crate::gateway::Gateway;
use crate::process::{Process, is_long};
use crate::provider::{Provider, request};

/// What a log retains of a block beside its bytes; what memory may grow by beyond what is retained.
const BLOCK_BYTES: u64 = 8;
const MEMORY_BESIDE: u64 = 48 << 20;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

/// Answers every request with these bytes so many times. Gives its base URL.
async fn flood(body: Vec<u8>, times: usize, tasks: &mut JoinSet<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tasks.spawn(async move {
        let mut answers = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let body = body.clone();
            answers.spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(HEAD).await;
                for _ in 0..times {
                    let _ = stream.write_all(&body).await;
                }
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_floods_holds_up_nobody_else() {
    let comment = |len: usize| [b": ", &vec![b'x'; len][..], b"\n\n"].concat();
    let times = if is_long() { 2 } else { 1 };
    let floods = [
        ("empty", b":\n\n".repeat(20_000), 30 * times),
        ("long", comment(60_000), 500 * times),
        ("huge", comment(900_000), 32 * times),
    ];
    let (provider, mut tasks) = (Provider::start().await, JoinSet::new());
    let mut settings = "[log]\nlevel = \"warn\"\n".to_owned();
    for (name, body, times) in &floods {
        let url = flood(body.clone(), *times, &mut tasks).await;
        settings += &format!(
            "[[providers]]\nname = \"{name}\"\ndialect = \"openai\"\nbase_url = \"{url}\"\nmodels = [\"{name}\"]\n"
        );
    }
    let mut gateway = Gateway::new(&provider.url, &settings);
    gateway.variables.push((NO_DISK.0.into(), NO_DISK.1.into()));
    gateway.start().await;
    let client = gateway.client();
    let kind = r#"{"simulate": {"rate": 60, "tokens": 100000}}"#;
    client.start(&json!({ "id": "s", "request": request("s", kind) }), None).await.unwrap().want(201);
    let mut healthy = Witness::come("s", gateway.http);
    sleep(Duration::from_secs(1)).await;
    let process = Process(gateway.pid());
    for (name, body, times) in &floods {
        healthy.begin();
        let order = json!({ "id": name, "provider": name, "request": request(name, "{}") });
        let memory = process.memory();
        client.start(&order, None).await.unwrap().want(201);
        let begun = Instant::now();
        let end = client.end(name).await;
        assert_eq!((&end["code"], &end["bytes"]), (&json!("upstream_eof"), &json!(body.len() * times)));
        let took = begun.elapsed();
        // It is put away.
        sleep(took + Duration::from_secs(1)).await;
        let grown = process.memory().saturating_sub(memory);
        println!("{name}: ended after {took:?}; +{} MiB", grown >> 20);
        healthy.went_on(name);
        let retained = end["blocks"].as_u64().unwrap() * BLOCK_BYTES + (body.len() * times) as u64;
        assert!(grown < retained + MEMORY_BESIDE, "{name}: memory has grown by {grown}");
        client.delete(&format!("/v1/streams/{name}?purge=1")).await.unwrap();
    }
}
