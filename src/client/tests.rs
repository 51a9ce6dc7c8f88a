//! Against a gateway in this process, through a proxy that cuts.

use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::cli::simulate::{self, Simulator};
use crate::config::Config;
use crate::server::Server;
use crate::upstream::provider;

const SOON: Duration = Duration::from_secs(60);

/// A gateway, its provider, and a client of both.
struct House {
    base: String,
    provider: String,
    http: reqwest::Client,
    addr: SocketAddr,
    udp: SocketAddr,
    tasks: JoinSet<()>,
}

impl House {
    async fn build() -> Self {
        Self::build_behind(None).await
    }

    /// With a way to its WebTransport that is not its own.
    async fn build_behind(udp: Option<SocketAddr>) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = simulate::Options { listen: any, rate: 0.0, ..simulate::Options::default() };
        let simulator = Simulator::bind(options).await.unwrap();
        let provider = simulator.base_url();
        let mut config = Config::default();
        (config.http.listen, config.ops.listen, config.webtransport.listen) = (any, any, any);
        config.webtransport.public_url = udp.map(|udp| format!("https://{udp}").parse().unwrap());
        config.journal.path = std::env::temp_dir().join("tokencast-client-tests/none");
        config.providers.push(provider::Config {
            name: "simulated".into(),
            dialect: crate::dialect::Family::Openai,
            base_url: provider.parse().unwrap(),
            api_key_env: None,
            credentials: provider::Credentials::Gateway,
            models: vec!["*".into()],
            paths: Vec::new(),
            proxy_paths: None,
        });
        config.journal.mode = crate::journal::Mode::Memory;
        let server = Server::start(&config, |_| None).unwrap();
        let (addr, udp) = (server.http(), server.webtransport().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(simulator.run(CancellationToken::new()));
        tasks.spawn(server.run(std::future::pending(), std::future::pending()));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { base: format!("http://{addr}/v1/streams"), provider, http, addr, udp, tasks }
    }

    async fn start(&self, id: &str, request: &Value) {
        let envelope = json!({ "id": id, "request": request });
        let answer = self.http.post(&self.base).json(&envelope).send().await.unwrap();
        assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
    }

    /// The whole answer to a request, from the provider itself.
    async fn direct(&self, request: &Value) -> Value {
        let url = format!("{}/chat/completions", self.provider);
        self.http.post(url).json(request).send().await.unwrap().json().await.unwrap()
    }

    /// Relays to the gateway and cuts every connection after a random number of bytes.
    async fn cutting(&mut self, seed: u64, bytes_max: usize) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (addr, gateway, mut rng) = (listener.local_addr().unwrap(), self.addr, Rng::with_seed(seed));
        self.tasks.spawn(async move {
            let mut relays = JoinSet::new();
            while let Ok((viewer, _)) = listener.accept().await {
                relays.spawn(relay(viewer, gateway, rng.usize(1..=bytes_max)));
            }
        });
        addr
    }
}

async fn relay(mut viewer: TcpStream, gateway: SocketAddr, mut budget: usize) {
    let mut server = TcpStream::connect(gateway).await.unwrap();
    let (mut up, mut down) = ([0; 4096], [0; 512]);
    while budget > 0 {
        tokio::select! {
            read = viewer.read(&mut up) => match read {
                Ok(len @ 1..) => server.write_all(&up[..len]).await.unwrap(),
                _ => return,
            },
            read = server.read(&mut down) => match read {
                Ok(len @ 1..) => {
                    let part = len.min(budget);
                    budget -= part;
                    if viewer.write_all(&down[..part]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}

fn request(simulate: &Value) -> Value {
    json!({
        "model": "any",
        "n": 2,
        "messages": [{ "role": "user", "content": "hello" }],
        "tools": [{ "type": "function", "function": { "name": "f" } }],
        "simulate": simulate,
    })
}

/// Everything that a follower says, until it says nothing more.
async fn follow(url: String, options: Options) -> (Vec<Item>, Option<Error>) {
    let mut follow = Follow::new(Target::parse(&url).unwrap(), options);
    let mut items = Vec::new();
    let all = async {
        loop {
            match follow.next().await {
                Ok(Some(item)) => items.push(item),
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    };
    let error = timeout(SOON, all).await.expect("it ends");
    (items, error)
}

fn fold(items: &[Item]) -> Fold {
    let mut fold = Fold::default();
    for item in items {
        if let Item::Event(event) = item {
            fold.apply(&event.said);
        }
    }
    fold
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_survives_every_cut() {
    let mut house = House::build().await;
    let simulate = json!({ "seed": 7, "tokens": 300, "reasoning": 20, "tool_calls": 2, "emoji_halves": true, "rate": 2000 });
    let request = request(&simulate);
    let direct = house.direct(&request).await;
    house.start("cut", &request).await;
    // One answer is some 20 KiB on our wire.
    let proxy = house.cutting(11, 16_000).await;
    let options = Options { attempts_max: u32::MAX, ..Options::default() };
    let (items, error) = follow(format!("http://{proxy}/v1/streams/cut"), options).await;
    assert_eq!(error, None);
    let cuts = items.iter().filter(|item| matches!(item, Item::Cut(_))).count();
    assert!(cuts >= 3, "{cuts} cuts prove little");
    assert!(matches!(items.last(), Some(Item::End(end)) if end.is_completed()), "{:?}", items.last());

    let fold = fold(&items);
    for (number, choice) in (0_u32..).zip(direct["choices"].as_array().unwrap()) {
        let (said, message) = (&fold.choices[&number], &choice["message"]);
        assert_eq!(message["content"], said.text, "choice {number}");
        assert_eq!(message["reasoning_content"], said.reasoning, "choice {number}");
        assert_eq!(choice["finish_reason"].as_str(), said.finish.as_deref());
        for (index, call) in (0_u32..).zip(message["tool_calls"].as_array().unwrap()) {
            let said = &said.tool_calls[&index];
            assert_eq!(call["id"].as_str(), said.id.as_deref());
            assert_eq!(call["function"]["name"].as_str(), said.name.as_deref());
            assert_eq!(call["function"]["arguments"], said.arguments);
        }
    }
    assert_eq!(direct["usage"]["completion_tokens"].as_u64(), fold.usage.unwrap().output);
}

#[tokio::test]
async fn it_begins_where_it_is_told() {
    for transport in [Transport::Sse, Transport::WebTransport] {
        begins_where_it_is_told(transport).await;
    }
}

async fn begins_where_it_is_told(transport: Transport) {
    let house = House::build().await;
    let from = |after| Options { after, transport, ..Options::default() };
    house.start("whole", &request(&json!({ "tokens": 50 }))).await;
    let url = format!("{}/whole", house.base);
    let (items, error) = follow(url.clone(), from(0)).await;
    assert_eq!(error, None);
    let Some(Item::End(end)) = items.last() else { panic!("{items:?}") };
    let ids: Vec<u64> =
        items.iter().filter_map(|item| if let Item::Event(event) = item { event.id } else { None }).collect();
    // Behind every id, and inside frames, where no id was given.
    for after in (0..=end.blocks).step_by(7).chain(ids) {
        let (rest, error) = follow(url.clone(), from(after)).await;
        assert_eq!(error, None, "after {after}");
        assert!(matches!(&rest[0], Item::Open(open) if open.after == after));
        assert_eq!(rest.last(), items.last(), "after {after}");
    }
    let (over, error) = follow(url.clone(), from(end.blocks + 1)).await;
    assert_eq!(error, None);
    match transport {
        Transport::Sse => assert_eq!(over, [Item::Over]),
        _ => assert_eq!((over.len(), over.last()), (2, items.last()), "the end, once more"),
    }
    let (items, error) = follow(url, from(end.blocks + 2)).await;
    assert!(items.is_empty(), "{items:?}");
    assert!(matches!(error, Some(Error::Refused { ref code, .. }) if code == "cursor_ahead"));
}

/// Relays datagrams to the gateway until it is told not to; then they are lost, and nobody is told.
async fn udp_relay(socket: tokio::net::UdpSocket, gateway: SocketAddr, dark: CancellationToken) {
    let behind = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (mut up, mut down, mut viewer) = ([0; 2048], [0; 2048], None);
    let relaying = async {
        loop {
            tokio::select! {
                received = socket.recv_from(&mut up) => {
                    let (len, from) = received.unwrap();
                    viewer = Some(from);
                    let _ = behind.send_to(&up[..len], gateway).await;
                }
                received = behind.recv_from(&mut down) => {
                    let len = received.map_or(0, |(len, _)| len);
                    let _ = socket.send_to(&down[..len], viewer.unwrap()).await;
                }
            }
        }
    };
    dark.run_until_cancelled(relaying).await;
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_goes_dark_is_followed_on_over_sse() {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut house = House::build_behind(socket.local_addr().ok()).await;
    let dark = CancellationToken::new();
    house.tasks.spawn(udp_relay(socket, house.udp, dark.clone()));
    let request = request(&json!({ "seed": 3, "tokens": 300, "rate": 100 }));
    let direct = house.direct(&request).await;
    house.start("dark", &request).await;
    let options =
        Options { transport: Transport::Auto, heartbeat: Duration::from_millis(500), ..Options::default() };
    let mut follow = Follow::new(Target::parse(&format!("{}/dark", house.base)).unwrap(), options);
    let mut items = Vec::new();
    let all = async {
        while let Some(item) = follow.next().await.unwrap() {
            if matches!(item, Item::Event(_)) {
                dark.cancel();
            }
            items.push(item);
        }
    };
    timeout(SOON, all).await.expect("it ends");
    let ways: Vec<_> = items
        .iter()
        .filter_map(|item| if let Item::Open(open) = item { Some(open.transport) } else { None })
        .collect();
    assert_eq!(ways, ["webtransport", "sse"]);
    let fold = fold(&items);
    for (number, choice) in (0_u32..).zip(direct["choices"].as_array().unwrap()) {
        assert_eq!(choice["message"]["content"], fold.choices[&number].text, "choice {number}");
    }
    assert!(matches!(items.last(), Some(Item::End(end)) if end.is_completed()));
}

#[tokio::test]
async fn where_there_is_no_webtransport_there_is_sse() {
    // Nobody is there, and nothing says so.
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let house = House::build_behind(silent.local_addr().ok()).await;
    house.start("whole", &request(&json!({ "tokens": 5 }))).await;
    let options = Options { transport: Transport::Auto, ..Options::default() };
    let (items, error) = follow(format!("{}/whole", house.base), options).await;
    assert_eq!(error, None);
    assert!(matches!(&items[0], Item::Open(open) if open.transport == "sse"), "{:?}", items[0]);
    assert!(matches!(items.last(), Some(Item::End(_))));
}

#[tokio::test]
async fn it_gives_up_with_a_reason() {
    let house = House::build().await;
    let (items, error) = follow(format!("{}/nobody", house.base), Options::default()).await;
    assert!(items.is_empty(), "{items:?}");
    assert!(matches!(error, Some(Error::Refused { ref code, .. }) if code == "not_found"));

    // What listens there speaks no HTTP, or nothing does.
    let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let options = Options { attempts_max: 2, ..Options::default() };
    let (items, error) = follow(format!("http://{closed}/v1/streams/x"), options).await;
    assert!(matches!(items[..], [Item::Cut(_)]), "{items:?}");
    assert!(matches!(error, Some(Error::Unreachable { attempts: 2, .. })), "{error:?}");
}

/// Answers each connection with one of these bodies, and keeps it open.
async fn scripted(bodies: &'static [&'static str]) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/v1/streams/x", listener.local_addr().unwrap());
    // Ends with the runtime of the test.
    let mut script = JoinSet::new();
    script.spawn(async move {
        let mut open = Vec::new();
        for body in bodies {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 4096]).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            open.push(socket);
        }
        std::future::pending::<()>().await;
    });
    script.detach_all();
    url
}

macro_rules! open {
    ($after:literal) => {
        concat!(
            "retry: 1\nid: ",
            $after,
            "\nevent: open\ndata: {\"stream\":\"x\",\"after\":",
            $after,
            ",\"tail\":9,\"status\":\"running\",\"started_at\":\"\"}\n\n"
        )
    };
}

#[tokio::test]
async fn silence_is_a_cut_and_what_had_no_id_comes_again() {
    const FIRST: &str = concat!(
        open!(0),
        "id: 1\nevent: text\ndata: {\"from\":1,\"text\":\"a\"}\n\n: hb\n\n",
        "event: text\ndata: {\"from\":2,\"text\":\"lost\"}\n\n"
    );
    const SECOND: &str = concat!(
        open!(1),
        "event: text\ndata: {\"from\":2,\"text\":\"b\"}\n\n",
        "id: 3\nevent: finish\ndata: {\"from\":2,\"reason\":\"stop\"}\n\n",
        "id: 4\nevent: end\ndata: {\"reason\":\"completed\",\"code\":null,\"message\":null,\"finish\":null,\
         \"usage\":null,\"blocks\":3,\"bytes\":9,\"hash\":\"\"}\n\n"
    );
    let url = scripted(&[FIRST, SECOND]).await;
    let options = Options { heartbeat: Duration::from_millis(50), ..Options::default() };
    let (items, error) = follow(url, options).await;
    assert_eq!(error, None);
    assert_eq!(fold(&items).text(), "ab");
    let cuts: Vec<_> = items.iter().filter(|item| matches!(item, Item::Cut(_))).collect();
    assert!(matches!(cuts[..], [Item::Cut(cut)] if cut.why.contains("not a byte")), "{cuts:?}");
}

#[tokio::test]
async fn a_broken_contract_is_an_error() {
    for (body, wanted) in [
        (concat!(open!(0), "id: 2\nevent: text\ndata: {\"from\":2,\"text\":\"\"}\n\n"), "gap"),
        (concat!(open!(0), "id: 0\nevent: text\ndata: {\"from\":1,\"text\":\"\"}\n\n"), "duplicate"),
        (open!(1), "should begin after 0"),
        ("id: 1\nevent: text\ndata: {\"from\":1,\"text\":\"\"}\n\n", "does not begin"),
        (concat!(open!(0), "id: 1\nevent: text\ndata: {\"from\":1}\n\n"), "cannot be read"),
        (concat!(open!(0), "id: one\nevent: text\ndata: {}\n\n"), "not our wire"),
    ] {
        let bodies: &'static [&'static str] = Box::leak(Box::new([body]));
        let (_, error) = follow(scripted(bodies).await, Options::default()).await;
        let error = error.expect(wanted).to_string();
        assert!(error.contains(wanted), "{error}");
    }
}
