//! Who may: keys, tenants, tickets, and the names and origins under which browsers call.

use serde_json::{Value, json};
use tokencast::auth::key::{self, Digest};
use tokencast::auth::scope::Scopes;
use tokencast::config::Config;

use crate::gateway::{Gateway, Journal, config, over_http};
use crate::http::{Call, Protocol, Reply};
use crate::provider::{Ending, Provider, Script};
use crate::says::text;

fn with_keys(mut config: Config, keys: &[(&str, &str)]) -> Config {
    config.auth.keys = keys
        .iter()
        .map(|(key, tenant)| key::Config {
            name: (*key).into(),
            sha256: Digest::of(key),
            tenant: (*tenant).into(),
            scopes: Scopes::ALL,
        })
        .collect();
    config
}

async fn provider() -> Provider {
    Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await
}

/// A gateway with two tenants, and a stream of the first one: its id and its ticket.
async fn two_tenants(provider: &Provider, journal: Journal) -> (Gateway, String, String) {
    let keys = [("key-a", "a"), ("key-a2", "a"), ("key-b", "b")];
    let gateway = Gateway::start(with_keys(config(journal, &provider.base_url()), &keys));
    let answer = gateway.send(&Call::post(r#"{"request":{"model":"m"}}"#).bearer("key-a")).await.json().await;
    let text = |key: &str| answer[key].as_str().unwrap().to_owned();
    (gateway, text("id"), text("ticket"))
}

/// Every call that a stream has.
fn calls(id: &str) -> [Call; 6] {
    let stream = format!("/v1/streams/{id}");
    [
        Call::get(&*stream),
        Call::get(format!("{stream}/events")),
        Call::get(format!("{stream}/events")).header("accept", "application/json"),
        Call::get(format!("{stream}/raw")),
        Call::get(format!("{stream}/text")),
        Call::delete(&*stream),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_nothing_is_there() {
    over_http(async |protocol, journal| {
        let provider = provider().await;
        let (gateway, id, ticket) = two_tenants(&provider, journal).await;
        let mut all = calls(&id).to_vec();
        all.extend([Call::get("/v1/streams"), Call::post(r#"{"request":{"model":"m"}}"#)]);
        for call in all {
            for (call, code) in [
                (call.clone(), "unauthorized"),
                (call.clone().bearer("key-c"), "unauthorized"),
                (call.clone().bearer(""), "unauthorized"),
                (call.clone().header("authorization", "Basic a2V5LWE6"), "unauthorized"),
                (call.clone().header("tokencast-key", "key-c"), "unauthorized"),
                (call.clone().bearer(&format!("{ticket}x")), "invalid_ticket"),
                (call.clone().bearer("a.b.c"), "invalid_ticket"),
            ] {
                let reply = call.send(protocol, gateway.http).await;
                assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{call:?}");
                assert_eq!(reply.error().await, (401, code.into()), "{call:?}");
            }
        }
        // Whoever has no key learns nothing of ids either.
        let unknown = Call::get("/v1/streams/unknown").send(protocol, gateway.http).await;
        assert_eq!(unknown.error().await.0, 401);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_and_unknown_streams_look_alike() {
    over_http(async |protocol, journal| {
        let provider = provider().await;
        let (gateway, id, ticket) = two_tenants(&provider, journal).await;
        // Status, head but for its time and number, and body.
        let send = async |call: &Call| -> (u16, http::HeaderMap, Vec<u8>) {
            let mut reply = call.send(protocol, gateway.http).await;
            for name in ["date", "tokencast-request-id"] {
                assert!(reply.headers.remove(name).is_some(), "{name}");
            }
            (reply.status, reply.headers, reply.body.whole().await.0)
        };
        let unknown = send(&Call::get("/v1/streams/unknown").bearer("key-a")).await;
        assert_eq!(unknown.0, 404);
        for (foreign, missing) in calls(&id).into_iter().zip(calls("unknown")) {
            assert_eq!(send(&foreign.clone().bearer("key-b")).await, unknown, "{foreign:?}");
            assert_eq!(send(&missing.bearer("key-b")).await, unknown);
        }
        for odd in ["x%20y", "%ff", "a.b", &"x".repeat(65)] {
            assert_eq!(
                send(&Call::get(format!("/v1/streams/{odd}")).bearer("key-a")).await,
                unknown,
                "{odd}"
            );
        }
        // A ticket reaches its own stream and no other, not even of the same tenant.
        let post = Call::post(r#"{"request":{"model":"m"}}"#);
        let other = gateway.send(&post.clone().bearer("key-a")).await.json().await;
        let other = calls(other["id"].as_str().unwrap());
        for call in other {
            assert_eq!(send(&call.clone().bearer(&ticket)).await, unknown, "{call:?}");
        }
        // Ids and keys are a tenant's own.
        let own = Call::post(r#"{"request":{"model":"m"},"id":"own"}"#).header("idempotency-key", "k");
        for key in ["key-a", "key-b"] {
            assert_eq!(gateway.send(&own.clone().bearer(key)).await.status, 201, "{key}");
        }
        assert_eq!(gateway.send(&own.bearer("key-a2")).await.status, 200, "two keys of one tenant");
        let list = async |key: &str| -> usize {
            let list = gateway.send(&Call::get("/v1/streams").bearer(key)).await.json().await;
            list["streams"].as_array().unwrap().len()
        };
        assert_eq!((list("key-a").await, list("key-a2").await, list("key-b").await), (3, 3, 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_watches_and_stops_its_stream() {
    over_http(async |protocol, journal| {
        let provider = provider().await;
        let (gateway, id, ticket) = two_tenants(&provider, journal).await;
        gateway.send(&Call::get(format!("/v1/streams/{id}/raw")).bearer("key-a")).await;
        for call in &calls(&id)[..5] {
            let in_query = |call: &Call| call.clone().query("ticket", &ticket);
            for call in
                [call.clone().bearer(&ticket), in_query(call), call.clone().header("tokencast-key", &*ticket)]
            {
                assert_eq!(call.send(protocol, gateway.http).await.status, 200, "{call:?}");
            }
            // A header counts before the query.
            let call = in_query(&call.clone().bearer("key-c"));
            assert_eq!(call.send(protocol, gateway.http).await.status, 401, "{call:?}");
        }
        for call in [Call::get("/v1/streams"), Call::post(r#"{"request":{"model":"m"}}"#)] {
            let error = call.bearer(&ticket).send(protocol, gateway.http).await.error().await;
            assert_eq!(error, (403, "forbidden".into()));
        }
        let purge = Call::delete(format!("/v1/streams/{id}?purge=1")).bearer(&ticket);
        let error = purge.send(protocol, gateway.http).await.error().await;
        assert_eq!(error, (403, "forbidden".into()), "who may stop may not erase");
        let stop = calls(&id)[5].clone().bearer(&ticket).send(protocol, gateway.http).await;
        assert_eq!(stop.status, 202);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_answers_under_its_own_names_only() {
    let provider = provider().await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut config = config(Journal::Memory, &provider.base_url());
        config.http.public_url = Some("https://ai.example:8443/".parse().unwrap());
        config.http.hosts = vec!["inside.example".into()];
        let gateway = Gateway::start(config);
        let with = async |host: &str| -> Reply {
            Call::get("/v1/streams").host(host).send(protocol, gateway.http).await
        };
        for host in [
            "localhost",
            "LOCALHOST:1",
            "tokencast.localhost:80",
            "127.0.0.1",
            "127.0.0.1:9",
            "[::1]:80",
            "ai.example",
            "AI.example:8443",
            "inside.example",
        ] {
            assert_eq!(with(host).await.status, 200, "{host} over {protocol:?}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "evil-localhost",
            "10.0.0.1",
            "ai.example.evil",
            "example",
            "evil@localhost",
            "localhost:evil",
        ] {
            assert_eq!(
                with(host).await.error().await,
                (421, "host_not_allowed".into()),
                "{host} over {protocol:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_cannot_spend_the_key() {
    let provider = provider().await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let post = Call::post(r#"{"request":{"model":"m"}}"#);
    let own = format!("http://{}", gateway.http);
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1", "https://ai.example"] {
        for call in [post.clone(), Call::delete("/v1/streams/x")] {
            let reply = gateway.send(&call.header("origin", origin)).await;
            assert_eq!(reply.header("access-control-allow-origin"), None);
            assert_eq!(reply.error().await, (403, "origin_not_allowed".into()), "{origin}");
        }
        let get = gateway.send(&Call::get("/v1/streams").header("origin", origin)).await;
        assert_eq!((get.status, get.header("access-control-allow-origin")), (200, None));
        let preflight = Call::new(http::Method::OPTIONS, "/v1/streams");
        let preflight = preflight.header("origin", origin).header("access-control-request-method", "POST");
        let reply = gateway.send(&preflight).await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (405, None));
    }
    assert_eq!(gateway.send(&post.clone().header("origin", own)).await.status, 201, "our own page");
    // What a form or a simple request can send without asking first.
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/jsonx"]
    {
        let call = post.clone().without("content-type").header("content-type", content_type);
        assert_eq!(gateway.send(&call).await.error().await, (415, "unsupported_media_type".into()));
    }
    assert_eq!(gateway.send(&post.clone().without("content-type")).await.error().await.0, 415);
    let charset = post.without("content-type").header("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(gateway.send(&charset).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn configured_origins_may_call_and_read_and_no_others() {
    over_http(async |protocol, journal| {
        let provider = provider().await;
        let mut config = with_keys(config(journal, &provider.base_url()), &[("key-a", "a")]);
        config.http.cors_origins = vec!["https://app.example".into(), "https://b.example".into()];
        let gateway = Gateway::start(config);
        let send = async |call: Call| call.send(protocol, gateway.http).await;
        let preflight = |origin: &str| {
            let call = Call::new(http::Method::OPTIONS, "/v1/streams").header("origin", origin);
            let call = call.header("access-control-request-method", "POST");
            call.header(
                "access-control-request-headers",
                "authorization,content-type,idempotency-key,last-event-id",
            )
        };
        for origin in ["https://app.example", "https://b.example"] {
            let reply = send(preflight(origin)).await;
            assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some(origin)));
            let allowed = |name: &str| reply.header(name).unwrap_or_default().to_ascii_lowercase();
            for header in
                ["authorization", "content-type", "idempotency-key", "last-event-id", "tokencast-key"]
            {
                assert!(allowed("access-control-allow-headers").contains(header), "{header}");
            }
            for method in ["get", "post", "delete"] {
                assert!(allowed("access-control-allow-methods").contains(method), "{method}");
            }
            assert!(reply.header("tokencast-request-id").is_some(), "on every answer");
            let post = Call::post(r#"{"request":{"model":"m"}}"#).bearer("key-a").header("origin", origin);
            let reply = send(post).await;
            assert_eq!((reply.status, reply.header("access-control-allow-origin")), (201, Some(origin)));
            assert!(reply.header("access-control-expose-headers").unwrap().contains("location"));
            assert!(reply.header("vary").is_some_and(|vary| vary.contains("origin")), "caches must know");
            // A page has to be able to read what is wrong.
            let reply = send(Call::get("/v1/streams").header("origin", origin)).await;
            assert_eq!((reply.status, reply.header("access-control-allow-origin")), (401, Some(origin)));
        }
        for origin in ["https://evil.example", "https://app.example.evil", "http://app.example", "null"] {
            let get = Call::get("/v1/streams").bearer("key-a");
            for call in [preflight(origin), get.clone().header("origin", origin), get] {
                let reply = send(call).await;
                let told = reply.headers.keys().filter(|name| name.as_str().starts_with("access-control-"));
                assert_eq!(told.collect::<Vec<_>>(), [""; 0], "{origin}");
                assert!(reply.header("vary").is_some_and(|vary| vary.contains("origin")), "caches must know");
            }
            let post = Call::post(r#"{"request":{"model":"m"}}"#).bearer("key-a").header("origin", origin);
            assert_eq!(send(post).await.error().await, (403, "origin_not_allowed".into()));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_callers_credentials_the_authorization_is_the_providers() {
    let provider = provider().await;
    let mut config = with_keys(config(Journal::Memory, &provider.base_url()), &[("key-a", "a")]);
    config.providers[0] = serde_json::from_value::<tokencast::upstream::provider::Config>(json!({
        "name": "test", "dialect": "openai", "base_url": provider.base_url(), "credentials": "caller",
    }))
    .unwrap();
    let gateway = Gateway::start(config);
    let post = Call::post(r#"{"request":{"model":"m"}}"#).header("tokencast-key", "key-a");
    let reply = gateway.send(&post.clone().header("authorization", "Bearer sk-of.the.caller")).await;
    assert_eq!(reply.status, 201);
    let calls = provider.until("the call", |calls| calls.len() == 1).await;
    assert!(calls[0].head.contains("authorization: Bearer sk-of.the.caller\r\n"), "{}", calls[0].head);
    assert!(!calls[0].head.contains("key-a"));
    assert_eq!(gateway.send(&post).await.error().await, (401, "no_credentials".into()));
    let wrong = Call::post(r#"{"request":{"model":"m"}}"#).bearer("key-a");
    let refused = gateway.send(&wrong).await.error().await;
    assert_eq!(refused, (401, "no_credentials".into()), "our key is not for the provider");
    let list: Value = gateway.send(&Call::get("/v1/streams").bearer("key-a")).await.json().await;
    assert_eq!(list["streams"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_an_open_gateway_a_callers_jwt_is_the_providers_too() {
    let provider = provider().await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.providers[0] = serde_json::from_value::<tokencast::upstream::provider::Config>(json!({
        "name": "test", "dialect": "openai", "base_url": provider.base_url(), "credentials": "caller",
    }))
    .unwrap();
    let gateway = Gateway::start(config);
    let post = Call::post(r#"{"request":{"model":"m"}}"#).bearer("eyJhbGciOiJSUzI1NiJ9.e30.c2ln");
    assert_eq!(gateway.send(&post).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_can_be_made_for_who_only_watches() {
    let provider = Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.auth.keys = ["one", "two"]
        .map(|key| key::Config {
            name: key.into(),
            sha256: Digest::of(key),
            tenant: key.into(),
            scopes: Scopes::ALL,
        })
        .into();
    let gateway = Gateway::start(config);
    let start = Call::post(json!({ "id": "mine", "request": { "model": "m", "messages": [1] } }).to_string());
    assert_eq!(gateway.send(&start.bearer("one")).await.status, 201);
    let ask = |key: &str, wanted: &Value| Call::post_to("/v1/tickets", wanted.to_string()).bearer(key);
    let made = gateway.send(&ask("one", &json!({ "stream": "mine", "ttl_s": 60 }))).await;
    assert_eq!(made.status, 201);
    let watching = made.json().await["ticket"].as_str().unwrap().to_owned();
    let stopping =
        gateway.send(&ask("one", &json!({ "stream": "mine", "can": ["watch", "stop"] }))).await.json().await;
    let stopping = stopping["ticket"].as_str().unwrap();
    assert_eq!(gateway.send(&Call::get("/v1/streams/mine").bearer(&watching)).await.status, 200);
    let stop = Call::delete("/v1/streams/mine");
    assert_eq!(gateway.send(&stop.clone().bearer(&watching)).await.error().await, (403, "forbidden".into()));
    for (key, wanted, refused) in [
        ("two", json!({ "stream": "mine" }), (404, "not_found")),
        (&*watching, json!({ "stream": "mine" }), (403, "forbidden")),
        ("one", json!({ "stream": "mine", "ttl_s": 0 }), (400, "invalid_field")),
        ("one", json!({ "stream": "mine", "can": ["fly"] }), (400, "invalid_field")),
        ("one", json!({ "stream": "mine", "can": [] }), (400, "invalid_field")),
        ("one", json!({}), (400, "invalid_field")),
        ("one", json!("mine"), (400, "invalid_field")),
    ] {
        let (status, code) = gateway.send(&ask(key, &wanted)).await.error().await;
        assert_eq!((status, &*code), refused, "{wanted}");
    }
    assert_eq!(gateway.send(&stop.bearer(stopping)).await.status, 202);
}
