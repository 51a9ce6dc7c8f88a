//! What a key may do: every call × every scope.

use http::Method;
use serde_json::json;
use tokencast::auth::key::{self, Digest};
use tokencast::auth::scope::Scope;

use crate::gateway::{Gateway, Journal, config};
use crate::http::{Call, within};
use crate::packed::{Control, Place};
use crate::provider::{Ending, Provider, Script};
use crate::says::text;

/// A gateway with a key for each scope, by its name, and `all` for all of them.
async fn gateway() -> (Gateway, Provider) {
    let provider = Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    let one = Scope::ALL.map(|scope| (scope.name(), vec![scope]));
    let more = [("all", Scope::ALL.to_vec()), ("read-stop", vec![Scope::Read, Scope::Stop])];
    let keys = one.into_iter().chain(more).map(|(name, scopes)| key::Config {
        name: name.into(),
        sha256: Digest::of(name),
        tenant: "default".into(),
        scopes: scopes.into_iter().collect(),
    });
    config.auth.keys = keys.collect();
    (Gateway::start(config), provider)
}

async fn stream(gateway: &Gateway) -> String {
    let answer = gateway.send(&Call::post(r#"{"request":{"model":"m"}}"#).bearer("all")).await.json().await;
    answer["id"].as_str().unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_wants_its_scope_and_no_other() {
    let (gateway, _provider) = gateway().await;
    let id = stream(&gateway).await;
    let url = format!("/v1/streams/{id}");
    let json = |call: Call, body: &str| call.header("content-type", "application/json").with_body(body);
    let post = |path: &str, body: &str| json(Call::new(Method::POST, path), body);
    let chat = r#"{"model":"m","stream":true,"messages":[]}"#;
    let ui = r#"{"id":"c","messages":[{"id":"1","role":"user","parts":[{"type":"text","text":"x"}]}],"model":"m"}"#;
    let [start, read, stop, admin] = Scope::ALL;
    let rows: Vec<(Call, Vec<Scope>)> = vec![
        (Call::post(r#"{"request":{"model":"m"}}"#), vec![start]),
        (post("/v1/chat/completions", chat), vec![start]),
        (post("/v1/embeddings", r#"{"model":"m","input":"x"}"#), vec![start]),
        (post("/api/chat", ui), vec![start]),
        (Call::get("/v1/models"), vec![start]),
        (Call::get("/v1/providers"), vec![start]),
        (Call::get("/v1/usage"), vec![start]),
        // The provider is asked for those that are not here: that is a second scope.
        (Call::get("/v1/responses/resp_x"), vec![]),
        (Call::new(Method::POST, "/v1/responses/resp_x/cancel"), vec![]),
        (Call::delete("/v1/responses/resp_x"), vec![]),
        // Nobody learns by a refusal what there is.
        (Call::get("/v1/streams/nobody"), vec![read]),
        (Call::delete("/v1/streams/nobody"), vec![stop]),
        (Call::delete("/v1/streams/nobody?purge=1"), vec![admin]),
        (Call::get(&*url), vec![read]),
        (Call::get(format!("{url}/events")), vec![read]),
        (Call::get(format!("{url}/events")).header("accept", "application/json"), vec![read]),
        (Call::get(format!("{url}/events")).header("accept", "application/x-ndjson"), vec![read]),
        (Call::get(format!("{url}/raw")), vec![read]),
        (Call::get(format!("{url}/text")), vec![read]),
        (Call::get(format!("{url}/ui")), vec![read]),
        (Call::get(format!("/api/chat/{id}/stream?startIndex=0")), vec![read]),
        (Call::get("/api/chat/unknown/stream"), vec![read]),
        (post("/v1/tickets", &json!({ "stream": id }).to_string()), vec![read]),
        (post("/v1/tickets", &json!({ "prefix": "user42-" }).to_string()), vec![read]),
        (Call::get("/v1/streams"), vec![read, admin]),
        (Call::delete("/api/chat/unknown/stream"), vec![stop]),
        (Call::delete(&*url), vec![stop]),
        (Call::delete(format!("{url}?purge=1")), vec![admin]),
    ];
    for (call, scopes) in rows {
        for scope in Scope::ALL {
            let reply = gateway.send(&call.clone().bearer(scope.name())).await;
            let is_granted = scopes.contains(&scope);
            assert_eq!(reply.status != 403, is_granted, "{call:?} with {scope}: {}", reply.status);
            // Whoever is refused was told of nothing; whoever may is, where there is something to tell.
            assert!(!is_granted || reply.status != 401, "{call:?} with {scope}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_hands_on_no_more_than_it_may() {
    let (gateway, _provider) = gateway().await;
    let id = stream(&gateway).await;
    let wanted = json!({ "stream": id, "can": ["watch", "stop"] }).to_string();
    let call = Call::post_to("/v1/tickets", wanted);
    for (key, status) in [("read", 403), ("stop", 403), ("start", 403), ("read-stop", 201), ("all", 201)] {
        assert_eq!(gateway.send(&call.clone().bearer(key)).await.status, status, "{key}");
    }
    // Whoever starts a stream may show it to somebody.
    for (key, may_stop) in [("start", false), ("all", true)] {
        let answer = gateway.send(&Call::post(r#"{"request":{"model":"m"}}"#).bearer(key)).await.json().await;
        let (id, ticket) = (answer["id"].as_str().unwrap(), answer["ticket"].as_str().unwrap());
        let url = format!("/v1/streams/{id}");
        assert_eq!(gateway.send(&Call::get(&*url).bearer(ticket)).await.status, 200, "{key}");
        let stop = gateway.send(&Call::delete(&*url).bearer(ticket)).await;
        assert_eq!(stop.status, if may_stop { 202 } else { 403 }, "{key}");
    }
    let refused = gateway.send(&Call::get("/v1/streams").bearer("start")).await.error_json().await;
    assert_eq!((refused.0, &refused.1["code"]), (403, &json!("forbidden")));
    assert!(refused.1["message"].as_str().unwrap().contains("--scope read"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_asks_for_the_same_scopes() {
    let (gateway, _provider) = gateway().await;
    let id = stream(&gateway).await;
    let place = Place::of(gateway.http).await;
    for (key, reads, stops) in [
        ("start", false, false),
        ("stop", false, false),
        ("admin", false, false),
        ("read", true, false),
        ("read-stop", true, true),
    ] {
        let connection =
            place.connect_with("/v1/session", &[("tokencast-key", key)]).await.expect("a session");
        let mut control = Control::greeted(&connection).await;
        control.say(&json!({ "type": "subscribe", "subscription": 1, "stream": id })).await;
        let said = control.hear().await.expect("an answer");
        assert_eq!(said["code"].as_str(), (!reads).then_some("forbidden"), "{key}");
        if reads {
            control.say(&json!({ "type": "stop", "subscription": 1 })).await;
            if stops {
                within("the end", gateway.cast(&id).watch().closed()).await;
            } else {
                assert_eq!(control.hear().await.expect("an answer")["code"], "forbidden", "{key}");
                assert!(gateway.cast(&id).end().is_none());
            }
        }
    }
}
