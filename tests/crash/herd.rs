//! Everybody comes back at once after a restart.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::crowd::{Fan, connect, percentiles};
use crate::gateway::{Gateway, PATIENCE, is_release};
use crate::process::{is_long, may_open};
use crate::provider::{Provider, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_comes_back_after_a_kill_and_misses_nothing() {
    let viewers = if is_long() { 10_000 } else { 500 };
    may_open(viewers as u64 + 200);
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "[log]\nlevel = \"warn\"");
    gateway.start().await;
    let client = gateway.client();
    let kind = r#"{"simulate": {"rate": 2, "tokens": 100000}}"#;
    client.start(&json!({ "id": "s", "request": request("s", kind) }), None).await.unwrap().want(201);
    let fans = connect((0..viewers).map(|_| Fan::new("s")).collect(), gateway.http).await;
    let mut watching = JoinSet::new();
    for mut fan in fans {
        watching.spawn(async move {
            while fan.cursor == 0 {
                assert!(fan.read().await);
            }
            fan
        });
    }
    let fans = watching.join_all().await;
    let most = fans.iter().map(|fan| fan.cursor).max().unwrap();

    gateway.kill();
    let addr = gateway.http;
    let mut coming = JoinSet::new();
    for mut fan in fans {
        coming.spawn(async move {
            fan.read_on().await;
            let begun = Instant::now();
            while !fan.has_ended {
                fan.connect(addr).await;
                // They were told to spread: within the second after the one in which nobody listened.
                fan.read_on().await;
                assert!(begun.elapsed() < PATIENCE * 4);
                tokio::time::sleep(Duration::from_millis(fastrand::u64(300..1000))).await;
            }
            fan.cursor
        });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let up = gateway.start().await;
    let mut took = Vec::new();
    let mut cursors = Vec::new();
    while let Some(back) = coming.join_next().await {
        cursors.push(back.unwrap());
        took.push(up.elapsed());
    }
    let (p50, p99, last) = percentiles(took);
    println!("{viewers} viewers are back: p50 {p50:?}, p99 {p99:?}, the last after {last:?}");
    assert!(
        cursors.iter().all(|cursor| *cursor == cursors[0] && *cursor > most),
        "all have seen the same end"
    );
    // Of any other this says that nobody was forgotten.
    let most = if is_release() { Duration::from_secs(10) } else { Duration::from_secs(60) };
    assert!(last < most, "it takes too long");
}
