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

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_behind_a_viewer_is_not_answered_and_harms_nobody() {
    let hold = Hold::new();
    let script = Script::says(text("a").bytes).wait(&hold).write(text("b").bytes).write(DONE);
    let provider = Provider::with(script).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    gateway.has_blocks(&id, 1).await;
    let call = Call::get(format!("/v1/streams/{id}/events")).bytes(gateway.http);
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(&[&*call, &*call].concat()).await.unwrap();
    let mut reply = Reply::read(stream).await.expect("an answer");
    assert_eq!(reply.header("connection"), Some("close"));
    viewers(&gateway, &id, 1).await;
    hold.release();
    let (body, over) = reply.body.whole().await;
    assert_eq!(over, Over::Clean);
    assert!(String::from_utf8(body).unwrap().contains("event: end"));
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
