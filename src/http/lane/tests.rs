//! A bug in a room costs those who sit in it, and nobody else.

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::*;
use crate::cast::end::Outcome;
use crate::cast::tests::{STALL, cast, frame};
use crate::http::manners;

/// Whoever is sent away brings the room down.
const PLANTED: Manners = Manners { bye: Some(|_| panic!("planted")), ..manners::EVENTS };

/// A socket of ours, and its other end.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0, theirs)
}

async fn whole(mut socket: TcpStream) -> String {
    let mut text = String::new();
    timeout(STALL, socket.read_to_string(&mut text)).await.expect("an end").unwrap();
    text
}

#[tokio::test]
async fn a_room_that_panics_is_closed_and_whoever_comes_next_finds_another() {
    let metrics = telemetry::install();
    let (cast, mut producer) = cast();
    producer.append(frame(1, &["a"])).await.unwrap();
    let (places, tasks) = (Arc::new(Semaphore::new(9)), Tasks::default());
    let rooms = Rooms::new(tasks.clone(), Duration::from_secs(30));
    let sit = async |manners: &'static Manners, closing: &CancellationToken| {
        let (ours, theirs) = pair().await;
        let order = Order {
            cast: cast.clone(),
            view: View::Events,
            transport: "sse",
            manners,
            begin: Bytes::new(),
            after: 0,
            heartbeat: None,
            expires: None,
            closing: closing.clone(),
            attached: cast.attach(),
        };
        let held = Held {
            _place: places.clone().try_acquire_owned().unwrap(),
            _connected: None,
            _open: telemetry::Connection::opened(),
        };
        rooms.seat(ours, &http::Response::new(()).into_parts().0, order, held);
        theirs
    };
    let closing = CancellationToken::new();
    let (one, other) = (sit(&PLANTED, &closing).await, sit(&PLANTED, &closing).await);
    closing.cancel();
    for socket in [one, other] {
        let said = whole(socket).await;
        assert!(!said.ends_with("0\r\n\r\n"), "it broke off: {said}");
    }
    while !tasks.is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!((cast.viewers(), places.available_permits()), (0, 9), "nothing is left of them");
    let next = sit(&manners::EVENTS, &CancellationToken::new()).await;
    producer.append(frame(2, &["b"])).await.unwrap();
    producer.end(Outcome::completed(), STALL).await;
    let said = whole(next).await;
    assert!(said.contains("event: end") && said.ends_with("0\r\n\r\n"), "{said}");
    assert!(metrics.render().contains("tokencast_panics_total{where=\"http\"}"));
}
