//! `tokencast export`, beside a gateway and without one. The oracle is what the gateway says over HTTP.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use serde_json::{Value, json};

use crate::client::Client;
use crate::command::{home, run, with};
use crate::gateway::{Gateway, LOOK, PATIENCE};
use crate::provider::{Provider, request};

const KINDS: [(&str, &str); 4] = [
    ("paced", r#"{"simulate": {"rate": 0, "tokens": 3000}}"#),
    (
        "tools",
        r#"{"simulate": {"rate": 0, "tokens": 20, "tool_calls": 3, "reasoning": 20},
            "tools": [{"type": "function", "function": {"name": "look"}}]}"#,
    ),
    ("choices", r#"{"n": 2, "simulate": {"rate": 0, "tokens": 80, "emoji_halves": true, "line_end": "cr"}}"#),
    ("cut", r#"{"simulate": {"rate": 0, "tokens": 80, "cut_after": 40, "comments": 2}}"#),
];
const FORMATS: [(&str, &str); 3] = [("raw", "/raw"), ("text", "/text"), ("json", "")];

/// A stream that goes on for longer than any test.
const ENDLESS: &str = r#"{"simulate": {"rate": 200, "tokens": 1000000}}"#;

async fn start(client: &Client, id: &str, kind: &str) {
    let order = json!({ "id": id, "metadata": { "a": [1] }, "request": request(id, kind) });
    client.start(&order, None).await.unwrap().want(201);
}

/// Waits until a stream that runs has so many blocks.
/// Waits until the gateway says so of a stream.
async fn until(client: &Client, id: &str, is_so: impl Fn(&Value) -> bool) {
    let begun = Instant::now();
    loop {
        let state = client.get(&format!("/v1/streams/{id}")).await.unwrap().want(200).json();
        if is_so(&state) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{state}");
        tokio::time::sleep(LOOK).await;
    }
}

fn export(gateway: &Gateway, id: &str, format: &str) -> Vec<u8> {
    let mut out = run(gateway, &["export", id, "--format", format]).well();
    if format == "json" {
        assert_eq!(out.pop(), Some(b'\n'), "one line");
    }
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_what_the_gateway_says() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "");
    gateway.start().await;
    let client = gateway.client();
    let mut wanted = Vec::new();
    for (id, kind) in KINDS {
        start(&client, id, kind).await;
        client.end(id).await;
        for (format, view) in FORMATS {
            // Whoever has seen it all is counted for a moment longer.
            until(&client, id, |state| state["viewers"] == 0).await;
            let body = client.get(&format!("/v1/streams/{id}{view}")).await.unwrap().want(200).body;
            assert!(!body.is_empty());
            wanted.push((id, format, body));
        }
    }
    for life in ["running", "stopped", "killed"] {
        match life {
            "running" => {}
            "stopped" => assert!(gateway.terminate().await.success()),
            _ => {
                gateway.start().await;
                gateway.kill();
            }
        }
        for (id, format, body) in &wanted {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let out = export(&gateway, id, format);
            assert!(out == *body, "{life}: {id} {format}:\n{}\nis not\n{}", text(&out), text(body));
        }
        let cut = run(&gateway, &["export", "cut"]);
        assert_eq!(cut.said, "tokencast: cut: ended failed/upstream_cut\n");
        assert_eq!(run(&gateway, &["export", "paced"]).said, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_is_exported_as_far_as_it_is_durable() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "");
    gateway.start().await;
    let client = gateway.client();
    // Neighbours in the same rows.
    for id in ["one", "two", "three"] {
        start(&client, id, ENDLESS).await;
    }
    until(&client, "two", |state| state["blocks"].as_u64().unwrap() >= 40).await;
    let beside = run(&gateway, &["export", "two"]);
    assert_eq!(beside.said, "tokencast: two: has no end yet; this is what is durable of it\n");
    let beside = beside.well();
    let state: Value = serde_json::from_slice(&export(&gateway, "two", "json")).unwrap();
    assert!(state["blocks"].as_u64().unwrap() >= 40, "visible is durable: {state}");
    let of = |key: &str| state[key].clone();
    assert_eq!((of("status"), of("end"), of("ended_at")), (json!("running"), json!(null), json!(null)));

    let blocks = state["blocks"].as_u64().unwrap();
    until(&client, "two", |state| state["blocks"].as_u64().unwrap() > blocks).await;
    gateway.kill();
    let left = export(&gateway, "two", "raw");
    assert!(!beside.is_empty() && left.starts_with(&beside));
    assert!(left.len() > beside.len(), "{} bytes, and before {}", left.len(), beside.len());
    let text = export(&gateway, "two", "text");
    gateway.start().await;
    assert_eq!(client.end("two").await["reason"], "interrupted");
    assert_eq!(client.get("/v1/streams/two/raw").await.unwrap().body, left);
    assert_eq!(client.get("/v1/streams/two/text").await.unwrap().body, text);
    assert_eq!(export(&gateway, "two", "raw"), left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_cannot_be_says_why() {
    let provider = Provider::start().await;
    let other = "tck_of_somebody_else";
    let hash = tokencast::crypto::hex(&tokencast::crypto::sha256(other.as_bytes()));
    let settings = format!("[[auth.keys]]\nname = \"other\"\ntenant = \"other\"\nsha256 = \"{hash}\"");
    let mut gateway = Gateway::new(&provider.url, &settings);
    run(&gateway, &["export", "x"]).refused(1, "there is no database");
    gateway.start().await;
    let client = gateway.client();
    for id in ["kept", "gone", "shared"] {
        start(&client, id, KINDS[0].1).await;
        client.end(id).await;
    }
    run(&gateway, &["export", "unknown"]).refused(3, "unknown: no such stream");
    run(&gateway, &["export", "kept", "--tenant", "other"]).refused(3, "kept: no such stream");
    client.delete("/v1/streams/gone?purge=1").await.unwrap().want(200);
    run(&gateway, &["export", "gone"]).refused(4, "gone: its content is gone");

    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/v1/streams", gateway.http);
    let order = json!({ "id": "shared", "request": request("other", r#"{"simulate": {"tokens": 1}}"#) });
    let answer = http.post(&url).bearer_auth(other).json(&order).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    run(&gateway, &["export", "shared"]).refused(1, "add --tenant, with one of default, other");
    let tenant = |tenant| run(&gateway, &["export", "shared", "--tenant", tenant]).well();
    assert!(tenant("default").len() > tenant("other").len());

    // A file is new, whole, and its owner's.
    let file = home(&gateway).join("kept.sse");
    let name = file.to_str().unwrap();
    assert!(run(&gateway, &["export", "kept", "--output", name]).well().is_empty());
    assert_eq!(std::fs::read(&file).unwrap(), export(&gateway, "kept", "raw"));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&file).unwrap();
    run(&gateway, &["export", "shared", "--tenant", "other", "--output", name])
        .refused(1, "is there already");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let none = home(&gateway).join("none.sse");
    run(&gateway, &["export", "unknown", "--output", none.to_str().unwrap()]).refused(3, "no such stream");
    let names = std::fs::read_dir(home(&gateway)).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["data", "kept.sse", "log", "tokencast.toml"]);

    let memory = home(&gateway).join("memory.toml");
    std::fs::write(&memory, "[journal]\nmode = \"memory\"").unwrap();
    with(&memory, &["export", "kept"]).refused(2, "mode = \"memory\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_content_is_not_exported() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "");
    gateway.start().await;
    let client = gateway.client();
    for id in ["broken", "whole"] {
        start(&client, id, KINDS[0].1).await;
        client.end(id).await;
    }
    let whole = client.get("/v1/streams/whole/raw").await.unwrap().want(200).body;
    assert!(gateway.terminate().await.success());
    let database = rusqlite::Connection::open(&gateway.database).unwrap();
    // One byte in the middle of the first stream's chunk.
    let sql = "UPDATE chunks
                  SET data = CAST(substr(data, 1, 2000) || x'00' || substr(data, 2002) AS BLOB)
                WHERE stream = (SELECT number FROM streams WHERE id = 'broken')";
    assert!(database.execute(sql, []).unwrap() > 0);
    drop(database);
    run(&gateway, &["export", "broken"]).refused(1, "damaged");
    assert_eq!(export(&gateway, "whole", "raw"), whole);
}
