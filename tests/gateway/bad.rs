//! Bad input: each has its status, a stable code, and a sentence that says what to do.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::gateway::{Gateway, Journal, config, over_http};
use crate::http::{Call, Reply, within};
use crate::provider::{Provider, Script};
use crate::says::{DONE, text};

async fn whole() -> Provider {
    Provider::with(Script::says(format!("{}{DONE}", text("a").bytes))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_envelope_is_refused_with_what_to_write() {
    let huge = format!(r#"{{"request":{{"model":"m"}},"metadata":{{"a":"{}"}}}}"#, "x".repeat(20_000));
    let long_id = format!(r#"{{"request":{{"model":"m"}},"id":"{}"}}"#, "x".repeat(65));
    let rows = [
        ("", "invalid_json", "JSON"),
        ("{", "invalid_json", "JSON"),
        ("nonsense", "invalid_json", "JSON"),
        (r#"{"request":{"model":"m"}}x"#, "invalid_json", "JSON"),
        ("[]", "invalid_field", "object"),
        ("7", "invalid_field", "object"),
        ("null", "invalid_field", "object"),
        ("{}", "missing_field", "request"),
        (r#"{"model":"m","messages":[]}"#, "unknown_field", "model"),
        (r#"{"request":{"model":"m"},"reqest":1}"#, "unknown_field", "reqest"),
        (r#"{"request":null}"#, "invalid_field", "request"),
        (r#"{"request":"text"}"#, "invalid_field", "request"),
        (r#"{"request":[]}"#, "invalid_field", "request"),
        (r#"{"request":{"model":"m"},"provider":7}"#, "invalid_field", "provider"),
        (r#"{"request":{"model":"m"},"provider":"nobody"}"#, "unknown_provider", "test"),
        (r#"{"request":{"model":"gpt-9"}}"#, "unknown_model", "gpt-9"),
        (r#"{"request":{}}"#, "unknown_model", "model"),
        (r#"{"request":{"model":7}}"#, "unknown_model", "model"),
        (r#"{"request":{"model":"m"},"path":"/models"}"#, "path_not_allowed", "/chat/completions"),
        (r#"{"request":{"model":"m"},"path":"/../admin"}"#, "path_not_allowed", "/chat/completions"),
        (
            r#"{"request":{"model":"m"},"path":"http://evil.example/"}"#,
            "path_not_allowed",
            "/chat/completions",
        ),
        (r#"{"request":{"model":"m"},"path":7}"#, "invalid_field", "path"),
        (r#"{"request":{"model":"m"},"id":""}"#, "invalid_id", "64"),
        (r#"{"request":{"model":"m"},"id":"a/b"}"#, "invalid_id", "A-Z"),
        (r#"{"request":{"model":"m"},"id":"ä"}"#, "invalid_id", "A-Z"),
        (&long_id, "invalid_id", "64"),
        (r#"{"request":{"model":"m"},"id":7}"#, "invalid_field", "id"),
        (r#"{"request":{"model":"m"},"metadata":"x"}"#, "invalid_field", "metadata"),
        (r#"{"request":{"model":"m"},"metadata":[]}"#, "invalid_field", "metadata"),
        (&huge, "invalid_field", "16384"),
        (r#"{"request":{"model":"m"},"ttl_s":0}"#, "invalid_field", "ttl_s"),
        (r#"{"request":{"model":"m"},"ttl_s":-1}"#, "invalid_field", "ttl_s"),
        (r#"{"request":{"model":"m"},"ttl_s":1.5}"#, "invalid_field", "ttl_s"),
        (r#"{"request":{"model":"m"},"ttl_s":"9"}"#, "invalid_field", "ttl_s"),
        (r#"{"request":{"model":"m"},"ttl_s":99999999999}"#, "invalid_field", "ttl_s"),
        (r#"{"request":{"model":"m"},"on_no_viewers":"stop"}"#, "invalid_field", "cancel_after_s"),
        (
            r#"{"request":{"model":"m"},"on_no_viewers":{"cancel_after_s":-1}}"#,
            "invalid_field",
            "cancel_after_s",
        ),
        (
            r#"{"request":{"model":"m"},"on_no_viewers":{"cancel_after":1}}"#,
            "invalid_field",
            "cancel_after_s",
        ),
        (r#"{"request":{"model":"m"},"ask_usage":1}"#, "invalid_field", "ask_usage"),
    ];
    over_http(async |protocol, journal| {
        let provider = whole().await;
        let mut config = config(journal, &provider.base_url());
        config.providers[0].models = vec!["m*".into()];
        let gateway = Gateway::start(config);
        for (body, code, hint) in rows {
            let (status, error) = Call::post(body).send(protocol, gateway.http).await.error_json().await;
            let body = &body[..body.len().min(90)];
            assert_eq!((status, error["code"].as_str()), (400, Some(code)), "{body}: {error}");
            assert!(error["message"].as_str().unwrap().contains(hint), "{body}: {error}");
        }
        assert!(provider.calls().is_empty());
        // What is inside of `request` is the provider's business.
        let odd = r#"{"request":{"model":"m","stream":"maybe","nonsense":{"a":[null]},"n":-1}}"#;
        assert_eq!(Call::post(odd).send(protocol, gateway.http).await.status, 201);
        let key = |key: &str| Call::post(r#"{"request":{"model":"m"}}"#).header("idempotency-key", key);
        for call in [key(""), key(&"x".repeat(256)), key("a").header("idempotency-key", "b")] {
            let error = call.send(protocol, gateway.http).await.error().await;
            assert_eq!(error, (400, "invalid_idempotency_key".into()));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_is_none_is_refused() {
    over_http(async |protocol, journal| {
        let provider = whole().await;
        let gateway = Gateway::before(&provider, journal);
        let id = gateway.stream("m").await;
        gateway.has_ended(&id).await;
        let none = [
            "-1",
            "1e3",
            "",
            "1.0",
            "+1",
            "%201",
            "0x1",
            "abc",
            "18446744073709551616",
            "9007199254740992",
            "٣",
        ];
        let mut calls = Vec::new();
        for view in ["events", "raw", "text"] {
            let path = format!("/v1/streams/{id}/{view}");
            calls.extend(none.map(|text| Call::get(format!("{path}?after={text}"))));
            calls.push(Call::get(format!("{path}?after=1&after=1")));
            calls.push(Call::get(format!("{path}?from=start")));
            calls.push(Call::get(format!("{path}?from=live&from=live")));
            if view != "raw" {
                let with = |text: &str| Call::get(&*path).header("last-event-id", text);
                calls.extend(["-1", "1e3", "1.0", "abc", "18446744073709551616", "1,2", "é"].map(with));
                calls.push(with("1").header("last-event-id", "1"));
            }
        }
        // A non-ASCII path has to be encoded to be sent at all.
        for call in calls.iter().filter(|call| call.is_ascii()) {
            for accept in ["*/*", "application/json"] {
                let reply = call.clone().header("accept", accept).send(protocol, gateway.http).await;
                assert_eq!(reply.error().await, (400, "invalid_cursor".into()), "{call:?}");
            }
        }
        let bad = |query: &str| Call::get(format!("/v1/streams/{id}/events?{query}"));
        for query in [
            "heartbeat_ms=499",
            "heartbeat_ms=30001",
            "heartbeat_ms=x",
            "heartbeat_ms=",
            "snapshot=2",
            "snapshot=true",
        ] {
            let error = bad(query).send(protocol, gateway.http).await.error().await;
            assert_eq!(error, (400, "invalid_parameter".into()), "{query}");
        }
        for query in ["wait_s=61", "wait_s=-1", "wait_s=", "wait_s=1&wait_s=1"] {
            let poll = bad(query).header("accept", "application/json");
            let error = poll.send(protocol, gateway.http).await.error().await;
            assert_eq!(error, (400, "invalid_parameter".into()), "{query}");
        }
        for query in ["limit=0", "limit=1001", "limit=x", "page=-1", "page=1", "status=done"] {
            let list = Call::get(format!("/v1/streams?{query}")).send(protocol, gateway.http).await;
            assert_eq!(list.error().await, (400, "invalid_parameter".into()), "{query}");
        }
        let purge = Call::delete(format!("/v1/streams/{id}?purge=yes")).send(protocol, gateway.http).await;
        assert_eq!(purge.error().await, (400, "invalid_parameter".into()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_wrong_methods_are_answered_in_json() {
    over_http(async |protocol, journal| {
        let provider = whole().await;
        let gateway = Gateway::before(&provider, journal);
        for path in [
            "/v1",
            "/v1/stream",
            "/v1/streams/",
            "/v1/streams/a/b",
            "/v1/streams/a/events/b",
            "//",
            "/metrics",
        ] {
            let error = Call::get(path).send(protocol, gateway.http).await.error().await;
            assert_eq!(error, (404, "not_found".into()), "{path}");
        }
        for (method, path, allow) in [
            ("PUT", "/v1/streams", "GET,HEAD,POST"),
            ("DELETE", "/v1/streams", "GET,HEAD,POST"),
            ("POST", "/v1/streams/x", "DELETE,GET,HEAD"),
            ("PATCH", "/v1/streams/x", "DELETE,GET,HEAD"),
            ("POST", "/v1/streams/x/events", "GET,HEAD"),
            ("DELETE", "/v1/streams/x/raw", "GET,HEAD"),
            ("PUT", "/v1/streams/x/text", "GET,HEAD"),
        ] {
            let call = Call::new(method.parse().unwrap(), path).header("content-length", "0");
            let reply = call.send(protocol, gateway.http).await;
            let mut allowed: Vec<&str> = reply.header("allow").unwrap().split(',').map(str::trim).collect();
            allowed.sort_unstable();
            assert_eq!(allowed.join(","), allow, "{method} {path}");
            assert_eq!(reply.error().await, (405, "method_not_allowed".into()), "{method} {path}");
        }
    })
    .await;
}

/// Sends these bytes, and closes the sending side if told so.
async fn raw(gateway: &Gateway, bytes: &str, and_close: bool) -> Reply {
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    if and_close {
        stream.shutdown().await.unwrap();
    }
    within("an answer", Reply::read(stream)).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_whole_in_time_and_not_too_large() {
    let provider = whole().await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.http.body_bytes_max = 1000;
    config.http.body_s = 1;
    let gateway = Gateway::start(config);
    let envelope = |len: usize| {
        let empty = json!({ "request": { "model": "m", "x": "" } }).to_string();
        empty.replace("\"\"", &format!("\"{}\"", "x".repeat(len - empty.len())))
    };
    assert_eq!(gateway.send(&Call::post(envelope(1000))).await.status, 201, "exactly");
    assert_eq!(gateway.send(&Call::post(envelope(1001))).await.error().await, (413, "body_too_large".into()));
    let head = "POST /v1/streams HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let announced = raw(&gateway, &format!("{head}content-length: 99999999999\r\n\r\n"), false).await;
    assert_eq!(announced.error().await, (413, "body_too_large".into()), "before a byte of it");
    let chunk = format!("{:x}\r\n{}\r\n", 600, "x".repeat(600)).repeat(2);
    let chunked = raw(&gateway, &format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}"), false).await;
    assert_eq!(chunked.error().await, (413, "body_too_large".into()));
    let began = std::time::Instant::now();
    let slow = raw(&gateway, &format!("{head}content-length: 100\r\n\r\n{{"), false).await;
    assert_eq!(slow.error().await, (408, "request_timeout".into()));
    assert!((Duration::from_millis(900)..Duration::from_secs(3)).contains(&began.elapsed()));
    assert_eq!(provider.calls().len(), 1);
    // Who goes away in the middle of a request gets nothing, and nothing comes of it.
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(format!("{head}content-length: 50\r\n\r\n{{\"request\":").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    if let Some(reply) = within("an answer or a close", Reply::read(stream)).await {
        assert_eq!(reply.error().await, (400, "body_incomplete".into()));
    }
    let fine = gateway.send(&Call::post(envelope(900))).await;
    assert_eq!(fine.status, 201);
    provider.until("the second call", |calls| calls.len() == 2).await;
}
