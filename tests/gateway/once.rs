//! One key, one call: whatever is repeated, and however often.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::gateway::{Case, Gateway, config, everywhere, over_http};
use crate::http::{Call, Protocol, Reply, within};
use crate::provider::{Ending, Provider, Script};
use crate::says::{DONE, text};

fn whole() -> Script {
    Script::says(format!("{}{DONE}", text("a").bytes))
}

fn order(envelope: &Value, key: Option<&str>) -> Call {
    let call = Call::post(envelope.to_string());
    match key {
        Some(key) => call.header("idempotency-key", key),
        None => call,
    }
}

/// Status, id, whether it says that it is a replay, and the ticket.
async fn outcome(reply: Reply) -> (u16, String, bool, String) {
    let (status, replayed) = (reply.status, reply.header("idempotency-replayed").map(str::to_owned));
    assert!(replayed.is_none() || replayed.as_deref() == Some("true"));
    let answer = reply.json().await;
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    (status, text("id"), replayed.is_some(), text("ticket"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_is_one_call_however_often_and_whatever_came_of_it() {
    over_http(async |protocol, journal| {
        let provider = Provider::with(whole()).await;
        provider.plays("fails", Script::new("500 Oops", "application/json"));
        provider.plays("cut", Script::nothing().ends(Ending::Cut));
        let gateway = Gateway::before(&provider, journal);
        for (model, status) in [("m", "completed"), ("fails", "failed"), ("cut", "failed")] {
            let before = provider.calls().len();
            let call = order(&json!({ "request": { "model": model } }), Some(&format!("key of {model}")));
            let (code, id, replayed, _) = outcome(call.send(protocol, gateway.http).await).await;
            assert_eq!((code, replayed), (201, false), "{model}");
            for running in [true, false] {
                if !running {
                    gateway.has_ended(&id).await;
                }
                let (code, again, replayed, ticket) = outcome(call.send(protocol, gateway.http).await).await;
                assert_eq!((code, &again, replayed), (200, &id, true), "{model}");
                // The fresh ticket opens the stream.
                let state = Call::get(format!("/v1/streams/{id}?ticket={ticket}"));
                let state = state.send(protocol, gateway.http).await.json().await;
                assert!(running || state["status"] == status, "{model}: {state}");
            }
            assert_eq!(provider.calls().len() - before, 1, "{model}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_with_one_key_are_one_call() {
    over_http(async |protocol, journal| {
        let provider = Provider::with(whole()).await;
        let gateway = Gateway::before(&provider, journal);
        for (key, own) in [(Some("k"), None), (None, Some("own-id")), (Some("both"), Some("id-and-key"))] {
            let before = provider.calls().len();
            let mut envelope = json!({ "request": { "model": "m" } });
            if let Some(own) = own {
                envelope["id"] = own.into();
            }
            let call = order(&envelope, key);
            let mut posts = JoinSet::new();
            for _ in 0..30 {
                let (call, addr) = (call.clone(), gateway.http);
                posts.spawn(async move { outcome(call.send(protocol, addr).await).await });
            }
            let outcomes = within("all answers", posts.join_all()).await;
            let started = outcomes.iter().filter(|(status, ..)| *status == 201).count();
            assert_eq!(started, 1, "{outcomes:?}");
            assert!(outcomes.iter().all(|(status, id, replayed, _)| {
                *id == outcomes[0].1 && *replayed == (*status == 200) && matches!(status, 200 | 201)
            }));
            gateway.has_ended(&outcomes[0].1).await;
            assert_eq!(provider.calls().len() - before, 1, "{key:?} {own:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_or_an_id_means_one_content() {
    over_http(async |protocol, journal| {
        let provider = Provider::with(whole()).await;
        let gateway = Gateway::before(&provider, journal);
        let base = json!({ "request": { "model": "m" }, "id": "mine" });
        assert_eq!(order(&base, Some("k")).send(protocol, gateway.http).await.status, 201);
        let with = |key: &str, value: Value| {
            let mut envelope = base.clone();
            envelope[key] = value;
            envelope
        };
        // `request`, `provider` and `path` are the content, byte for byte; the rest is not.
        for (envelope, key, wanted) in [
            (base.clone(), Some("k"), (200, "")),
            (base.clone(), None, (200, "")),
            (with("metadata", json!({ "a": 1 })), Some("k"), (200, "")),
            (with("ttl_s", json!(5)), None, (200, "")),
            (with("provider", json!("test")), Some("k"), (422, "idempotency_mismatch")),
            (with("path", json!("/chat/completions")), Some("k"), (422, "idempotency_mismatch")),
            (with("request", json!({ "model": "m", "x": 1 })), Some("k"), (422, "idempotency_mismatch")),
            (with("request", json!({ "model": "m", "x": 1 })), None, (409, "id_conflict")),
            (with("provider", json!("test")), None, (409, "id_conflict")),
            (with("request", json!({ "model": "m", "x": 1 })), Some("other"), (409, "id_conflict")),
        ] {
            let reply = order(&envelope, key).send(protocol, gateway.http).await;
            if wanted.0 == 200 {
                let (status, id, replayed, _) = outcome(reply).await;
                assert_eq!((status, &*id, replayed), (200, "mine", true), "{envelope} {key:?}");
            } else {
                assert_eq!(reply.error().await, (wanted.0, wanted.1.to_owned()), "{envelope} {key:?}");
            }
        }
        let spaced = Call::post(r#"{"request": {"model" : "m"}, "id":"mine"}"#);
        assert_eq!(spaced.send(protocol, gateway.http).await.error().await.0, 409, "as received");
        gateway.has_ended("mine").await;
        assert_eq!(provider.calls().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_or_purged_stream_is_gone_and_its_names_stay_taken() {
    everywhere(async |Case { transport, journal }| {
        let provider = Provider::with(whole()).await;
        let mut config = config(journal, &provider.base_url());
        config.retention.ttl_s = 1;
        let gateway = Gateway::start(config);
        let envelope = |id: &str| json!({ "request": { "model": "m" }, "id": id });
        for id in ["expires", "purged"] {
            assert_eq!(gateway.send(&order(&envelope(id), Some(id))).await.status, 201);
            gateway.has_ended(id).await;
        }
        assert_eq!(gateway.send(&Call::delete("/v1/streams/purged?purge=1")).await.status, 200);
        let gone = async |target: String| {
            let reply = Call::get(target).header("accept", "application/json");
            reply.send(transport.protocol(), gateway.http).await
        };
        within("the first one to expire", async {
            while gone("/v1/streams/expires".into()).await.status != 410 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
        for id in ["expires", "purged"] {
            let error = gateway.send(&order(&envelope(id), None)).await.error().await;
            assert_eq!(error, (409, "id_used".into()), "{id}");
            let again = order(&json!({ "request": { "model": "m" } }), Some(id));
            assert_eq!(gateway.send(&again).await.error().await, (410, "gone".into()), "{id}");
            for view in ["", "/events", "/raw", "/text", "/events?after=1", "/raw?offset=3"] {
                let error = gone(format!("/v1/streams/{id}{view}")).await.error().await;
                assert_eq!(error, (410, "gone".into()), "{id}{view}");
            }
            let delete = gateway.send(&Call::delete(format!("/v1/streams/{id}"))).await;
            assert_eq!(delete.error().await, (410, "gone".into()));
        }
        assert_eq!(provider.calls().len(), 2);
        within("everything to be given back", async {
            while gateway.budget_held() > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_gets_the_bytes_of_the_request_and_streaming() {
    let provider = Provider::with(whole()).await;
    let gateway = Gateway::before(&provider, crate::gateway::Journal::Memory);
    let usage = r#""stream_options":{"include_usage":true}"#;
    let odd = r#""z": 1e2, "a":123456789012345678901234567890,"é":"\ud83d \u2028 \/", "d":1,"d":2"#;
    for (request, ask, wanted) in [
        (
            format!(r#"{{"model":"m", {odd} }}"#),
            true,
            format!(r#"{{"stream":true,{usage},"model":"m", {odd} }}"#),
        ),
        (format!(r#"{{"model":"m",{odd}}}"#), false, format!(r#"{{"stream":true,"model":"m",{odd}}}"#)),
        (r#"{"model":"m","stream":false}"#.into(), false, r#"{"model":"m","stream":true}"#.into()),
        (
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":false}}"#.into(),
            true,
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":false}}"#.into(),
        ),
    ] {
        let before = provider.calls().len();
        let envelope = format!("{{\"ask_usage\":{ask}, \"request\": {request} ,\"metadata\":{{}}}}");
        assert_eq!(gateway.send(&Call::post(envelope)).await.status, 201);
        let calls = provider.until("the call", |calls| calls.len() > before).await;
        assert_eq!(String::from_utf8_lossy(&calls[before].body), wanted);
        let head = &calls[before].head;
        for line in [
            "POST /v1/chat/completions HTTP/1.1\r\n",
            "content-type: application/json\r\n",
            "accept: text/event-stream\r\n",
            "accept-encoding: identity\r\n",
        ] {
            assert!(head.contains(line), "{head}");
        }
        assert!(!head.contains("authorization"), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_post_says_where_everything_is() {
    let provider = Provider::with(whole()).await;
    for (public, base) in
        [(None, "http://localhost:8"), (Some("https://ai.example/gate"), "https://ai.example/gate")]
    {
        for protocol in [Protocol::H1, Protocol::H2] {
            let mut config = config(crate::gateway::Journal::Memory, &provider.base_url());
            config.http.public_url = public.map(|url| url.parse().unwrap());
            let gateway = Gateway::start(config);
            let call = Call::post(r#"{"request":{"model":"m"},"id":"a-B_9"}"#).host("localhost:8");
            let reply = call.send(protocol, gateway.http).await;
            assert_eq!(reply.status, 201);
            let url = format!("{base}/v1/streams/a-B_9");
            assert_eq!(reply.header("location"), Some(&*url), "{protocol:?}");
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            let answer = reply.json().await;
            assert_eq!(answer["id"], "a-B_9");
            assert!(["running", "completed"].contains(&answer["status"].as_str().unwrap()), "{answer}");
            assert!(answer["ticket_expires_at"].as_str().unwrap().ends_with('Z'));
            for view in ["events", "raw", "text"] {
                assert_eq!(answer["urls"][view], format!("{url}/{view}"));
            }
            assert!(!answer["urls"].to_string().contains(answer["ticket"].as_str().unwrap()));
        }
    }
}
