//! Floods of HTTP/2 frames, written by hand: each ends its own connection, and nobody else notices.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::gateway::{Gateway, Journal, config};
use crate::http::{Call, Protocol, within};
use crate::provider::{Hold, Provider, Script};
use crate::says::{DONE, text};
use crate::viewing::Transport;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![len[1], len[2], len[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header block: the pseudo-headers of a call, without a table and without Huffman.
fn block(method: &str, path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in
        [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost")]
    {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn headers(stream: u32, method: &str, flags: u8) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, stream, &block(method, "/v1/streams"))
}

/// A flood, piece by piece.
type Flood = Box<dyn Fn(u32) -> Vec<u8> + Send>;

/// Writes a flood until the gateway has had enough, and hears what it says or does not.
async fn drown(addr: std::net::SocketAddr, first: Vec<u8>, flood: Flood, reads: bool) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &first].concat()).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let mut listening = JoinSet::new();
    if reads {
        listening.spawn(async move {
            let mut all = Vec::new();
            let _ = read.read_to_end(&mut all).await;
        });
    } else {
        // Held, and not read.
        listening.spawn(async move {
            let _read = read;
            std::future::pending::<()>().await;
        });
    }
    let mut number = 0;
    loop {
        let piece: Vec<u8> = (0..64).flat_map(|at| flood(number + at)).collect();
        number += 64;
        if write.write_all(&piece).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_ends_its_own_connection_and_nobody_elses() {
    let hold = Hold::new();
    let script = Script::says(text("a").bytes).wait(&hold).write(text("b").bytes).write(DONE);
    let provider = Provider::with(script).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.http.stalled_s = 1;
    let gateway = Gateway::start(config);
    let id = gateway.stream("m").await;
    let beside = gateway.watch(Transport::SseH2, &id, "").await;

    let stream = |number: u32| number * 2 + 1;
    let floods: [(&str, Vec<u8>, Flood, bool); 8] = [
        (
            "rapid reset",
            Vec::new(),
            Box::new(move |number| {
                [
                    headers(stream(number), "GET", END_STREAM),
                    frame(RST_STREAM, 0, stream(number), &8_u32.to_be_bytes()),
                ]
                .concat()
            }),
            true,
        ),
        (
            "continuations",
            frame(HEADERS, END_STREAM, 1, &block("GET", "/v1/streams")),
            Box::new(|_| frame(CONTINUATION, 0, 1, b"\x00\x01x\x01y")),
            true,
        ),
        (
            "empty continuations",
            frame(HEADERS, END_STREAM, 1, &block("GET", "/v1/streams")),
            Box::new(|_| frame(CONTINUATION, 0, 1, b"")),
            true,
        ),
        ("empty data", headers(1, "POST", 0), Box::new(|_| frame(DATA, 0, 1, b"")), true),
        ("settings", Vec::new(), Box::new(|_| frame(SETTINGS, 0, 0, &[])), false),
        ("pings", Vec::new(), Box::new(|number| frame(PING, 0, 0, &u64::from(number).to_be_bytes())), false),
        (
            "windows",
            headers(1, "POST", 0),
            Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes())),
            true,
        ),
        (
            // Each is a mistake that resets its stream.
            "streams that depend on themselves",
            Vec::new(),
            Box::new(move |number| {
                let dependency = [&stream(number).to_be_bytes()[..], &[0]].concat();
                let payload = [dependency, block("GET", "/v1/streams")].concat();
                frame(HEADERS, END_HEADERS | END_STREAM | 0x20, stream(number), &payload)
            }),
            true,
        ),
    ];
    for (name, first, flood, reads) in floods {
        eprintln!("{name}");
        within(name, drown(gateway.http, first, flood, reads)).await;
        assert_eq!(Call::get("/v1/streams").send(Protocol::H2, gateway.http).await.status, 200, "{name}");
    }
    let mut metrics = Call::get("/metrics").send(Protocol::H1, gateway.ops).await;
    let metrics = String::from_utf8(metrics.body.whole().await.0).unwrap();
    for reason in ["protocol_error", "stalled"] {
        let sample = format!("tokencast_refused_total{{listener=\"public\",reason=\"{reason}\"}}");
        assert!(metrics.contains(&sample), "{sample}");
    }
    hold.release();
    let events = beside.rest().await;
    assert_eq!(crate::fold::text(&events, 0), "ab");
    assert_eq!(events.last().unwrap().name, "end");
}

/// More streams than are allowed are refused, and the others answered.
#[tokio::test(flavor = "multi_thread")]
async fn one_stream_too_many_is_refused_alone() {
    let provider = Provider::with(Script::says(text("a").bytes).wait(&Hold::new())).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.http.h2_streams_max = 4;
    let gateway = Gateway::start(config);
    let id = gateway.stream("m").await;
    let path = format!("/v1/streams/{id}/events");
    let mut socket = TcpStream::connect(gateway.http).await.unwrap();
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    for number in 0..6 {
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, number * 2 + 1, &block("GET", &path)));
    }
    socket.write_all(&bytes).await.unwrap();
    let (mut answered, mut refused) = (Vec::new(), Vec::new());
    within("six answers", async {
        while answered.len() + refused.len() < 6 {
            let mut head = [0; 9];
            socket.read_exact(&mut head).await.unwrap();
            let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; len];
            socket.read_exact(&mut payload).await.unwrap();
            let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
            match head[3] {
                HEADERS => answered.push(stream),
                RST_STREAM => {
                    assert_eq!(payload, 7_u32.to_be_bytes(), "REFUSED_STREAM");
                    refused.push(stream);
                }
                _ => {}
            }
        }
    })
    .await;
    answered.sort_unstable();
    assert_eq!((answered, refused), (vec![1, 3, 5, 7], vec![9, 11]));
}
