//! What a bug below a surface does: it costs the one answer or session that meets it. It is planted in the journal, which
//! all surfaces read.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use wtransport::tls::Sha256Digest;
use wtransport::{ClientConfig, Connection};

use super::*;
use crate::auth::OPEN_TENANT;
use crate::cast::about::{About, now_ms};
use crate::cast::block::Seq;
use crate::cast::durable::{
    Commit, Content, Durable, Ended, Known, Load, Mark, Number, Record, State, StorageError, committed,
};
use crate::cast::end::{End, Why};
use crate::cast::frame::Frame;
use crate::cast::tests::{about, frame};
use crate::crypto::{hex, random, sha256};
use crate::webtransport::Endpoint;
use crate::{telemetry, upstream};

const PATIENCE: Duration = Duration::from_secs(20);

/// Ended streams: the first panics when it is looked for, the second when it is read, the third is fine.
#[derive(Debug)]
struct Planted;

const STREAMS: [(Number, &str); 3] = [(1, "lost"), (2, "torn"), (3, "fine")];

impl Durable for Planted {
    fn commit(&self, _record: Record) -> Commit {
        committed()
    }

    fn content(&self, number: Number) -> Load<Content> {
        Box::pin(async move {
            match number {
                1 => panic!("planted"),
                2 => Ok(Content::Pieces(vec![Mark { first: 1, last: 1, begin: 0, id: 0 }])),
                _ => Ok(Content::Whole(vec![frame(1, &["a"])])),
            }
        })
    }

    fn piece(&self, _number: Number, _first: Seq) -> Load<Vec<Frame>> {
        Box::pin(async { panic!("planted") })
    }

    fn keeps_content(&self) -> bool {
        true
    }

    fn used_bytes(&self) -> u64 {
        0
    }

    fn trouble(&self) -> Option<StorageError> {
        None
    }
}

fn known((number, id): (Number, &str)) -> Known {
    let end = End {
        why: Why::Completed,
        message: None,
        finish: None,
        usage: None,
        blocks: 1,
        bytes: 1,
        hash: hex(&sha256(b"a")),
        at_ms: 0,
    };
    let about = About { number, tenant: OPEN_TENANT.into(), started_ms: now_ms(), ..about(id) };
    let upstream_id = Some(format!("resp_{id}"));
    let ended = Ended { end, model: None, frames: 1, first_token_ms: None, upstream_id };
    Known { about, content_type: None, state: State::Ended(ended) }
}

fn gateway() -> Gateway {
    let config = Config::default();
    let keyring = Keyring::open(&config.auth, |_| None).unwrap();
    let client = upstream::client(&config.upstream, |builder| builder);
    let opened = Opened {
        journal: Arc::new(Planted),
        known: STREAMS.map(known).into(),
        spent: Vec::new(),
        secret: random(),
    };
    Gateway::new(&config, |_| None, client, keyring, opened)
}

/// Everything that is said over HTTP/1.1.
async fn ask(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_panic_below_a_door_or_a_view_costs_one_answer() {
    let metrics = telemetry::install();
    let gateway = gateway();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    gateway.public.spawn(http::serve(listener, gateway.connections.clone()));
    for path in [
        "/v1/streams/lost",
        "/v1/streams/lost/events",
        "/v1/responses/resp_lost",
        "/v1/responses/resp_lost?stream=true",
        "/v1/responses/resp_torn",
        "/api/chat/lost/stream?startIndex=0",
        "/api/chat/torn/stream?startIndex=-1",
    ] {
        let said = ask(addr, path).await;
        assert!(said.starts_with("HTTP/1.1 500 ") && said.contains("\"internal\""), "{path}: {said}");
        assert!(!said.contains("planted"), "{path}: {said}");
    }
    for path in [
        "/v1/streams/torn/events",
        "/v1/streams/torn/raw",
        "/v1/responses/resp_torn?stream=true",
        "/api/chat/torn/stream?startIndex=1",
    ] {
        // The head may be on its way, or not.
        let said = ask(addr, path).await;
        assert!(!said.ends_with("0\r\n\r\n") && !said.contains("planted"), "it broke off: {path}: {said}");
    }
    let fine = ask(addr, "/v1/streams/fine/events").await;
    assert!(fine.contains("event: end") && fine.ends_with("0\r\n\r\n"), "{fine}");
    // The listener alone is left.
    while gateway.public.len() > 1 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(gateway.hub.account(&OPEN_TENANT.into()).viewers(), 0);
    assert!(metrics.render().contains("tokencast_panics_total{where=\"http\"}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_session_costs_one_session() {
    let metrics = telemetry::install();
    let mut config = Config::default();
    config.webtransport.listen.set_port(0);
    let gateway = gateway();
    let directory = std::env::temp_dir().join(format!("tokencast-{}", hex(&random::<8>())));
    let place = gateway.edge.place.clone();
    let endpoint =
        Endpoint::open(&config.webtransport, &directory, vec!["127.0.0.1".into()], place.clone()).unwrap();
    let base = format!("https://{}", endpoint.local_addr().unwrap());
    gateway.public.spawn(endpoint.serve(gateway.edge.clone(), 1, gateway.accepting.clone()));
    let open = async |stream: &str| {
        let hashes = place.pins().into_iter().map(|pin| Sha256Digest::new(pin.sha256));
        let client =
            ClientConfig::builder().with_bind_default().with_server_certificate_hashes(hashes).build();
        let client = wtransport::Endpoint::client(client).unwrap();
        timeout(PATIENCE, client.connect(format!("{base}/v1/streams/{stream}")))
            .await
            .expect("an answer")
            .ok()
    };
    let whole = async |session: &Connection| {
        let mut stream = timeout(PATIENCE, session.accept_uni()).await.expect("a stream").ok()?;
        let mut bytes = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("an end").ok()?;
        Some(bytes)
    };
    let beside = open("fine").await.expect("a session");
    for stream in ["lost", "torn"] {
        // It may be over before it has begun.
        let Some(session) = open(stream).await else { continue };
        whole(&session).await;
        timeout(PATIENCE, session.closed()).await.expect("it is closed");
    }
    assert!(whole(&beside).await.is_some_and(|bytes| !bytes.is_empty()), "whoever was there goes on");
    let next = open("fine").await.expect("another session");
    assert!(whole(&next).await.is_some_and(|bytes| !bytes.is_empty()), "whoever comes is served");
    assert!(metrics.render().contains("tokencast_panics_total{where=\"webtransport\"}"));
    let _ = std::fs::remove_dir_all(directory);
}
