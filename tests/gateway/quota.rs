//! What one tenant may have, and what it is told when it wants more.

use serde_json::{Value, json};
use tokencast::auth::key::Digest;
use tokencast::config::Config;

use crate::gateway::{Gateway, Journal, config, everywhere, over_http};
use crate::http::{Call, Over, Protocol, Reply, within};
use crate::provider::{Ending, Hold, Provider, Script};
use crate::says::{DONE, Say, chunk, text};
use crate::viewing::{Transport, Viewing};

/// Two tenants, `a` with these quotas and `b` without any, each with a key `key-` and its name.
fn with_quotas(mut config: Config, quotas: &Value) -> Config {
    let key = |tenant: &str| {
        let key = format!("key-{tenant}");
        json!({ "name": key, "sha256": Digest::of(&key), "tenant": tenant })
    };
    config.auth.keys = serde_json::from_value(json!([key("a"), key("b")])).unwrap();
    config.tenants = serde_json::from_value(json!([{ "name": "a", "quotas": quotas }])).unwrap();
    config
}

fn post(model: &str) -> Call {
    Call::post(json!({ "request": { "model": model } }).to_string()).bearer("key-a")
}

async fn id(reply: Reply) -> String {
    assert_eq!(reply.status, 201);
    reply.json().await["id"].as_str().unwrap().to_owned()
}

/// Which limit was in the way, and in how many seconds to come again.
async fn quota(reply: Reply) -> (String, u64) {
    let retry_after = reply.header("retry-after").expect("when to come again").parse().unwrap();
    let (status, error) = reply.error_json().await;
    assert_eq!((status, error["code"].as_str()), (429, Some("quota_exceeded")), "{error}");
    let limit = error["detail"]["limit"].as_str().unwrap();
    assert!(error["message"].as_str().unwrap().contains(limit), "{error}");
    (limit.to_owned(), retry_after)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_runs_so_many_streams_at_a_time() {
    over_http(async |protocol, journal| {
        let hold = Hold::new();
        let provider = Provider::with(Script::says(text("a").bytes).wait(&hold).write(DONE)).await;
        let config = with_quotas(config(journal, &provider.base_url()), &json!({ "running_max": 2 }));
        let gateway = Gateway::start(config);
        let send = async |call: Call| call.send(protocol, gateway.http).await;
        let keyed = post("m").header("idempotency-key", "k");
        let first = id(send(keyed.clone()).await).await;
        id(send(post("m")).await).await;
        let own = Call::post(r#"{"request":{"model":"m"},"id":"own"}"#).bearer("key-a");
        assert_eq!(quota(send(own.clone()).await).await, ("quotas.running_max".into(), 5));
        // What was started before is no start, and others are others.
        assert_eq!(send(keyed).await.status, 200);
        assert_eq!(send(post("m").without("authorization").bearer("key-b")).await.status, 201);
        // What was refused has left nothing: no stream, no id, no call.
        let list = send(Call::get("/v1/streams").bearer("key-a")).await.json().await;
        assert_eq!(list["streams"].as_array().unwrap().len(), 2);
        provider.until("three calls", |calls| calls.len() == 3).await;
        let stop = Call::delete(format!("/v1/streams/{first}")).bearer("key-a");
        within("the end", async { while send(stop.clone()).await.status != 200 {} }).await;
        assert_eq!(send(own).await.status, 201);
        assert_eq!(provider.until("four calls", |calls| calls.len() == 4).await.len(), 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_come_as_many_as_a_minute_has_and_then_evenly() {
    let provider = Provider::with(Script::says(format!("{}{DONE}", text("a").bytes))).await;
    let quotas = json!({ "starts_per_minute": 3 });
    let gateway = Gateway::start(with_quotas(config(Journal::Memory, &provider.base_url()), &quotas));
    let keyed = post("m").header("idempotency-key", "k");
    for _ in 0..3 {
        // What is wrong is no start, nor is what has been started before.
        assert_eq!(gateway.send(&Call::post("{}").bearer("key-a")).await.status, 400);
        assert!([200, 201].contains(&gateway.send(&keyed).await.status));
    }
    for _ in 0..2 {
        id(gateway.send(&post("m")).await).await;
    }
    let (limit, wait) = quota(gateway.send(&post("m")).await).await;
    assert_eq!(limit, "quotas.starts_per_minute");
    assert!((1..=20).contains(&wait), "{wait}");
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_beyond_the_quota_are_sent_away_as_they_understand_it() {
    everywhere(async |case| {
        let provider = Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await;
        let quotas = json!({ "viewers_max": 2 });
        let gateway = Gateway::start(with_quotas(config(case.journal, &provider.base_url()), &quotas));
        let answer = gateway.send(&post("m")).await.json().await;
        let (id, ticket) = (answer["id"].as_str().unwrap(), answer["ticket"].as_str().unwrap());
        let path = format!("/v1/streams/{id}");
        let events = format!("{path}/events?ticket={ticket}");
        let mut viewers = Vec::new();
        for _ in 0..2 {
            let mut viewing = Viewing::open(Transport::SseH1, gateway.http, &events).await;
            viewing.until("text").await;
            viewers.push(viewing);
        }
        let protocol = case.transport.protocol();
        match case.transport {
            // An `EventSource` gives up for good at an error.
            Transport::SseH1 | Transport::SseBody | Transport::SseH2 => {
                let source = Call::get(&*events).header("accept", "text/event-stream");
                let mut reply = source.send(protocol, gateway.http).await;
                assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream")));
                let (body, over) = reply.body.whole().await;
                let body = String::from_utf8(body).unwrap();
                assert_eq!(over, Over::Clean);
                let retry = body.lines().find_map(|line| line.strip_prefix("retry: ")).unwrap();
                assert!((1000..=5000).contains(&retry.parse::<u64>().unwrap()), "{body}");
                let bye = format!("event: bye\ndata: {{\"code\":\"too_many\",\"retry_ms\":{retry}}}\n\n");
                assert!(body.ends_with(&bye), "{body}");
                assert_eq!(body.matches("event: ").count(), 2, "open and bye: {body}");
            }
            Transport::Quic => {
                let events = Viewing::open(Transport::Quic, gateway.http, &events).await.rest().await;
                assert_eq!((events.len(), &*events[0].name), (1, "bye"));
                assert_eq!(events[0].data["code"], "too_many");
            }
            Transport::LongPoll => {}
        }
        for (view, accept) in [
            ("events", "*/*"),
            ("events", "application/json"),
            ("events", "application/x-ndjson"),
            ("raw", "*/*"),
            ("text", "*/*"),
            ("ui", "text/event-stream"),
        ] {
            let call = Call::get(format!("{path}/{view}")).header("accept", accept).bearer("key-a");
            let (limit, _) = quota(call.send(protocol, gateway.http).await).await;
            assert_eq!(limit, "quotas.viewers_max", "{view} as {accept}");
        }
        // A caller who would watch what it starts does not start it.
        let door = Call::new(http::Method::POST, "/v1/chat/completions").bearer("key-a");
        let door =
            door.with_body(r#"{"model":"m","stream":true}"#).header("content-type", "application/json");
        let reply = door.send(protocol, gateway.http).await;
        assert_eq!((reply.status, reply.header("retry-after")), (429, Some("5")));
        let error = reply.json().await;
        assert_eq!(error["error"]["type"], "rate_limit_error", "{error}");
        assert_eq!(error["error"]["code"], "quota_exceeded", "{error}");
        assert_eq!(provider.calls().len(), 1);
        // Whoever leaves makes room.
        viewers.pop();
        within("a place", async {
            while Viewing::open(Transport::Quic, gateway.http, &events).await.next().await.unwrap().name
                == "bye"
            {}
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_places_for_so_many() {
    let provider = Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.limits.stream_viewers_max = 1;
    let gateway = Gateway::start(config);
    let (one, other) = (gateway.stream("m").await, gateway.stream("m").await);
    let _viewing = gateway.watch(Transport::SseH1, &one, "").await;
    let reply = gateway.send(&Call::get(format!("/v1/streams/{one}/events"))).await;
    assert!(reply.header("retry-after").is_some());
    let (status, error) = reply.error_json().await;
    assert_eq!((status, error["code"].as_str()), (503, Some("overloaded")));
    assert_eq!(error["detail"]["limit"], "limits.stream_viewers_max");
    gateway.watch(Transport::SseH1, &other, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_counts_until_it_is_gone() {
    for journal in Journal::ALL {
        let large: &'static str = "x".repeat(5000).leak();
        let provider = Provider::with(Script::says(format!("{}{DONE}", text(large).bytes))).await;
        let quotas = json!({ "retained_bytes_max": 4000 });
        let gateway = Gateway::start(with_quotas(config(journal, &provider.base_url()), &quotas));
        let first = id(gateway.send(&post("m")).await).await;
        let ended = Call::get(format!("/v1/streams/{first}/events")).bearer("key-a");
        gateway.send(&ended).await.body.whole().await;
        let (limit, _) = quota(gateway.send(&post("m")).await).await;
        assert_eq!(limit, "quotas.retained_bytes_max");
        let purge = Call::delete(format!("/v1/streams/{first}?purge=1")).bearer("key-a");
        assert_eq!(gateway.send(&purge).await.status, 200);
        id(gateway.send(&post("m")).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_day_are_the_providers_or_estimated() {
    let said: &'static str = "x".repeat(400).leak();
    let provider = Provider::start().await;
    let counted = chunk(&[Say::Text(0, "a"), Say::Usage(700, 300)]).bytes;
    provider.plays("counted", Script::says(format!("{counted}{DONE}")));
    provider.plays("silent", Script::says(format!("{}{DONE}", text(said).bytes)));
    let quotas = json!({ "tokens_per_day": 1100 });
    let gateway = Gateway::start(with_quotas(config(Journal::Memory, &provider.base_url()), &quotas));
    let usage = async || gateway.send(&Call::get("/v1/usage").bearer("key-a")).await.json().await;
    let run = async |model: &str| {
        let id = id(gateway.send(&post(model)).await).await;
        let events = Call::get(format!("/v1/streams/{id}/events")).bearer("key-a");
        gateway.send(&events).await.body.whole().await;
    };
    run("counted").await;
    assert_eq!(usage().await["tokens"], json!({ "total": 1000, "estimated": 0 }));
    run("silent").await;
    let after = usage().await;
    let estimated = after["tokens"]["estimated"].as_u64().unwrap();
    assert!((100..=140).contains(&estimated), "a quarter of the text, and of the request: {after}");
    assert_eq!(after["tokens"]["total"], 1000 + estimated);
    assert_eq!(after["quotas"], quotas);
    let (limit, wait) = quota(gateway.send(&post("counted")).await).await;
    assert_eq!(limit, "quotas.tokens_per_day");
    assert!(wait <= 86_400, "{wait}");
    let other = gateway.send(&Call::get("/v1/usage").bearer("key-b")).await.json().await;
    assert_eq!(other["tokens"], json!({ "total": 0, "estimated": 0 }), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_on_counts_as_well() {
    let answer = json!({ "choices": [], "usage": { "prompt_tokens": 70, "completion_tokens": 30 } });
    let script = Script::new("200 OK", "application/json").write(answer.to_string());
    let provider = Provider::with(script).await;
    let quotas = json!({ "tokens_per_day": 100 });
    let gateway = Gateway::start(with_quotas(config(Journal::Memory, &provider.base_url()), &quotas));
    let call = Call::new(http::Method::POST, "/v1/chat/completions").bearer("key-a");
    let call = call.with_body(r#"{"model":"m"}"#).header("content-type", "application/json");
    assert_eq!(call.send(Protocol::H1, gateway.http).await.status, 200);
    assert_eq!(call.send(Protocol::H1, gateway.http).await.status, 429);
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_cost_what_their_provider_says() {
    let vectors: Vec<Vec<f32>> = vec![vec![0.5; 1000]; 100];
    let answer = json!({ "data": vectors, "usage": { "prompt_tokens": 7, "total_tokens": 7 } });
    let provider = Provider::with(Script::new("200 OK", "application/json").write(answer.to_string())).await;
    provider.plays("silent", Script::new("200 OK", "application/json").write(r#"{"data":[]}"#));
    let quotas = json!({ "tokens_per_day": 1000 });
    let gateway = Gateway::start(with_quotas(config(Journal::Memory, &provider.base_url()), &quotas));
    let embed = async |model: &str| {
        let body = json!({ "model": model, "input": "x".repeat(400) }).to_string();
        let mut reply = gateway.send(&Call::post_to("/v1/embeddings", body).bearer("key-a")).await;
        assert_eq!((reply.status, reply.body.whole().await.1), (200, Over::Clean));
        let usage = gateway.send(&Call::get("/v1/usage").bearer("key-a")).await.json().await;
        ["total", "estimated"].map(|which| usage["tokens"][which].as_u64().unwrap())
    };
    assert_eq!(embed("m").await, [7, 0]);
    let [total, estimated] = embed("silent").await;
    assert!((100..=120).contains(&estimated) && total == 7 + estimated, "{total} {estimated}");
}
