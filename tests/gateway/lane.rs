//! Plain viewers, whose sockets leave hyper: what no other transport has.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::gateway::{Gateway, Journal};
use crate::http::{Call, Over, Reply, within};
use crate::provider::{Ending, Hold, Provider, Script};
use crate::says::{DONE, text};
use crate::viewing::Transport;

async fn attach(gateway: &Gateway, id: &str, query: &str) -> Reply {
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream
        .write_all(&Call::get(format!("/v1/streams/{id}/events{query}")).bytes(gateway.http))
        .await
        .unwrap();
    Reply::read(stream).await.expect("an answer")
}

async fn viewers(gateway: &Gateway, id: &str, wanted: usize) {
    let cast = gateway.cast(id);
    within(format!("{wanted} viewers"), async {
        while cast.viewers() != wanted {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// More than one room holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_in_several_rooms_sees_the_same() {
    let hold = Hold::new();
    let script = Script::says(text("a").bytes).wait(&hold).write(text("b").bytes).write(DONE);
    let provider = Provider::with(script).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    gateway.has_blocks(&id, 1).await;
    let mut crowd = JoinSet::new();
    for _ in 0..1100 {
        let viewing = gateway.watch(Transport::SseH1, &id, "").await;
        crowd.spawn(async move { viewing.rest().await });
    }
    viewers(&gateway, &id, 1100).await;
    hold.release();
    let seen = within("everybody", crowd.join_all()).await;
    let first = &seen[0];
    assert_eq!(crate::fold::text(first, 0), "ab");
    assert!(seen.iter().all(|events| events == first));
    viewers(&gateway, &id, 0).await;
}

/// Nothing is written to them, so only their own hanging up tells.
#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_is_missed_although_nothing_comes() {
    let provider = Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    gateway.has_blocks(&id, 1).await;
    let mut here = Vec::new();
    for _ in 0..10 {
        here.push(attach(&gateway, &id, "?heartbeat_ms=30000").await);
    }
    viewers(&gateway, &id, 10).await;
    here.truncate(4);
    viewers(&gateway, &id, 4).await;
    here.clear();
    viewers(&gateway, &id, 0).await;
    // The room is gone, and another one opens.
    let mut again = gateway.watch(Transport::SseH1, &id, "").await;
    assert_eq!(again.until("text").await.data["text"], "a");
}

/// A script's `nc` says that it says nothing more, and goes on listening.
#[tokio::test(flavor = "multi_thread")]
async fn who_only_listens_is_told_everything() {
    for view in ["events", "ui"] {
        let hold = Hold::new();
        let script = Script::says(text("a").bytes).wait(&hold).write(text("b").bytes).write(DONE);
        let provider = Provider::with(script).await;
        let gateway = Gateway::before(&provider, Journal::Memory);
        let id = gateway.stream("m").await;
        gateway.has_blocks(&id, 1).await;
        let mut stream = TcpStream::connect(gateway.http).await.unwrap();
        let call = Call::get(format!("/v1/streams/{id}/{view}")).bytes(gateway.http);
        stream.write_all(&call).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut reply = Reply::read(stream).await.expect("an answer");
        // The question whether it is still there is one that it need not answer.
        let mut said = Vec::new();
        within("the question", async {
            while !said.windows(4).any(|bytes| bytes == b": hb") {
                said.extend_from_slice(&reply.body.chunk().await.unwrap());
            }
        })
        .await;
        assert_eq!(gateway.cast(&id).viewers(), 1);
        hold.release();
        let (rest, over) = reply.body.whole().await;
        said.extend_from_slice(&rest);
        let last = if view == "ui" { "data: [DONE]\n\n" } else { "event: end" };
        assert!(over == Over::Clean && String::from_utf8(said).unwrap().contains(last), "{view}");
        viewers(&gateway, &id, 0).await;
    }
}

/// Over every view, a plain viewer and one whose request has a body see the same: the first one's socket leaves hyper.
#[tokio::test(flavor = "multi_thread")]
async fn every_view_is_the_same_in_a_room() {
    for (view, accept) in
        [("events", ""), ("events", "application/x-ndjson"), ("raw", ""), ("text", ""), ("ui", "")]
    {
        for completes in [true, false] {
            let hold = Hold::new();
            let script = Script::says(text("a").bytes).wait(&hold).write(text("b").bytes);
            let script = if completes { script.write(DONE) } else { script.ends(Ending::Cut) };
            let provider = Provider::with(script).await;
            let gateway = Gateway::before(&provider, Journal::Memory);
            let id = gateway.stream("m").await;
            gateway.has_blocks(&id, 1).await;
            let call = Call::get(format!("/v1/streams/{id}/{view}"));
            let call = if accept.is_empty() { call } else { call.header("accept", accept) };
            let ordinary = call.clone().header("content-length", "1").with_body("x");
            let (mut plain, mut ordinary) = (gateway.send(&call).await, gateway.send(&ordinary).await);
            assert_eq!((plain.header("connection"), ordinary.header("connection")), (Some("close"), None));
            viewers(&gateway, &id, 2).await;
            hold.release();
            let (plain, ordinary) = (plain.body.whole().await, ordinary.body.whole().await);
            let without_retry = |body: Vec<u8>| {
                let text = String::from_utf8(body).unwrap();
                let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("retry: ")).collect();
                kept.join("\n")
            };
            assert_eq!(plain.1, ordinary.1, "{view} {accept} {completes}");
            assert_eq!(without_retry(plain.0), without_retry(ordinary.0), "{view} {accept} {completes}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_that_hangs_up_is_missed() {
    let provider = Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    gateway.has_blocks(&id, 1).await;
    let call = Call::get(format!("/v1/streams/{id}/events?after=1")).header("accept", "application/json");
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(&call.bytes(gateway.http)).await.unwrap();
    viewers(&gateway, &id, 1).await;
    drop(stream);
    viewers(&gateway, &id, 0).await;
}

/// Two requests in one write: the first one's answer stays a body, so that the second one is answered behind it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_behind_a_viewer_is_answered_after_it() {
    let hold = Hold::new();
    let script = Script::says(text("a").bytes).wait(&hold).write(text("b").bytes).write(DONE);
    let provider = Provider::with(script).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    gateway.has_blocks(&id, 1).await;
    let calls = ["events", "raw"].map(|view| {
        Call::get(format!("/v1/streams/{id}/{view}")).header("x-test", "kept").bytes(gateway.http)
    });
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(&calls.concat()).await.unwrap();
    viewers(&gateway, &id, 1).await;
    hold.release();
    let mut said = Vec::new();
    let both = async {
        while !said.ends_with(b"[DONE]\n\n\r\n0\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut said).await.unwrap(), 0, "closed before the second answer");
        }
    };
    within("both answers", both).await;
    let said = String::from_utf8(said).unwrap();
    let (first, second) = (said.find("event: end").unwrap(), said.rfind("HTTP/1.1 200 OK").unwrap());
    assert!(first < second, "{said}");
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 2);
    viewers(&gateway, &id, 0).await;
}

/// Before HTTP/1.1 there are no chunks.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_gets_everything_up_to_the_end_of_its_connection() {
    let hold = Hold::new();
    let script = Script::says(text("a").bytes).wait(&hold).write(text("b").bytes).write(DONE);
    let provider = Provider::with(script).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    let call = format!("GET /v1/streams/{id}/events HTTP/1.0\r\nhost: {}\r\n\r\n", gateway.http);
    stream.write_all(call.as_bytes()).await.unwrap();
    viewers(&gateway, &id, 1).await;
    hold.release();
    let mut answer = String::new();
    within("everything", stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
    assert!(body.starts_with("retry: ") && body.contains("event: end"), "{body}");
}
