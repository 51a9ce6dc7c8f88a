//! What one client address may have. On loopback nothing is counted, unless the configuration says so.

use std::time::Duration;

use serde_json::json;
use tokencast::config::Config;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::gateway::{Gateway, Journal, config};
use crate::http::{Call, Protocol, Reply, within};
use crate::packed::{Control, Place};
use crate::provider::{Ending, Provider, Script};
use crate::says::text;

async fn gateway(change: impl FnOnce(&mut Config)) -> (Gateway, Provider) {
    let provider = Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.addresses.on_loopback = true;
    change(&mut config);
    (Gateway::start(config), provider)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so() {
    let (gateway, _provider) = gateway(|config| config.addresses.connections_max = 3).await;
    let place = Place::of(gateway.http).await;
    let connect = async || TcpStream::connect(gateway.http).await.unwrap();
    let fill = async || vec![connect().await, connect().await, connect().await];
    let mut open = fill().await;
    let refused = within("a refusal", Reply::read(connect().await)).await.expect("an answer");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.error().await, (429, "too_many_connections".into()));
    // A session is a connection, too. The one that has asked for its place may have been one of three until now.
    within("a session too many", async {
        while place.connect("/v1/session").await.is_ok() {
            open = fill().await;
        }
    })
    .await;
    open.pop();
    within("a place", async {
        loop {
            let mut one = connect().await;
            let mut byte = [0];
            if tokio::time::timeout(Duration::from_millis(50), one.read(&mut byte)).await.is_err() {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_views_have_a_rate() {
    let (gateway, _provider) = gateway(|config| {
        (config.addresses.subscriptions_per_s, config.addresses.subscriptions_burst) = (1, 3);
        config.addresses.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let id = gateway.stream("m").await;
    let view = |view: &str, client: &str| {
        Call::get(format!("/v1/streams/{id}/{view}")).header("x-forwarded-for", client)
    };
    let send = async |call: Call| call.send(Protocol::H1, gateway.http).await;
    for path in ["events", "raw", "text"] {
        assert_eq!(send(view(path, "192.0.2.1")).await.status, 200);
    }
    for path in ["events", "raw", "text", "ui"] {
        let refused = send(view(path, "192.0.2.1")).await;
        assert_eq!(refused.header("retry-after"), Some("1"), "{path}");
        let (status, error) = refused.error_json().await;
        assert_eq!((status, error["code"].as_str()), (429, Some("rate_limited")), "{path}");
        assert!((1..=1001).contains(&error["detail"]["retry_ms"].as_u64().unwrap()), "{error}");
    }
    // An EventSource would not come again after that.
    let mut polite = send(view("events", "192.0.2.1").header("accept", "text/event-stream")).await;
    assert_eq!((polite.status, polite.header("content-type")), (200, Some("text/event-stream")));
    let body = String::from_utf8(polite.body.whole().await.0).unwrap();
    assert!(
        body.starts_with("retry: ") && body.contains("event: bye\ndata: {\"code\":\"too_many\""),
        "{body}"
    );
    // A long-poll is one of many; another client has a rate of its own.
    let poll = view("events?wait_s=0", "192.0.2.1").header("accept", "application/json");
    assert_eq!(send(poll).await.status, 200);
    assert_eq!(send(view("events", "192.0.2.2")).await.status, 200);

    let connection = Place::of(gateway.http).await.connect("/v1/session").await.expect("a session");
    let mut control = Control::greeted(&connection).await;
    let mut said = Vec::new();
    for number in 0..4 {
        control.say(&json!({ "type": "subscribe", "subscription": number, "stream": id })).await;
        let answer = control.hear().await.unwrap();
        said.push(answer["code"].as_str().unwrap_or("subscribed").to_owned());
    }
    assert_eq!(said, ["subscribed", "subscribed", "subscribed", "rate_limited"]);
}
