//! What is gone is gone from the disk, too.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::check::Reference;
use crate::client::Client;
use crate::gateway::{Gateway, LOOK, PATIENCE};
use crate::provider::{Provider, request};

fn rows(database: &Path, sql: &str) -> i64 {
    let database = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    database.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Waits until a count is zero.
async fn none(database: &Path, sql: &str) {
    let begun = Instant::now();
    while rows(database, sql) > 0 {
        assert!(begun.elapsed() < PATIENCE, "still there: {sql}");
        tokio::time::sleep(LOOK).await;
    }
}

async fn start(client: &Client, id: &str, ttl_s: u64, kind: &str) {
    let order = json!({ "id": id, "ttl_s": ttl_s, "request": request(id, kind) });
    client.start(&order, Some(id)).await.unwrap().want(201);
}

const BURST: &str = r#"{"simulate": {"rate": 0, "tokens": 500}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expires_leaves_a_tombstone_and_nothing_else() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "[retention]\ntombstone_s = 3");
    gateway.start().await;
    let client = gateway.client();
    start(&client, "kept", 900, BURST).await;
    client.end("kept").await;
    let kept = Reference::of(&client, "kept").await;
    for index in 0..20 {
        start(&client, &format!("short-{index}"), 1, BURST).await;
    }
    client.end("short-19").await;
    none(&gateway.database, "SELECT count(*) FROM streams WHERE id <> 'kept' AND gone_ms IS NULL").await;
    let database = gateway.database.clone();
    let left = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        move |condition: &str| rows(&database, &format!("{sql} {condition}"))
    };
    let streams = left.clone()("streams");
    assert_eq!(streams("WHERE id <> 'kept'"), 20);
    assert_eq!(streams("WHERE id <> 'kept' AND (metadata IS NOT NULL OR end IS NOT NULL)"), 0);
    let others = "SELECT count(*) FROM chunks WHERE stream <> (SELECT number FROM streams WHERE id = 'kept')";
    none(&gateway.database, others).await;
    none(&gateway.database, "SELECT count(*) FROM journal").await;

    for life in 0..2 {
        client.get("/v1/streams/short-7").await.unwrap().want(410);
        client.get("/v1/streams/short-7/events").await.unwrap().want(410);
        let again = json!({ "id": "short-7", "request": request("short-7", BURST) });
        client.start(&again, None).await.unwrap().want(409);
        client.start(&again, Some("short-7")).await.unwrap().want(410);
        assert_eq!(client.list().await.unwrap().len(), 1);
        if life == 0 {
            gateway.kill();
            gateway.start().await;
        }
    }
    none(&gateway.database, "SELECT count(*) FROM streams WHERE id <> 'kept'").await;
    let begun = Instant::now();
    while client.get("/v1/streams/short-7").await.unwrap().status != 404 {
        assert!(begun.elapsed() < PATIENCE, "a tombstone stays");
        tokio::time::sleep(LOOK).await;
    }
    start(&client, "short-7", 900, BURST).await;
    client.end("short-7").await;
    let again = Reference::of(&client, "short-7").await;
    gateway.kill();
    gateway.start().await;
    for reference in [kept, again] {
        assert_eq!(Reference::of(&client, reference.id()).await, reference);
    }
}

/// How often a text stands in the files of a database.
fn found(database: &Path, canary: &str) -> Vec<(&'static str, usize)> {
    let mut found = Vec::new();
    for end in ["", "-wal"] {
        let Ok(bytes) = std::fs::read(format!("{}{end}", database.display())) else { continue };
        let count = bytes.windows(canary.len()).filter(|window| *window == canary.as_bytes()).count();
        found.push((end, count));
    }
    found
}

/// The canary is a word of the provider's that no other stream has: the id that it gave its answer.
async fn canary(client: &Client, id: &str) -> String {
    let begun = Instant::now();
    loop {
        let state: Value = client.get(&format!("/v1/streams/{id}")).await.unwrap().json();
        if state["blocks"].as_u64() >= Some(30) {
            return state["upstream_id"].as_str().unwrap().to_owned();
        }
        assert!(begun.elapsed() < PATIENCE, "{id} does not get on");
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_purged_is_erased_on_disk() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "");
    gateway.start().await;
    let client = gateway.client();
    // Others that run at the same time share rows of the journal with it, and go on.
    for other in ["other-1", "other-2"] {
        start(&client, other, 900, r#"{"simulate": {"rate": 300, "tokens": 100000}}"#).await;
    }
    start(&client, "running", 900, r#"{"simulate": {"rate": 300, "tokens": 100000}}"#).await;
    start(&client, "ended", 900, r#"{"simulate": {"rate": 300, "tokens": 60}}"#).await;
    let canaries = [("running", canary(&client, "running").await), ("ended", canary(&client, "ended").await)];
    client.end("ended").await;
    for (id, canary) in &canaries {
        let before = found(&gateway.database, canary);
        assert!(before.iter().any(|(_, count)| *count > 0), "{id}: the canary is stored as it is");
        client.delete(&format!("/v1/streams/{id}?purge=1")).await.unwrap();
        let begun = Instant::now();
        while found(&gateway.database, canary).iter().any(|(_, count)| *count > 0) {
            assert!(begun.elapsed() < PATIENCE, "{id}: {:?} of {before:?}", found(&gateway.database, canary));
            tokio::time::sleep(LOOK).await;
        }
        println!("{id}: {before:?}, erased within {:?}", begun.elapsed());
    }
    gateway.kill();
    gateway.start().await;
    for (id, canary) in &canaries {
        client.get(&format!("/v1/streams/{id}")).await.unwrap().want(410);
        assert!(found(&gateway.database, canary).iter().all(|(_, count)| *count == 0));
    }
    for other in ["other-1", "other-2"] {
        assert_eq!(Reference::of(&client, other).await.ended_as, "interrupted/restart");
    }
}
