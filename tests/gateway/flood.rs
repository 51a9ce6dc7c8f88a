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
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
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
    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    let beside = gateway.watch(Transport::SseH2, &id, "").await;

    let stream = |number: u32| number * 2 + 1;
    let ping = |number: u32| frame(PING, 0, 0, &u64::from(number).to_be_bytes());
    let floods: [(&str, Vec<u8>, Flood, bool); 14] = [
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
        ("little data", headers(1, "POST", 0), Box::new(|_| frame(DATA, 0, 1, b" ")), true),
        ("settings", Vec::new(), Box::new(|_| frame(SETTINGS, 0, 0, &[])), true),
        ("settings unread", Vec::new(), Box::new(|_| frame(SETTINGS, 0, 0, &[])), false),
        ("pings", Vec::new(), Box::new(ping), true),
        ("pings unread", Vec::new(), Box::new(ping), false),
        ("priorities", Vec::new(), Box::new(|_| frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 7])), true),
        (
            "small windows",
            headers(1, "POST", 0),
            Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
            true,
        ),
        ("frames of no kind", Vec::new(), Box::new(|_| frame(0xee, 0, 0, b"what?")), true),
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
    for reason in ["protocol_error", "too_many_frames"] {
        assert!(gateway.refused(reason).await > 0, "{reason}");
    }
    hold.release();
    let events = beside.rest().await;
    assert_eq!(crate::fold::text(&events, 0), "ab");
    assert_eq!(events.last().unwrap().name, "end");
}

/// The next frame: its kind, its stream, and what is in it.
async fn heard(socket: &mut TcpStream) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    within("a frame", socket.read_exact(&mut head)).await.ok()?;
    let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; len];
    within("what is in it", socket.read_exact(&mut payload)).await.ok()?;
    Some((head[3], u32::from_be_bytes(head[5..9].try_into().unwrap()), payload))
}

/// A connection on which streams have so much window at first.
async fn with_window(gateway: &Gateway, bytes: u32) -> TcpStream {
    let mut socket = TcpStream::connect(gateway.http).await.unwrap();
    let settings = [&[0, 4][..], &bytes.to_be_bytes()].concat();
    socket.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()).await.unwrap();
    socket
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block("GET", path))
}

fn window(stream: u32, bytes: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_floods_is_told_why() {
    let gateway = Gateway::before(&Provider::start().await, Journal::Memory);
    let mut socket = with_window(&gateway, 65_535).await;
    socket.write_all(&frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 7]).repeat(2000)).await.unwrap();
    let payload = loop {
        if let (GOAWAY, _, payload) = heard(&mut socket).await.expect("GOAWAY before the end") {
            break payload;
        }
    };
    assert_eq!(payload[4..8], 0xb_u32.to_be_bytes(), "ENHANCE_YOUR_CALM");
    let error: serde_json::Value = serde_json::from_slice(&payload[8..]).unwrap();
    assert_eq!(error["error"]["code"], "too_many_frames");
}

/// Who takes everything bit by bit, and says so on both levels and pings each time, says three frames for one.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_grants_little_at_a_time_is_no_flood() {
    let token: &'static str = "x".repeat(200).leak();
    let provider = Provider::with(Script::says(text(token).bytes.repeat(200)).write(DONE)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    gateway.has_ended(&id).await;
    let raw = gateway.send(&Call::get(format!("/v1/streams/{id}/raw"))).await.body.whole().await.0;
    let mut socket = with_window(&gateway, 16).await;
    socket.write_all(&get(1, &format!("/v1/streams/{id}/raw"))).await.unwrap();
    let (mut taken, mut pieces) = (Vec::new(), 0);
    while taken.len() < raw.len() {
        match heard(&mut socket).await.expect("all of it") {
            (DATA, 1, piece) => {
                let len = u32::try_from(piece.len()).unwrap();
                let say = [window(1, len), window(0, len), frame(PING, 0, 0, &[7; 8])].concat();
                socket.write_all(&say).await.unwrap();
                taken.extend(piece);
                pieces += 1;
            }
            (GOAWAY, ..) => panic!("after {pieces} pieces"),
            _ => {}
        }
    }
    assert!(taken == raw && pieces > 2000, "{pieces}");
}

/// Of several viewers on one connection the one that grants no window is closed, and goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_opens_no_window_is_closed_alone() {
    let hold = Hold::new();
    let script = Script::says(text("a").bytes).wait(&hold).write(text("b").bytes).write(DONE);
    let provider = Provider::with(script).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.http.stalled_s = 1;
    let gateway = Gateway::start(config);
    let id = gateway.stream("m").await;
    let mut socket = with_window(&gateway, 0).await;
    let events = format!("/v1/streams/{id}/events?heartbeat_ms=500");
    socket
        .write_all(&[get(1, &events), window(1, 10), get(3, &events), window(3, 1 << 20)].concat())
        .await
        .unwrap();
    let mut seen = Vec::new();
    loop {
        match heard(&mut socket).await.expect("the connection stays") {
            (DATA, 3, piece) => seen.extend(piece),
            (RST_STREAM, stream, reason) => {
                assert_eq!((stream, reason), (1, 8_u32.to_be_bytes().to_vec()), "CANCEL");
                break;
            }
            _ => {}
        }
    }
    assert_eq!(gateway.state(&id).await["viewers"], 1);
    hold.release();
    socket
        .write_all(&[get(5, &format!("/v1/streams/{id}/events?after=0")), window(5, 1 << 20)].concat())
        .await
        .unwrap();
    let mut again = Vec::new();
    let ended = |bytes: &[u8]| memchr::memmem::find(bytes, b"event: end").is_some();
    while !(ended(&seen) && ended(&again)) {
        match heard(&mut socket).await.expect("the connection stays") {
            (DATA, 3, piece) => seen.extend(piece),
            (DATA, 5, piece) => again.extend(piece),
            _ => {}
        }
    }
    // What is handed over to its last byte has to be taken, too.
    socket.write_all(&[get(7, "/v1/streams"), window(7, 10)].concat()).await.unwrap();
    while heard(&mut socket).await.is_some() {}
    assert!(gateway.refused("stalled").await >= 2);
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
            let (kind, stream, payload) = heard(&mut socket).await.unwrap();
            match kind {
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
