//! Callers who ask for much, or say much, and do not wait for the answer: others hear nothing of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::crowd::{NO_DISK, Witness};
use crate::gateway::{Gateway, KEY};
use crate::provider::{Provider, request};

/// Callers of each kind at the same time.
const CALLERS: usize = 8;

/// Asks, and is gone when it has been heard.
async fn asks_and_goes(addr: SocketAddr, head: &'static str, body: Arc<str>) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!("{head} HTTP/1.1\r\nhost: {addr}\r\nauthorization: Bearer {KEY}\r\n");
    let length = format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all([&head, &length, &*body].concat().as_bytes()).await.unwrap();
    sleep(Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_much_holds_up_nobody_else() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "[log]\nlevel = \"warn\"\n");
    gateway.variables.push((NO_DISK.0.into(), NO_DISK.1.into()));
    gateway.start().await;
    let client = gateway.client();
    let large = r#"{"simulate": {"tokens": 256, "token_bytes": 65536, "rate": 0}}"#;
    client
        .start(&json!({ "id": "large", "request": request("large", large) }), None)
        .await
        .unwrap()
        .want(201);
    assert_eq!(client.end("large").await["reason"], "completed");
    let steady = r#"{"simulate": {"rate": 60, "tokens": 100000}}"#;
    client.start(&json!({ "id": "s", "request": request("s", steady) }), None).await.unwrap().want(201);
    let mut healthy = Witness::come("s", gateway.http);
    sleep(Duration::from_secs(1)).await;
    let numbers = format!(r#"{{"request":{{"model":"nomodel","x":[1{}]}}}}"#, ",1".repeat(1_900_000));
    for (what, head, body) in [
        ("states", "GET /v1/streams/large", Arc::<str>::from("")),
        ("bodies", "POST /v1/streams", Arc::from(numbers)),
    ] {
        healthy.begin();
        let mut asking = JoinSet::new();
        for _ in 0..CALLERS {
            asking.spawn(asks_and_goes(gateway.http, head, body.clone()));
        }
        asking.join_all().await;
        // It is answered like anybody who has to do with little.
        client.get("/v1/streams/s").await.unwrap().want(200);
        sleep(Duration::from_secs(4)).await;
        healthy.went_on(what);
    }
}
