//! Ended streams leave memory when it is short. Whoever comes late reads the same bytes, with the same borders.

use std::time::Instant;

use serde_json::json;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::gateway::{Gateway, LOOK, PATIENCE};
use crate::provider::{Provider, request};

/// As small as it may be for what follows; a stream of `BIG` holds some 1.5 MB.
const SETTINGS: &str = "[limits]\nmemory_bytes_max = 3000000";
const BIG: &str = r#"{"simulate": {"rate": 0, "tokens": 2000}}"#;
const KINDS: [(&str, &str); 4] = [
    ("paced", r#"{"simulate": {"rate": 400, "tokens": 200, "burst": 3}}"#),
    (
        "tools",
        r#"{"simulate": {"rate": 300, "tokens": 20, "tool_calls": 3, "reasoning": 20},
            "tools": [{"type": "function", "function": {"name": "look"}}]}"#,
    ),
    (
        "choices",
        r#"{"n": 2, "simulate": {"rate": 300, "tokens": 80, "emoji_halves": true, "line_end": "cr"}}"#,
    ),
    ("cut", r#"{"simulate": {"rate": 300, "tokens": 80, "cut_after": 40, "comments": 2}}"#),
];

async fn start(client: &Client, id: &str, kind: &str) {
    let order = json!({ "id": id, "metadata": { "a": [1] }, "request": request(id, kind) });
    client.start(&order, None).await.unwrap().want(201);
    client.end(id).await;
}

/// Bytes that the logs hold together.
async fn held(gateway: &Gateway) -> u64 {
    metric(gateway, "tokencast_memory_held_bytes").await
}

/// Pieces of ended streams that were read from the journal.
async fn pieces_read(gateway: &Gateway) -> u64 {
    metric(gateway, "tokencast_journal_pieces_read_total").await
}

async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let (_, metrics) = gateway.ops("/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    // What has not happened is not there.
    line.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
}

/// Starts more streams until those before them have left memory.
async fn push_out(gateway: &Gateway, client: &Client, name: &str) {
    let begun = Instant::now();
    for index in 0.. {
        let before = held(gateway).await;
        start(client, &format!("{name}-{index}"), BIG).await;
        // What leaves, leaves oldest first, and to the half: after two such steps nothing old is left.
        if index >= 6 && held(gateway).await < before {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing leaves memory");
    }
}

/// All that any viewer can ask for: every view, every cursor.
async fn everything(client: &Client, id: &str) -> Vec<(String, Vec<u8>)> {
    let state = client.get(&format!("/v1/streams/{id}")).await.unwrap().want(200);
    let blocks = state.json()["blocks"].as_u64().unwrap();
    let bytes = state.json()["bytes"].as_u64().unwrap();
    // Whoever has just been told the end may be counted for a moment.
    let mut told = state.json();
    told["viewers"] = 0.into();
    let mut all = vec![("state".to_owned(), told.to_string().into_bytes())];
    let mut views = vec!["text".to_owned(), "raw".to_owned(), "events?snapshot=1".to_owned()];
    for after in 0..=blocks {
        views.push(format!("events?after={after}"));
        if after < blocks {
            views.push(format!("raw?after={after}"));
        }
        if after % 7 == 0 {
            views.push(format!("text?after={after}"));
        }
    }
    views.extend((0..bytes).step_by(997).map(|offset| format!("raw?offset={offset}")));
    for view in views {
        let answer = client.get(&format!("/v1/streams/{id}/{view}")).await.unwrap().want(200);
        let mut body =
            format!("{} {:?}\n", answer.complete, answer.head.get("tokencast-offset")).into_bytes();
        // The reconnection time is drawn anew for everybody.
        let is_drawn = |line: &&[u8]| !line.starts_with(b"retry: ");
        body.extend(answer.body.split_inclusive(|byte| *byte == b'\n').filter(is_drawn).flatten());
        all.push((view, body));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_late_reads_the_same() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, SETTINGS);
    gateway.start().await;
    let client = gateway.client();
    let mut before = Vec::new();
    for (id, kind) in KINDS {
        start(&client, id, kind).await;
        before.push((id, everything(&client, id).await));
    }
    for (life, name) in ["slept", "restarted"].into_iter().enumerate() {
        if life == 0 {
            push_out(&gateway, &client, "push").await;
        } else {
            gateway.kill();
            gateway.start().await;
        }
        let (idle, read) = (held(&gateway).await, pieces_read(&gateway).await);
        for (id, before) in &before {
            let after = everything(&client, id).await;
            assert_eq!(before.len(), after.len());
            for (before, after) in before.iter().zip(&after) {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                assert!(
                    before == after,
                    "{name}: {id}/{}:\n{}\nwas\n{}",
                    before.0,
                    text(&after.1),
                    text(&before.1)
                );
            }
        }
        assert!(pieces_read(&gateway).await > read, "{name}: they were in memory all the time");
        let begun = Instant::now();
        while held(&gateway).await > idle {
            assert!(begun.elapsed() < PATIENCE, "{name}: what was read is not given back");
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_shares_what_it_reads() {
    const HERD: usize = 200;
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "");
    gateway.start().await;
    let client = gateway.client();
    start(&client, "wanted", BIG).await;
    let view = "/v1/streams/wanted/events?after=3";
    let strip = |body: &[u8]| {
        let text = std::str::from_utf8(body).unwrap();
        text.split_once('\n').expect("it begins with the reconnection time").1.to_owned()
    };
    let before = strip(&client.get(view).await.unwrap().want(200).body);
    let weight = held(&gateway).await;
    gateway.kill();
    gateway.start().await;
    assert_eq!(held(&gateway).await, 0);

    let mut herd = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..HERD {
        let client = client.clone();
        herd.spawn(async move { client.get(view).await.unwrap().want(200).body });
    }
    let bodies = herd.join_all().await;
    println!("{HERD} viewers read {} bytes each within {:?}", before.len(), begun.elapsed());
    assert!(bodies.iter().all(|body| strip(body) == before));
    // Viewers that are at the same place share what is read; they are not all at the same place all the time.
    let pieces = weight / (64 * 1024) + 1;
    let read = pieces_read(&gateway).await;
    assert!(read < pieces * HERD as u64 / 4, "{read} pieces were read, of {pieces}");
    let begun = Instant::now();
    while held(&gateway).await > 0 {
        assert!(begun.elapsed() < PATIENCE, "{} are kept of what was read", held(&gateway).await);
        tokio::time::sleep(LOOK).await;
    }
}
