//! What a gateway tells of its journal: in a process of its own the figures are exact.

use std::collections::HashMap;
use std::time::Instant;

use rusqlite::Connection;
use serde_json::json;

use crate::client::Client;
use crate::gateway::{Gateway, LOOK, PATIENCE};
use crate::provider::{Provider, request};

async fn start(client: &Client, id: &str, kind: &str) {
    let order = json!({ "id": id, "request": request(id, kind) });
    client.start(&order, None).await.unwrap().want(201);
}

/// Values by name, those without labels and sums over all labels of the others.
async fn metrics(gateway: &Gateway) -> HashMap<String, f64> {
    let (status, text) = gateway.ops("/metrics").await;
    assert_eq!(status, 200);
    let mut values = HashMap::new();
    for line in text.lines().filter(|line| line.starts_with("tokencast_")) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let name = name.split('{').next().unwrap();
        *values.entry(name.to_owned()).or_default() += value.parse::<f64>().unwrap();
    }
    values
}

/// Waits until the metrics are so.
async fn until(gateway: &Gateway, wanted: impl Fn(&dyn Fn(&str) -> f64) -> bool) -> HashMap<String, f64> {
    let begun = Instant::now();
    loop {
        let values = metrics(gateway).await;
        if wanted(&|name| values[&format!("tokencast_journal_{name}")]) {
            return values;
        }
        assert!(begun.elapsed() < PATIENCE, "{values:?}");
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_counts_what_it_does() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "");
    gateway.start().await;
    let client = gateway.client();
    for id in ["a", "b", "c"] {
        start(&client, id, r#"{"simulate": {"rate": 0, "tokens": 1000}}"#).await;
        client.end(id).await;
    }
    let values = until(&gateway, |journal| journal("sealed_streams_total") == 3.0).await;
    let journal = |name: &str| values[&format!("tokencast_journal_{name}")];
    assert_eq!(journal("durable_seconds_count"), values["tokencast_frames_total"]);
    let commits = journal("commits_total");
    assert_eq!((journal("commit_seconds_count"), journal("commit_records_count")), (commits, commits));
    // Beginnings, media types, ends, and frames.
    assert_eq!(journal("commit_records_sum"), values["tokencast_frames_total"] + 9.0);
    assert!(journal("written_bytes_total") > values["tokencast_upstream_bytes_total"]);
    let sealed: i64 = Connection::open(&gateway.database)
        .unwrap()
        .query_row("SELECT sum(length(data)) FROM chunks", [], |row| row.get(0))
        .unwrap();
    assert_eq!(journal("sealed_bytes_total"), sealed as f64);
    assert_eq!((journal("trouble"), journal("waiting_records"), journal("owed_records")), (0.0, 0.0, 0.0));
    assert!(journal("database_bytes") + journal("wal_bytes") > sealed as f64);
    for id in ["a", "b", "c"] {
        client.delete(&format!("/v1/streams/{id}?purge=1")).await.unwrap().want(200);
    }
    until(&gateway, |journal| journal("free_bytes") > 0.0).await;
    // Who looked at it is no reason to leave anything behind.
    assert!(gateway.terminate().await.success());
    assert!(!gateway.database.with_extension("db-wal").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_is_told_while_it_lasts() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "");
    gateway.start().await;
    let client = gateway.client();
    for id in ["a", "b"] {
        start(&client, id, r#"{"simulate": {"rate": 100, "tokens": 1000000}}"#).await;
    }
    until(&gateway, |journal| journal("commits_total") > 10.0).await;
    // Somebody else writes, for longer than is waited for.
    let other = Connection::open(&gateway.database).unwrap();
    other.busy_timeout(PATIENCE).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    until(&gateway, |journal| journal("waiting_records") > 0.0).await;
    until(&gateway, |journal| journal("trouble") == 1.0 && journal("owed_records") >= 2.0).await;
    other.execute_batch("ROLLBACK").unwrap();
    until(&gateway, |journal| journal("trouble") == 0.0 && journal("owed_records") == 0.0).await;
}
