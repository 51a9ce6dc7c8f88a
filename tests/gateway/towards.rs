//! What a provider can do to the gateway: nothing that lasts.

use std::time::Duration;

use serde_json::{Value, json};

use crate::gateway::{Gateway, Journal, config};
use crate::provider::{Ending, Framing, Provider, Script};
use crate::says::{DONE, text};
use crate::viewing::Transport;

/// The end of a stream that this script makes, under short limits.
async fn end(script: Script) -> (Value, Provider) {
    let provider = Provider::with(script).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.upstream.first_byte_s = 1;
    config.upstream.silent_s = 1;
    let gateway = Gateway::start(config);
    let id = gateway.stream("m").await;
    (gateway.end(Transport::SseH1, &id).await, provider)
}

fn is(end: &Value, reason: &str, code: &str, message: &str) {
    assert_eq!((&end["reason"], &end["code"]), (&json!(reason), &json!(code)), "{end}");
    assert!(end["message"].as_str().unwrap().contains(message), "{end}");
}

/// Exactly these bytes on the connection.
fn raw() -> Script {
    Script::nothing().framed(Framing::Close)
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_are_no_speech() {
    let comments =
        (0..100).fold(Script::says(text("a").bytes), |script, _| script.pause(100).write(": hb\n\n"));
    let (ended, provider) = end(comments.ends(Ending::Hang)).await;
    is(&ended, "failed", "upstream_silent", "silent_s");
    assert!(ended["blocks"].as_u64().unwrap() > 2, "what was said is in the log: {ended}");
    assert!(provider.until("a closed connection", |calls| calls[0].over).await[0].by_client);
    // Whoever has something to say between them goes on.
    let slow = (0..4).fold(Script::sse(), |script, _| {
        script.write(": hb\n\n").pause(400).write(text("a").bytes).pause(400)
    });
    assert_eq!(end(slow.write(DONE)).await.0["reason"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn not_even_a_comment_has_a_time_of_its_own() {
    let provider = Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.upstream.next_byte_s = 1;
    let gateway = Gateway::start(config);
    let id = gateway.stream("m").await;
    is(&gateway.end(Transport::SseH1, &id).await, "failed", "upstream_silent", "next_byte_s");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_have_a_size_and_a_time() {
    let body = format!("{}{DONE}", text("a").bytes);
    let with = |len: usize| Script::says(&body).header("x-large", &"x".repeat(len));
    assert_eq!(end(with(60_000)).await.0["reason"], "completed");
    for len in [66_000, 1_000_000] {
        is(&end(with(len)).await.0, "limit", "upstream_too_large", "head");
    }
    let many = (0..300).fold(String::new(), |head, n| format!("{head}x-{n}: 1\r\n"));
    let many = raw().write(format!("HTTP/1.1 200 OK\r\n{many}\r\n"));
    is(&end(many).await.0, "limit", "upstream_too_large", "head");
    // A byte now and then does not extend it, and neither does a head that is none yet.
    for piece in ["x-a: 1\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let first = if piece.starts_with('x') { "HTTP/1.1 200 OK\r\n" } else { "" };
        let slow = (0..100).fold(raw().write(first), |script, _| script.write(piece).pause(50));
        let (ended, provider) = end(slow.ends(Ending::Hang)).await;
        is(&ended, "failed", "upstream_silent", "first_byte_s");
        assert!(provider.until("a closed connection", |calls| calls[0].over).await[0].by_client);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_and_extensions_mean_nothing() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n";
    let body = format!("{}{DONE}", text("a").bytes);
    let chunk = format!("{:x};name=value\r\n{body}\r\n0\r\nx: 1\r\nset-cookie: a=b\r\n\r\n", body.len());
    let (ended, _provider) = end(raw().write(head).write(chunk)).await;
    assert_eq!((&ended["reason"], &ended["bytes"]), (&json!("completed"), &json!(body.len())));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_read_as_far_as_one_is_worth_it() {
    let endless = Script::new("500 Oops", "text/plain").write_in(&[b'x'; 1 << 20].repeat(8), &[1 << 14]);
    let (ended, provider) = end(endless.ends(Ending::Hang)).await;
    is(&ended, "failed", "upstream_status", "xxx");
    assert!(ended["message"].as_str().unwrap().len() < 2000);
    let calls = provider.until("a closed connection", |calls| calls[0].over).await;
    assert!(calls[0].by_client && calls[0].written < 6 << 20, "{} bytes", calls[0].written);
}

/// Proxies of the environment are for others: nobody can be asked for what goes to a provider.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_leads_nowhere_and_is_not_followed() {
    let elsewhere = Provider::with(Script::says(format!("{}{DONE}", text("a").bytes))).await;
    for status in ["301 Moved", "302 Found", "303 See", "307 Again", "308 Always"] {
        let script = Script::new(status, "text/plain").header("location", &elsewhere.base_url());
        is(&end(script).await.0, "failed", "not_a_stream", &status[..3]);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(elsewhere.calls().is_empty());
}
