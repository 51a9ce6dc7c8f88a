//! Those who take their time, each in another place. A second is long here, so that the tests are short.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::gateway::{Gateway, Journal, config};
use crate::http::{Call, Protocol, within};
use crate::provider::{Ending, Provider, Script};
use crate::says::text;
use crate::viewing::Transport;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const A_WHILE: Duration = Duration::from_millis(150);

async fn gateway() -> (Gateway, Provider) {
    let provider = Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    (config.http.first_byte_s, config.http.head_s, config.http.request_s, config.http.idle_s) = (1, 1, 1, 1);
    (Gateway::start(config), provider)
}

/// Sends the first bytes at once and the others one by one, and gives what was said until the connection was closed.
async fn trickle(gateway: &Gateway, at_once: &[u8], slowly: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(at_once).await.unwrap();
    let (mut read, mut write) = stream.split();
    let mut heard = Vec::new();
    within("a close", async {
        let slow = async {
            for byte in slowly {
                sleep(A_WHILE).await;
                if write.write_all(&[*byte]).await.is_err() {
                    break;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = read.read_to_end(&mut heard) => {}
            () = slow => {}
        }
    })
    .await;
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_nothing_in_time_is_closed() {
    let (gateway, _provider) = gateway().await;
    let endless: Vec<u8> = b"x".repeat(1000);
    let head = b"GET /v1/streams HTTP/1.1\r\nhost: localhost\r\nx: ";
    let preface = [PREFACE, SETTINGS].concat();
    // A header block that goes on for ever: HEADERS without END_HEADERS, and a CONTINUATION that comes byte by byte.
    let block = [&preface[..], &[0, 0, 0, 1, 0, 0, 0, 0, 1], &[0, 3, 232, 9, 0, 0, 0, 0, 1]].concat();
    let request = b"GET /v1/streams HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let and_half = [&request[..], &head[..]].concat();
    let (silent, slow_head, half_preface, slow_preface, no_request, slow_block, idle, slow_second) = tokio::join!(
        trickle(&gateway, b"", b""),
        trickle(&gateway, head, &endless),
        trickle(&gateway, &PREFACE[..10], b""),
        trickle(&gateway, b"", PREFACE),
        trickle(&gateway, &preface, b""),
        trickle(&gateway, &block, &endless),
        trickle(&gateway, request, b""),
        trickle(&gateway, &and_half, &endless),
    );
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!((said(&silent), said(&half_preface), said(&slow_preface)), Default::default());
    let slow_head = said(&slow_head);
    assert!(slow_head.starts_with("HTTP/1.1 408 ") && slow_head.contains("request_timeout"), "{slow_head}");
    for goodbye in [no_request, slow_block] {
        assert!(goodbye.windows(9).any(|frame| frame[3] == 7), "GOAWAY: {goodbye:?}");
    }
    for (answered, answers) in [(said(&idle), 1), (said(&slow_second), 2)] {
        assert_eq!(answered.matches("HTTP/1.1 ").count(), answers, "{answered}");
        assert!(answered.starts_with("HTTP/1.1 200 "), "{answered}");
        assert_eq!(answered.contains("request_timeout"), answers == 2, "{answered}");
    }
}

/// A connection of HTTP/2 is idle only while nothing is answered on it.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_being_answered_is_not_idle() {
    let (gateway, _provider) = gateway().await;
    let id = gateway.stream("m").await;
    let mut viewers = JoinSet::new();
    for transport in [Transport::SseH1, Transport::SseH2] {
        let mut viewing = gateway.watch(transport, &id, "?heartbeat_ms=500").await;
        viewing.until("text").await;
        viewers.spawn(async move {
            // As long as several idle connections would live, and nothing but heartbeats comes.
            assert!(
                tokio::time::timeout(Duration::from_secs(3), viewing.next()).await.is_err(),
                "{transport:?}"
            );
        });
    }
    within("the viewers", viewers.join_all()).await;
    // Long-polls wait, too.
    let poll =
        Call::get(format!("/v1/streams/{id}/events?after=1&wait_s=3")).header("accept", "application/json");
    let (one, other) =
        tokio::join!(poll.send(Protocol::H1, gateway.http), poll.send(Protocol::H2, gateway.http));
    assert_eq!((one.status, other.status), (200, 200));
}

/// Whether the kernel has the gateway's side of a connection, in whatever state.
fn kernel_has(gateway: u16, client: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    let ports = [format!(":{gateway:04X}"), format!(":{client:04X}")];
    table.lines().any(|line| {
        let ends = line.split_whitespace().skip(1).take(2);
        ends.zip(&ports).filter(|(end, port)| end.ends_with(*port)).count() == 2
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_for_a_viewer_who_takes_nothing_and_stays() {
    let token: &'static str = "x".repeat(1000).leak();
    let provider = Provider::with(Script::says(text(token).bytes.repeat(2000)).ends(Ending::Hang)).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.http.stalled_s = 1;
    let gateway = Gateway::start(config);
    let id = gateway.stream("m").await;
    gateway.has_blocks(&id, 2000).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket.connect(gateway.http).await.unwrap();
    let request = format!("GET /v1/streams/{id}/events HTTP/1.1\r\nhost: localhost\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let (here, there) = (client.local_addr().unwrap().port(), gateway.http.port());
    assert!(kernel_has(there, here));
    within("a kernel that forgets", async {
        while kernel_has(there, here) {
            sleep(A_WHILE).await;
        }
    })
    .await;
    assert!(gateway.refused("stalled").await > 0);
    // It was there all the time.
    drop(client);
}
