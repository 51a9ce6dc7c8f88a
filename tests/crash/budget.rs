//! A budget of the disk: near it what has ended goes early, and what is there stays whole.

use std::time::Instant;

use serde_json::json;

use crate::gateway::{Gateway, LOOK, PATIENCE};
use crate::provider::{Provider, request};

const DISK_BYTES_MAX: u64 = 3_000_000;
const BIG: &str = r#"{"simulate": {"rate": 0, "tokens": 2000}}"#;
const STREAMS: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_budget_of_the_disk_takes_what_has_ended() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, &format!("[limits]\ndisk_bytes_max = {DISK_BYTES_MAX}"));
    gateway.start().await;
    let client = gateway.client();
    let status = async |id: &str| client.get(&format!("/v1/streams/{id}")).await.unwrap().status;
    for number in 0..STREAMS {
        let id = format!("s{number}");
        let order = json!({ "id": id, "request": request(&id, BIG) });
        let begun = Instant::now();
        // Where ended streams have not gone yet there is no room for a moment.
        loop {
            match client.start(&order, None).await.unwrap().status {
                201 => break,
                503 => assert!(begun.elapsed() < PATIENCE, "{id}: nothing goes"),
                other => panic!("{id}: {other}"),
            }
            tokio::time::sleep(LOOK).await;
        }
        client.end(&id).await;
    }
    let begun = Instant::now();
    while status("s0").await != 410 {
        assert!(begun.elapsed() < PATIENCE, "the oldest one stays");
        tokio::time::sleep(LOOK).await;
    }
    let last = format!("s{}", STREAMS - 1);
    let raw = client.get(&format!("/v1/streams/{last}/raw")).await.unwrap();
    assert!(raw.status == 410 || raw.complete, "what is there is whole");
    let size = std::fs::metadata(&gateway.database).unwrap().len();
    assert!(size < 3 * DISK_BYTES_MAX, "{size} bytes are kept of the disk");
}
