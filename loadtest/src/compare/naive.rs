//! What one writes first: axum's `Sse` over a `broadcast` channel. A viewer that lags is skipped ahead, silently.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use axum::routing::{get, post};
use futures_util::stream::{Stream, unfold};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::Fault;

const LAG_MAX: usize = 1024;

type Rooms = Arc<Mutex<HashMap<String, broadcast::Sender<String>>>>;

#[expect(clippy::print_stdout, reason = "whoever starts it reads where it is")]
pub(crate) async fn run() -> Result<(), Fault> {
    let app = Router::new()
        .route("/pub/{room}", post(publish))
        .route("/sub/{room}", get(subscribe))
        .with_state(Rooms::default());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

fn channel(rooms: &Rooms, room: String) -> broadcast::Sender<String> {
    let mut rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
    rooms.entry(room).or_insert_with(|| broadcast::channel(LAG_MAX).0).clone()
}

async fn publish(State(rooms): State<Rooms>, Path(room): Path<String>, body: String) {
    // Without viewers there is nobody to send it to.
    let _ = channel(&rooms, room).send(body);
}

async fn subscribe(
    State(rooms): State<Rooms>,
    Path(room): Path<String>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = unfold(channel(&rooms, room).subscribe(), |mut events| async {
        loop {
            match events.recv().await {
                Ok(data) => return Some((Ok(Event::default().data(data)), events)),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}
