//! Connections: whoever asks for nothing is closed, and whoever waits is told that it is not forgotten.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::gateway::{Gateway, Journal, config, everywhere, over_http};
use crate::http::{Call, Protocol, within};
use crate::provider::{Ending, Hold, Provider, Script};
use crate::says::{DONE, text};
use crate::viewing::Transport;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// SETTINGS without a setting.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_asks_for_nothing_is_closed() {
    let provider = Provider::with(Script::says(DONE)).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    (config.http.first_byte_s, config.http.head_s, config.http.request_s) = (1, 1, 1);
    let gateway = Gateway::start(config);
    let settled = [PREFACE, SETTINGS].concat();
    let openings: [(&str, Vec<u8>); 8] = [
        ("nothing", Vec::new()),
        ("a letter", b"G".into()),
        ("half a head", b"GET /v1/streams HTTP/1.1\r\nhost: loc".into()),
        ("a head without an end", b"GET /v1/streams HTTP/1.1\r\nhost: localhost\r\n".into()),
        ("a letter of a preface", PREFACE[..1].into()),
        ("half a preface", PREFACE[..20].into()),
        ("a preface", PREFACE.into()),
        ("a preface and settings", settled),
    ];
    for addr in [gateway.http, gateway.ops] {
        let mut connections = JoinSet::new();
        for (name, opening) in openings.clone() {
            connections.spawn(async move {
                let began = Instant::now();
                let mut stream = TcpStream::connect(addr).await.unwrap();
                stream.write_all(&opening).await.unwrap();
                let mut said = Vec::new();
                let _ = within(format!("{name} to be closed"), stream.read_to_end(&mut said)).await;
                let took = began.elapsed();
                assert!(
                    (Duration::from_millis(900)..Duration::from_secs(5)).contains(&took),
                    "{name}: {took:?}"
                );
            });
        }
        connections.join_all().await;
    }
    // Who asks is not bothered: neither while it is answered, nor between two requests.
    let hold = Hold::new();
    provider.plays("slow", Script::sse().wait(&hold).write(DONE));
    let id = gateway.stream("slow").await;
    let mut viewers = JoinSet::new();
    for transport in Transport::ALL {
        let viewing = gateway.watch(transport, &id, "").await;
        viewers.spawn(viewing.rest());
    }
    tokio::time::sleep(Duration::from_millis(2500)).await;
    hold.release();
    for events in viewers.join_all().await {
        assert_eq!(events.last().unwrap().name, "end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_at_a_time_is_a_request_too() {
    let provider = Provider::with(Script::says(DONE)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let call = Call::get("/v1/streams");
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in call.bytes(gateway.http) {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let reply = within("an answer", crate::http::Reply::read(stream)).await.unwrap();
    assert_eq!(reply.status, 200);
    // A method that begins like the preface.
    let call = Call::new("PRIVATE".parse().unwrap(), "/v1/streams");
    assert_eq!(gateway.send(&call).await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_many_requests_in_turn() {
    let provider = Provider::with(Script::says(DONE)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    let request = Call::get("/v1/streams/none").bytes(gateway.http);
    stream.write_all(&request.repeat(3)).await.unwrap();
    let mut said = String::new();
    within("three answers", async {
        while said.matches("HTTP/1.1 404").count() < 3 || !said.ends_with('}') {
            let mut buf = [0; 4096];
            let len = stream.read(&mut buf).await.unwrap();
            assert!(len > 0, "{said}");
            said += std::str::from_utf8(&buf[..len]).unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_there_are_places_are_refused() {
    let provider = Provider::with(Script::says(DONE)).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.http.connections_max = 2;
    let gateway = Gateway::start(config);
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(gateway.http).await.unwrap();
        stream.write_all(&Call::get("/v1/streams").bytes(gateway.http)).await.unwrap();
        let mut byte = [0; 1];
        within("an answer", stream.read_exact(&mut byte)).await.unwrap();
        kept.push(stream);
    }
    let mut third = TcpStream::connect(gateway.http).await.unwrap();
    let mut said = Vec::new();
    let _ = within("a refusal", third.read_to_end(&mut said)).await;
    assert!(said.starts_with(b"HTTP/1.1 503 "), "{}", said.escape_ascii());
    drop(kept);
    within("a place", async {
        loop {
            let mut stream = TcpStream::connect(gateway.http).await.unwrap();
            let _ = stream.write_all(&Call::get("/v1/streams").bytes(gateway.http)).await;
            let mut byte = [0; 1];
            if stream.read_exact(&mut byte).await.is_ok() {
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_broken_by_heartbeats_from_the_beginning() {
    for transport in [Transport::SseH1, Transport::SseH2] {
        let hold = Hold::new();
        let provider = Provider::with(Script::nothing().wait(&hold).ends(Ending::Cut)).await;
        let gateway = Gateway::before(&provider, Journal::Memory);
        let id = gateway.stream("m").await;
        let mut viewing = gateway.watch(transport, &id, "?heartbeat_ms=500").await;
        let began = Instant::now();
        tokio::select! {
            event = viewing.next() => panic!("{event:?}"),
            () = tokio::time::sleep(Duration::from_millis(1400)) => {}
        }
        assert_eq!(viewing.heartbeats, 2, "after {:?}", began.elapsed());
        hold.release();
        assert_eq!(viewing.until("end").await.id, Some(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnection_times_are_spread() {
    let provider = Provider::with(Script::says(DONE)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    let mut drawn = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let viewing = gateway.watch(Transport::SseH1, &id, "").await;
        drawn.extend(viewing.retry_ms);
    }
    assert!(drawn.iter().all(|retry| (300..=1000).contains(retry)) && drawn.len() > 5, "{drawn:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_on_the_way_may_buffer_or_change_a_stream() {
    over_http(async |protocol, journal| {
        let hold = Hold::new();
        let script = Script::says(text("a").bytes).wait(&hold).write(DONE);
        let provider = Provider::with(script).await;
        let gateway = Gateway::before(&provider, journal);
        let id = gateway.stream("m").await;
        for view in ["events", "raw", "text"] {
            let call = Call::get(format!("/v1/streams/{id}/{view}")).header("accept-encoding", "gzip, br");
            let reply = call.send(protocol, gateway.http).await;
            assert_eq!(reply.header("cache-control"), Some("no-cache, no-transform"), "{view}");
            assert_eq!(reply.header("x-accel-buffering"), Some("no"), "{view}");
            assert_eq!((reply.header("content-encoding"), reply.header("content-length")), (None, None));
            if protocol == Protocol::H1 {
                assert_eq!(reply.header("transfer-encoding"), Some("chunked"), "{view}");
            }
            assert!(reply.header("tokencast-request-id").is_some());
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        }
        hold.release();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_not_held_back() {
    everywhere(async |case| {
        let hold = Hold::new();
        let script = (0..5).fold(Script::sse(), |script, _| script.wait(&hold).write(text("a").bytes));
        let provider = Provider::with(script.ends(Ending::Hang)).await;
        let gateway = Gateway::before(&provider, case.journal);
        let id = gateway.stream("m").await;
        let mut viewing = gateway.watch(case.transport, &id, "").await;
        for _ in 0..5 {
            hold.release();
            let began = Instant::now();
            assert_eq!(viewing.until("text").await.data["text"], "a");
            assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
        }
    })
    .await;
}
