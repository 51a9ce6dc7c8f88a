//! Writes and syncs that fail, processes that die between them or stand still, and clocks that are wrong.

use serde_json::json;

use crate::client::Client;
use crate::gateway::Gateway;
use crate::provider::{Provider, request};
use crate::shim::Disk;

const SLOW: &str = r#"{"simulate": {"rate": 50, "tokens": 100000}}"#;
const QUICK: &str = r#"{"simulate": {"rate": 0, "tokens": 20}}"#;

async fn start(client: &Client, id: &str, kind: &str) -> u16 {
    client.start(&json!({ "id": id, "request": request(id, kind) }), None).await.unwrap().status
}

/// A gateway with a stream that has ended and one that runs; and what the first one has said.
async fn house(provider: &Provider) -> (Gateway, Client, Vec<u8>) {
    let mut gateway = Gateway::new(&provider.url, "").on_a_disk();
    gateway.start().await;
    let client = gateway.client();
    assert_eq!(start(&client, "ended", QUICK).await, 201);
    client.end("ended").await;
    let ended = client.get("/v1/streams/ended/raw").await.unwrap().want(200);
    assert!(ended.complete);
    assert_eq!(start(&client, "runs", SLOW).await, 201);
    while client.get("/v1/streams/runs").await.unwrap().want(200).json()["blocks"] == 0 {}
    (gateway, client, ended.body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_fail_are_said_and_it_heals() {
    for disk in [Disk::WritesFail, Disk::Full, Disk::ReadOnly] {
        let provider = Provider::start().await;
        let (gateway, client, ended) = house(&provider).await;
        gateway.disk(disk);
        let end = client.end("runs").await;
        assert_eq!((&end["reason"], &end["code"]), (&json!("failed"), &json!("storage_error")), "{disk:?}");
        gateway.readiness(503).await;
        assert_eq!(start(&client, "refused", QUICK).await, 507, "{disk:?}");
        let raw = client.get("/v1/streams/ended/raw").await.unwrap().want(200);
        assert_eq!(
            (raw.complete, raw.body == ended),
            (true, true),
            "{disk:?}: what has ended stays readable"
        );
        gateway.disk(Disk::Works);
        gateway.readiness(200).await;
        assert_eq!(start(&client, "again", QUICK).await, 201, "{disk:?}");
        assert_eq!(client.end("again").await["reason"], "completed", "{disk:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_behind_a_sync_that_failed() {
    let provider = Provider::start().await;
    let (mut gateway, client, ended) = house(&provider).await;
    gateway.disk(Disk::SyncsFail);
    let end = client.end("runs").await;
    assert_eq!((&end["reason"], &end["code"]), (&json!("failed"), &json!("storage_error")));
    let seen = client.get("/v1/streams/runs/raw").await.unwrap().body;
    gateway.readiness(503).await;
    assert_eq!(start(&client, "refused", QUICK).await, 507);

    // The disk works again, and what it holds of the failed sync is not known: only a restart looks.
    gateway.disk(Disk::Works);
    let writes = || std::fs::metadata(gateway.trace()).unwrap().len();
    let before = writes();
    assert_eq!(start(&client, "refused", QUICK).await, 507);
    gateway.readiness(503).await;
    assert_eq!(writes(), before, "something was written behind it");
    let raw = client.get("/v1/streams/ended/raw").await.unwrap().want(200);
    assert!(raw.complete && raw.body == ended);

    gateway.kill();
    gateway.start().await;
    gateway.readiness(200).await;
    // What was said is so, although more of it may be on the disk than anybody was shown.
    let raw = client.get("/v1/streams/runs/raw").await.unwrap();
    assert_eq!(raw.body, seen);
    assert_eq!(client.end("runs").await, end);
    gateway.kill();
    gateway.start().await;
    assert_eq!(client.get("/v1/streams/runs/raw").await.unwrap().body, seen);
    assert_eq!(client.end("runs").await, end);
    assert_eq!(start(&client, "again", QUICK).await, 201);
    assert_eq!(client.end("again").await["reason"], "completed");
}

/// Between a write and its sync, and before either: what was seen is there, whatever the process was doing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_between_write_and_sync_takes_nothing_that_was_seen() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "").on_a_disk();
    for (round, disk) in [Disk::KillsAtWrite, Disk::KillsAtSync].into_iter().cycle().take(8).enumerate() {
        gateway.disk(Disk::Works);
        gateway.start().await;
        let client = gateway.client();
        let id = format!("s{round}");
        assert_eq!(start(&client, &id, SLOW).await, 201);
        let path = format!("/v1/streams/{id}/raw");
        let reading = async { client.get(&path).await.unwrap().body };
        let dying = async {
            tokio::time::sleep(std::time::Duration::from_millis(100 + 30 * round as u64)).await;
            gateway.disk(disk);
        };
        let (seen, ()) = tokio::join!(reading, dying);
        gateway.exit().await;
        gateway.disk(Disk::Works);
        gateway.start().await;
        let raw = client.get(&path).await.unwrap();
        assert!(raw.body.starts_with(&seen), "round {round}: {} bytes became {}", seen.len(), raw.body.len());
        let state = client.get(&format!("/v1/streams/{id}")).await.unwrap().want(200).json();
        assert_eq!(state["end"]["code"], "restart", "round {round}");
        gateway.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stood_still_goes_on() {
    const PACED: &str = r#"{"simulate": {"rate": 200, "tokens": 300}}"#;
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "");
    gateway.start().await;
    let client = gateway.client();
    assert_eq!(start(&client, "s", PACED).await, 201);
    let reading = client.get("/v1/streams/s/raw");
    let standing = async {
        while client.get("/v1/streams/s").await.unwrap().want(200).json()["blocks"] == 0 {}
        gateway.signal("STOP");
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        gateway.signal("CONT");
    };
    let (raw, ()) = tokio::join!(reading, standing);
    let (raw, end) = (raw.unwrap(), client.end("s").await);
    assert_eq!((raw.complete, &end["reason"]), (true, &json!("completed")));
    assert_eq!(end["hash"], tokencast::crypto::hex(&tokencast::crypto::sha256(&raw.body)));
}

/// While a process runs nobody's wall clock counts; over a restart it says how old a stream is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_that_is_set_takes_nothing_from_a_process_that_runs() {
    const DAY: i64 = 86_400;
    let provider = Provider::start().await;
    let (mut gateway, client, ended) = house(&provider).await;
    for offset in [DAY, -DAY] {
        gateway.clock(offset);
        let raw = client.get("/v1/streams/ended/raw").await.unwrap().want(200);
        assert!(raw.complete && raw.body == ended, "{offset}");
        let id = format!("at{offset}");
        assert_eq!(start(&client, &id, QUICK).await, 201, "{offset}");
        assert_eq!(client.end(&id).await["reason"], "completed", "{offset}");
    }
    // Set back, nothing is too old; set forth by more than its ttl, it is.
    gateway.kill();
    gateway.start().await;
    client.get("/v1/streams/ended/raw").await.unwrap().want(200);
    gateway.kill();
    gateway.clock(DAY);
    gateway.start().await;
    client.get("/v1/streams/ended/raw").await.unwrap().want(410);
}
