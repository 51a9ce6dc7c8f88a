//! Connections that break off after any byte, between provider and gateway and between gateway and viewer; and
//! datagrams that are lost, doubled and out of order.

use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;
use tokencast::client::{Follow, Item, Options, Target, Transport};
use tokio::time::timeout;

use crate::client::Client;
use crate::crowd::Fan;
use crate::gateway::{Gateway, KEY, PATIENCE, free_port};
use crate::process::is_long;
use crate::provider::{Provider, request};
use crate::proxy::{End, Proxy, Storm, UdpProxy, Weather};
use crate::viewer::events;

/// A short answer, with what is hard about chunks, line ends and characters.
const KIND: &str =
    r#"{"simulate": {"rate": 0, "tokens": 4, "line_end": "crlf", "comments": 2, "emoji_halves": true}}"#;
const LONGER: &str = r#"{"simulate": {"rate": 400, "tokens": 300, "reasoning": 20}}"#;

async fn start(client: &Client, id: &str, kind: &str) {
    let order = json!({ "id": id, "request": request(id, kind) });
    client.start(&order, None).await.unwrap().want(201);
}

fn address(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once("://").unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

/// What a body in chunks says, as far as it is there; and whether that is all.
fn body_of(session: &[u8]) -> (Vec<u8>, bool) {
    let Some(at) = session.windows(4).position(|window| window == b"\r\n\r\n") else {
        return (Vec::new(), false);
    };
    let (mut rest, mut body) = (&session[at + 4..], Vec::new());
    loop {
        let Some(line) = rest.windows(2).position(|pair| pair == b"\r\n") else { return (body, false) };
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        rest = &rest[line + 2..];
        if size == 0 {
            return (body, rest.len() >= 2);
        }
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        rest = rest.get(size + 2..).unwrap_or_default();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_cut_after_any_byte_has_said_what_it_has_said() {
    let provider = Provider::start().await;
    let proxy = Proxy::start(address(&provider.url)).await;
    let url = provider.url.replace(&address(&provider.url).to_string(), &proxy.addr.to_string());
    // Cuts within heads come many in a row.
    let settings = "[log]\nlevel = \"error\"\n[upstream]\nbreaker_failures = 0";
    let mut gateway = Gateway::new(&url, settings);
    gateway.start().await;
    let client = gateway.client();
    start(&client, "whole", KIND).await;
    assert_eq!(client.end("whole").await["reason"], "completed");
    let session = proxy.passed();
    let (whole, is_all) = body_of(&session);
    assert!(is_all && whole == client.get("/v1/streams/whole/raw").await.unwrap().body);
    let step = if is_long() { 1 } else { 37 };
    let (mut completed, mut cut) = (0, 0);
    for (end, bytes) in [End::Fin, End::Reset]
        .into_iter()
        .flat_map(|end| (0..session.len()).step_by(step).map(move |at| (end, at)))
    {
        proxy.weather(Weather { end: Some((bytes, end)), ..Weather::default() });
        let id = format!("{end:?}-{bytes}");
        start(&client, &id, KIND).await;
        let said = client.end(&id).await;
        let raw = client.get(&format!("/v1/streams/{id}/raw")).await.unwrap();
        let raw = if raw.status == 502 { Vec::new() } else { raw.body };
        // Another date, another id: this session is like the first one, and not the same.
        let (passed, _) = body_of(&proxy.passed());
        assert!(passed.starts_with(&raw), "{id}: other bytes");
        // A reset may overtake what was sent before it.
        assert!(end == End::Reset || raw == passed, "{id}: {} of {} bytes", raw.len(), passed.len());
        let has_marker =
            raw.windows(14).any(|window| window == b"data: [DONE]\r\n") && raw.ends_with(b"\r\n\r\n");
        let wanted = if has_marker { "completed" } else { "failed" };
        assert_eq!(said["reason"], wanted, "{id}: {said}");
        assert!(has_marker || said["code"] == "upstream_cut", "{id}: {said}");
        completed += u32::from(has_marker);
        cut += u32::from(!has_marker);
    }
    println!("{cut} answers were cut, {completed} behind their marker");
    assert!(cut > 20);

    // What is only slow is whole; what falls silent is not waited for for ever.
    let (latency, jitter) = (Duration::from_millis(5), Duration::from_millis(5));
    proxy.weather(Weather { latency, jitter, bytes_per_s: Some(20_000), end: None });
    start(&client, "slow", KIND).await;
    assert_eq!(client.end("slow").await["reason"], "completed");
    proxy.weather(Weather { end: Some((session.len() / 2, End::BlackHole)), ..Weather::default() });
    start(&client, "silent", KIND).await;
    client.delete("/v1/streams/silent").await.unwrap();
    assert_eq!(client.end("silent").await["code"], "stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_is_cut_after_any_byte_comes_back_to_the_next_one() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "[log]\nlevel = \"error\"");
    gateway.start().await;
    let client = gateway.client();
    start(&client, "s", KIND).await;
    client.end("s").await;
    let blocks = client.get("/v1/streams/s").await.unwrap().json()["blocks"].as_u64().unwrap();
    let proxy = Proxy::start(gateway.http).await;
    let mut fan = Fan::new("s");
    fan.connect(proxy.addr).await;
    fan.read_on().await;
    assert!(fan.has_ended);
    let session = proxy.passed().len();
    let step = if is_long() { 1 } else { 17 };
    for end in [End::Fin, End::Reset] {
        for bytes in (0..session).step_by(step) {
            let mut fan = Fan::new("s");
            proxy.weather(Weather { end: Some((bytes, end)), ..Weather::default() });
            fan.connect(proxy.addr).await;
            fan.read_on().await;
            proxy.weather(Weather::default());
            if !fan.has_ended {
                fan.connect(proxy.addr).await;
                fan.read_on().await;
            }
            assert!(fan.has_ended && fan.cursor == blocks + 1, "{end:?} after {bytes}: {fan:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stormy_way_over_udp_changes_nothing_of_what_is_said() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "[log]\nlevel = \"error\"");
    let listen = free_port();
    let storm =
        Storm { latency: Duration::from_millis(5), jitter: Duration::from_millis(30), lost: 3, doubled: 10 };
    let proxy = UdpProxy::start(listen, storm, fastrand::u64(..)).await;
    let variables = [
        ("TOKENCAST_WEBTRANSPORT__ENABLED", "true".to_owned()),
        ("TOKENCAST_WEBTRANSPORT__LISTEN", listen.to_string()),
        ("TOKENCAST_WEBTRANSPORT__PUBLIC_URL", format!("https://{}", proxy.addr)),
    ];
    gateway.variables.extend(variables.map(|(name, value)| (name.into(), value.into())));
    gateway.start().await;
    let client = gateway.client();
    start(&client, "s", LONGER).await;
    let target = Target::parse(&format!("http://{}/v1/streams/s", gateway.http)).unwrap();
    let credential = Some(SecretString::from(KEY));
    let options = Options { credential, transport: Transport::WebTransport, ..Options::default() };
    let mut follow = Follow::new(target, options);
    let (mut said, mut over) = (Vec::new(), 0);
    while let Some(item) = timeout(PATIENCE, follow.next()).await.expect("it goes on").unwrap() {
        match item {
            Item::Open(open) => {
                assert_eq!(open.transport, "webtransport");
                over += 1;
            }
            Item::Event(event) => said.push((event.id, event.name, event.data)),
            _ => {}
        }
    }
    let whole = events(&client.get("/v1/streams/s/events").await.unwrap().want(200).body);
    let whole: Vec<_> = whole
        .into_iter()
        .filter(|event| !["open", "end"].contains(&&*event.name))
        .map(|event| (event.id, event.name, event.data))
        .collect();
    println!("{} events over {over} sessions", said.len());
    assert_eq!(said, whole);
}
