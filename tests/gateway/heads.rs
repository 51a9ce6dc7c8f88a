//! Heads that nobody sends by accident, and sizes at their borders.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::{Gateway, Journal, config, over_http};
use crate::http::{Call, PROTOCOLS, Protocol, Reply, within};
use crate::provider::Provider;

async fn gateway() -> Gateway {
    Gateway::before(&Provider::start().await, Journal::Memory)
}

/// What comes back for these bytes, and whether the connection is closed behind it.
async fn answer(gateway: &Gateway, bytes: &[u8]) -> Option<Reply> {
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    within("an answer or a close", Reply::read(stream)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_told_so() {
    let gateway = gateway().await;
    let rows: [(&str, u16, &str); 36] = [
        ("GET / HTTP/1.1\r\n\r\n", 400, "invalid_host"),
        ("GET / HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n", 400, "invalid_host"),
        ("GET http://localhost/ HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400, "invalid_host"),
        ("GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n", 421, "host_not_allowed"),
        ("GET http://evil.example/ HTTP/1.1\r\nhost: localhost\r\n\r\n", 421, "host_not_allowed"),
        ("CONNECT evil.example:443 HTTP/1.1\r\nhost: localhost\r\n\r\n", 421, "host_not_allowed"),
        ("OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n", 404, "not_found"),
        ("BREW /v1/streams HTTP/1.1\r\nhost: localhost\r\n\r\n", 405, "method_not_allowed"),
        ("TRACE /v1/streams HTTP/1.1\r\nhost: localhost\r\n\r\n", 405, "method_not_allowed"),
        ("GET / HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n\r\n", 400, "malformed_request"),
        ("GET /\0 HTTP/1.1\r\nhost: localhost\r\n\r\n", 400, "malformed_request"),
        ("GE\0T / HTTP/1.1\r\nhost: localhost\r\n\r\n", 400, "malformed_request"),
        ("GET / HTTP/1.1\r\nhost: localhost\r\nx: a\r\n folded\r\n\r\n", 400, "malformed_request"),
        ("GET / HTTP/1.1\r\nhost : localhost\r\n\r\n", 400, "malformed_request"),
        ("GET / HTTP/1.1\r\nhost: localhost\r\nx\r\n\r\n", 400, "malformed_request"),
        ("GET / HTTP/1.1\r\nhost: localhost\r\nx: a\rb\r\n\r\n", 400, "malformed_request"),
        ("GET / HTTP/9.9\r\nhost: localhost\r\n\r\n", 400, "malformed_request"),
        ("GET /\r\nhost: localhost\r\n\r\n", 400, "malformed_request"),
        ("\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03", 400, "malformed_request"),
        (
            "POST /v1/streams HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
            400,
            "malformed_request",
        ),
        (
            "POST /v1/streams HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            400,
            "malformed_request",
        ),
        (
            "POST /v1/streams HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n",
            400,
            "malformed_request",
        ),
        (
            "POST /v1/streams HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            400,
            "malformed_request",
        ),
        (
            "POST /v1/streams HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            400,
            "malformed_request",
        ),
        (
            "POST /v1/streams HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: identity\r\n\
             transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "malformed_request",
        ),
        ("GET / HTTP/1.1\nhost: localhost\r\n\r\n", 400, "malformed_request"),
        ("GET / HTTP/1.1\r\nhost: localhost\n\r\n", 400, "malformed_request"),
        ("GET / HTTP/1.1\r\nhost: localhost\r\n\n", 400, "malformed_request"),
        ("GET / HTTP/1.1\nhost: localhost\n\n", 400, "malformed_request"),
        ("GET / HTTP/1.1\r\nhost: localhost\r\norigin: a\r\norigin: b\r\n\r\n", 400, "repeated_field"),
        ("GET / HTTP/1.1\r\nhost: localhost\r\norigin: a\r\norigin: a\r\n\r\n", 400, "repeated_field"),
        (
            "GET / HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer a\r\nAuthorization: Bearer a\r\n\r\n",
            400,
            "repeated_field",
        ),
        (
            "GET / HTTP/1.1\r\nhost: localhost\r\ntokencast-key: a\r\ntokencast-key: b\r\n\r\n",
            400,
            "repeated_field",
        ),
        ("GET / HTTP/1.1\r\nhost: localhost\r\napi-key: a\r\napi-key: b\r\n\r\n", 400, "repeated_field"),
        (
            "POST /v1/streams HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-type: text/plain\r\n\r\n",
            400,
            "repeated_field",
        ),
        (
            "POST /v1/streams HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "malformed_request",
        ),
    ];
    for (bytes, status, code) in rows {
        let reply = answer(&gateway, bytes.as_bytes()).await;
        let reply = reply.unwrap_or_else(|| panic!("a close for {bytes:?}"));
        assert_eq!(reply.error().await, (status, code.into()), "{bytes:?}");
    }
    let absolute = "GET http://localhost/v1/streams HTTP/1.1\r\nhost: elsewhere\r\n\r\n";
    assert_eq!(answer(&gateway, absolute.as_bytes()).await.unwrap().status, 200, "the target counts");
    // Operations ask the same.
    let mut stream = TcpStream::connect(gateway.ops).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: evil.example\r\n\r\n").await.unwrap();
    let reply = Reply::read(stream).await.unwrap();
    assert_eq!(reply.error().await, (421, "host_not_allowed".into()));
    for reason in
        ["malformed_request", "repeated_field", "invalid_host", "host_not_allowed", "method_not_allowed"]
    {
        assert!(gateway.refused(reason).await > 0, "{reason}");
    }
}

/// Later requests of a connection are answered as the first one is.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_later_request_is_told_so() {
    let gateway = gateway().await;
    let fine = "GET /v1/streams HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let post = "POST /v1/streams HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\na\nb\n";
    let (target, field) = ("/".repeat(20_000), "x".repeat(20_000));
    for (bad, code) in [
        ("GET / HTTP/1.1\nhost: localhost\n\n".into(), "malformed_request"),
        ("GET / HTTP/1.1\r\nhost : localhost\r\n\r\n".into(), "malformed_request"),
        (format!("GET {target} HTTP/1.1\r\n"), "uri_too_long"),
        (format!("GET / HTTP/1.1\r\nx: {field}\r\n"), "head_too_large"),
    ] {
        for (first, answered) in [(fine, "HTTP/1.1 200 "), (post, "HTTP/1.1 415 ")] {
            let mut stream = TcpStream::connect(gateway.http).await.unwrap();
            let mut said = Vec::new();
            stream.write_all(first.as_bytes()).await.unwrap();
            within("the first answer", async {
                while !said.ends_with(b"}") {
                    assert_ne!(stream.read_buf(&mut said).await.unwrap(), 0);
                }
            })
            .await;
            assert!(said.starts_with(answered.as_bytes()));
            stream.write_all(bad.as_bytes()).await.unwrap();
            let reply = within("another answer", Reply::read(stream)).await.expect("an answer");
            assert_eq!(reply.error().await.1, code, "{bad:.40?} behind {first:.40?}");
        }
    }
    // Asked at once, and each looked at.
    let both = format!("{fine}GET / HTTP/1.1\nhost: localhost\r\n\r\n{fine}");
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(both.as_bytes()).await.unwrap();
    let mut answers = String::new();
    within("a close", stream.read_to_string(&mut answers)).await.unwrap();
    let statuses: Vec<_> = answers.matches("HTTP/1.1 200 ").chain(answers.matches("HTTP/1.1 400 ")).collect();
    assert_eq!((answers.matches("HTTP/1.1 ").count(), statuses.len()), (2, 2), "{answers}");
}

/// A length beside chunks is a request of two meanings: it is read as chunks, and nothing is read behind it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_smuggled_behind_a_length_and_chunks() {
    let gateway = gateway().await;
    let head = "POST /v1/streams HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    for both in
        ["content-length: 5\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 5"]
    {
        let mut stream = TcpStream::connect(gateway.http).await.unwrap();
        let smuggled = "GET /v1/streams HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let bytes = format!("{head}{both}\r\n\r\n0\r\n\r\n{smuggled}");
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        let _ = within("a close", stream.read_to_end(&mut answers)).await;
        let answers = String::from_utf8(answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
        assert!(answers.starts_with("HTTP/1.1 400") && answers.contains("invalid_json"), "{answers}");
    }
}

/// Nor behind a transfer coding that somebody on the way may take for another one, whatever else is refused first.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_smuggled_behind_an_odd_transfer_coding() {
    let gateway = gateway().await;
    let long = "x".repeat(5000);
    for (fields, status) in [
        ("transfer-encoding: gzip, chunked", 400),
        ("transfer-encoding: chunked, chunked", 400),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", 400),
        ("transfer-encoding: gzip, chunked\r\norigin: a\r\norigin: b", 400),
        ("transfer-encoding: gzip, chunked", 414),
    ] {
        let query = if status == 414 { &long } else { "" };
        let mut stream = TcpStream::connect(gateway.http).await.unwrap();
        let smuggled = "GET /v1/streams HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let head = format!("POST /v1/streams?{query} HTTP/1.1\r\nhost: localhost\r\n{fields}");
        stream.write_all(format!("{head}\r\n\r\n0\r\n\r\n{smuggled}").as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        let _ = within("a close", stream.read_to_end(&mut answers)).await;
        let answers = String::from_utf8(answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{fields}: {answers}");
        assert!(answers.starts_with(&format!("HTTP/1.1 {status}")), "{fields}: {answers}");
        assert!(answers.contains("\r\nconnection: close\r\n"), "{fields}: {answers}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_before_sending_is_told_to_go_on_or_why_not() {
    let provider = Provider::start().await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.http.body_bytes_max = 1000;
    let gateway = Gateway::start(config);
    let head = |len: usize| {
        format!(
            "POST /v1/streams HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             expect: 100-continue\r\ncontent-length: {len}\r\n\r\n"
        )
    };
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(head(2).as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    within("leave to go on", stream.read_exact(&mut go_on)).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").await.unwrap();
    let reply = within("an answer", Reply::read(stream)).await.unwrap();
    assert_eq!(reply.error().await, (400, "missing_field".into()));
    let refused = answer(&gateway, head(1001).as_bytes()).await.unwrap();
    assert_eq!(refused.error().await, (413, "body_too_large".into()), "before a byte of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_have_exact_borders() {
    const URI_MAX: usize = 4096;
    let gateway = gateway().await;
    let uri = |len: usize| format!("/{}", "a".repeat(len - 1));
    for protocol in PROTOCOLS {
        // Of HTTP/2 the authority counts, too.
        let authority = if protocol == Protocol::H2 { gateway.http.to_string().len() } else { 0 };
        let get = async |len: usize| Call::get(uri(len)).send(protocol, gateway.http).await.error().await;
        assert_eq!(get(URI_MAX - authority).await, (404, "not_found".into()), "{protocol:?}");
        assert_eq!(get(URI_MAX - authority + 1).await, (414, "uri_too_long".into()), "{protocol:?}");
        let with = async |fields: usize| {
            let call =
                (0..fields).fold(Call::get("/v1/streams"), |call, at| call.header(&format!("x-{at}"), "1"));
            call.send(protocol, gateway.http).await
        };
        // One more is the Host.
        assert_eq!(with(if protocol == Protocol::H2 { 64 } else { 63 }).await.status, 200, "{protocol:?}");
        assert_eq!(with(65).await.error().await, (431, "head_too_large".into()), "{protocol:?}");
    }
    let endless = answer(&gateway, format!("GET {} HTTP/1.1\r\n", uri(20_000)).as_bytes()).await.unwrap();
    assert_eq!(endless.error().await, (414, "uri_too_long".into()));
    let head = |len: usize| {
        let begin = "GET /v1/streams HTTP/1.1\r\nhost: localhost\r\nx: ";
        format!("{begin}{}\r\n\r\n", "x".repeat(len - begin.len() - 4))
    };
    assert_eq!(answer(&gateway, head(16_384).as_bytes()).await.unwrap().status, 200);
    for len in [16_385, 40_000, 200_000] {
        let refused = answer(&gateway, head(len).as_bytes()).await.unwrap();
        assert_eq!(refused.error().await, (431, "head_too_large".into()), "{len}");
    }
    let of_h2 = async |len: usize| {
        let call = Call::get("/v1/streams").header("x", "x".repeat(len));
        call.send(Protocol::H2, gateway.http).await
    };
    // What counts beside the field's value: its name, four pseudo-fields and their values, 32 for each of the five.
    let rest =
        "x:method:scheme:authority:pathGEThttp/v1/streams".len() + 5 * 32 + gateway.http.to_string().len();
    assert_eq!(of_h2(16_384 - rest).await.status, 200);
    for len in [16_385 - rest, 17_000, 60_000] {
        assert_eq!(of_h2(len).await.error().await, (431, "head_too_large".into()), "{len}");
    }
    assert_eq!(of_h2(70_000).await.status, 431);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_nested_too_deep_is_not_read() {
    over_http(async |protocol, journal| {
        let provider = Provider::start().await;
        let gateway = Gateway::before(&provider, journal);
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        // Two levels are the envelope and the request.
        let envelope = |depth: usize| format!(r#"{{"request":{{"model":"m","a":{}}}}}"#, nested(depth - 2));
        let fine = Call::post(envelope(64)).send(protocol, gateway.http).await;
        assert_eq!(fine.status, 201);
        for depth in [65, 200, 1_000_000] {
            let refused = Call::post(envelope(depth)).send(protocol, gateway.http).await;
            assert_eq!(refused.error().await, (400, "too_deep".into()), "{depth}");
        }
        let request = json!({ "model": "m", "stream": true }).to_string();
        let request = request.replace('}', &format!(r#","a":{}}}"#, nested(64)));
        let door = Call::new(http::Method::POST, "/v1/chat/completions");
        let door = door.header("content-type", "application/json").with_body(request);
        let (status, error) = door.send(protocol, gateway.http).await.error_json().await;
        assert_eq!((status, error["code"].as_str()), (400, Some("too_deep")));
        let ticket = Call::post_to("/v1/tickets", nested(65));
        assert_eq!(ticket.send(protocol, gateway.http).await.error().await, (400, "too_deep".into()));
    })
    .await;
}
