//! A provider that is dead is left alone, and asked again; one that refuses is not dead.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokencast::config::Config;

use crate::gateway::{Gateway, Journal, config};
use crate::http::{Call, within};
use crate::provider::{Ending, Provider, Script};
use crate::says::{DONE, text};
use crate::viewing::Transport;

/// A provider of its own name, so that its figures are its own; left alone after two failures, for a second.
fn touchy(name: &str, addr: SocketAddr) -> Config {
    let mut config = config(Journal::Memory, &format!("http://{addr}/v1"));
    config.providers[0].name = name.into();
    config.upstream.connect_attempts = 1;
    config.upstream.first_byte_s = 1;
    config.upstream.breaker_failures = 2;
    config.upstream.breaker_open_s = 1;
    config
}

/// A port that was free a moment ago.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn end(gateway: &Gateway, model: &str) -> Value {
    let id = gateway.stream(model).await;
    gateway.end(Transport::SseH1, &id).await
}

async fn metric(gateway: &Gateway, line: &str) -> bool {
    let mut reply = Call::get("/metrics").send(crate::http::Protocol::H1, gateway.ops).await;
    String::from_utf8(reply.body.whole().await.0).unwrap().lines().any(|found| found == line)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_provider_answers_at_once_and_comes_back() {
    let addr = nobody();
    let gateway = Gateway::start(touchy("dead", addr));
    let is = |state: u8| format!("tokencast_upstream_breaker{{provider=\"dead\"}} {state}");
    assert!(metric(&gateway, &is(0)).await);
    let mut messages = Vec::new();
    for _ in 0..3 {
        let end = end(&gateway, "m").await;
        assert_eq!((&end["reason"], &end["code"]), (&json!("failed"), &json!("upstream_connect")), "{end}");
        messages.push(end["message"].as_str().unwrap().to_owned());
    }
    let alone: Vec<bool> = messages.iter().map(|message| message.contains("left alone")).collect();
    assert_eq!(alone, [false, false, true], "{messages:?}");
    assert!(metric(&gateway, &is(2)).await);
    // An SDK is told so before anything is begun, in its own words.
    let door =
        Call::new(http::Method::POST, "/v1/chat/completions").header("content-type", "application/json");
    let streaming = door.clone().with_body(r#"{"model":"m","stream":true}"#);
    for call in [streaming, door.with_body(r#"{"model":"m"}"#)] {
        let reply = gateway.send(&call).await;
        assert_eq!(reply.status, 503);
        assert!((1..=2).contains(&reply.header("retry-after").unwrap().parse::<u64>().unwrap()));
        let error = reply.json().await;
        assert_eq!(error["error"]["code"], "upstream_connect", "{error}");
        assert_eq!(error["error"]["type"], "server_error", "{error}");
    }
    let list = gateway.send(&Call::get("/v1/streams")).await.json().await;
    assert_eq!(list["streams"].as_array().unwrap().len(), 3);
    // Somebody is there again: one call finds out, and then all go.
    let provider = Provider::start_at(addr).await;
    provider.plays("m", Script::says(format!("{}{DONE}", text("a").bytes)));
    within("an answer", async {
        while end(&gateway, "m").await["reason"] != "completed" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(provider.calls().len(), 1);
    assert!(metric(&gateway, &is(0)).await);
    assert_eq!(end(&gateway, "m").await["reason"], "completed");
}

/// Whoever takes up connections and hangs up without a word is as good as dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_only_hangs_up_is_left_alone() {
    let provider = Provider::start().await;
    for (model, ending) in [("cut", Ending::Cut), ("reset", Ending::Reset)] {
        provider.plays(model, Script::nothing().ends(ending));
        let address =
            provider.base_url().trim_start_matches("http://").trim_end_matches("/v1").parse().unwrap();
        let gateway = Gateway::start(touchy(model, address));
        for _ in 0..2 {
            assert_eq!(end(&gateway, model).await["code"], "upstream_cut", "{model}");
        }
        assert_eq!(end(&gateway, model).await["code"], "upstream_connect", "{model}");
        // So it is for calls that are handed on.
        let gateway = Gateway::start(touchy(&format!("{model}-embeddings"), address));
        let embed = Call::post_to("/v1/embeddings", json!({ "model": model, "input": "a" }).to_string());
        for status in [502, 502, 503] {
            assert_eq!(gateway.send(&embed).await.status, status, "{model}");
        }
    }
    assert_eq!(provider.calls().len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_causes_leaves_nobody_alone() {
    let provider = Provider::start().await;
    let says = |status| Script::new(status, "application/json").write(r#"{"error":{"message":"no"}}"#);
    for (model, status) in [
        ("bad", "400 Bad"),
        ("key", "401 Who"),
        ("slow", "429 Slow"),
        ("down", "500 Oops"),
        ("over", "529 Over"),
    ] {
        provider.plays(model, says(status));
    }
    provider.plays("hangs", Script::nothing().ends(Ending::Hang));
    let address = provider.base_url().trim_start_matches("http://").trim_end_matches("/v1").parse().unwrap();
    let gateway = Gateway::start(touchy("refusing", address));
    for model in ["bad", "key", "slow"].repeat(3) {
        assert_eq!(end(&gateway, model).await["code"], "upstream_status", "{model}");
    }
    // An answer between two failures says that it is there.
    for model in ["down", "bad", "hangs", "slow", "over"] {
        assert_ne!(end(&gateway, model).await["code"], "upstream_connect", "{model}");
    }
    assert_eq!(end(&gateway, "down").await["code"], "upstream_status");
    assert_eq!(end(&gateway, "bad").await["code"], "upstream_connect", "two in a row");
    assert_eq!(provider.calls().len(), 15);
}
