//! Sessions that follow nothing.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use super::{session, subscribe};
use crate::gateway::{Gateway, Journal};
use crate::http::within;
use crate::provider::{Ending, Provider, Script};
use crate::says::text;

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_nothing_is_told_goodbye() {
    let provider = Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    let (_follows, mut following) = session(&gateway).await;
    following.say(&subscribe(1, &id)).await;
    assert_eq!(following.hear().await.unwrap()["type"], "subscribed");
    let began = Instant::now();
    let (connection, mut control) = session(&gateway).await;
    sleep(Duration::from_secs(15)).await;
    // None of this is a reason to stay.
    control.say(&json!({ "type": "hello", "version": 1 })).await;
    assert_eq!(control.hear().await.unwrap()["type"], "welcome");
    control.say(&subscribe(1, "unknown")).await;
    assert_eq!(control.hear().await.unwrap()["code"], "not_found");
    control.send.write_all(&[0, 0, 0, 100, 0x82]).await.unwrap();
    sleep(Duration::from_secs(8)).await;
    assert_eq!(control.hear().await.unwrap(), json!({ "type": "bye", "code": "idle", "retry_ms": 0 }));
    assert!(began.elapsed() >= Duration::from_secs(29));
    within("the close", connection.closed()).await;
    following.say(&json!({ "type": "ping", "t": 1 })).await;
    assert_eq!(following.hear().await.unwrap()["type"], "pong", "it follows something");
}
