//! Viewers that write down what they see, and come back with their cursor until they have seen the end.

use std::time::Instant;

use reqwest::Response;

use crate::client::{Answer, Client};
use crate::gateway::{LOOK, PATIENCE};

/// An event of the native view as it stood on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Option<u64>,
    pub(crate) name: String,
    pub(crate) data: String,
}

/// All whole events of a text.
pub(crate) fn events(text: &[u8]) -> Vec<Event> {
    let text = std::str::from_utf8(text).expect("events are UTF-8");
    text.split_inclusive("\n\n").filter(|block| block.ends_with("\n\n")).filter_map(event).collect()
}

/// What an SSE block says; nothing, if it is a comment.
fn event(block: &str) -> Option<Event> {
    let mut event = Event { id: None, name: String::new(), data: String::new() };
    for line in block.lines().filter(|line| !line.is_empty() && !line.starts_with(':')) {
        match line.split_once(": ").expect("fields have a space behind the colon") {
            ("id", id) => event.id = Some(id.parse().unwrap()),
            ("event", name) => event.name = name.to_owned(),
            ("data", data) => event.data.push_str(data),
            ("retry", _) => {}
            other => panic!("{other:?}"),
        }
    }
    (!event.name.is_empty()).then_some(event)
}

/// Where a viewer stands, and how it says so.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Begin {
    Header(u64),
    Query(u64),
}

/// What a viewer of events wrote down: without `open`, and without what was provisional.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) after: u64,
    pub(crate) events: Vec<Event>,
    /// When each of its connections said its first word.
    pub(crate) greeted: Vec<Instant>,
}

/// Follows a stream's events to the end, over as many connections as it takes.
pub(crate) async fn follow(client: &Client, id: &str, ticket: &str, begin: Begin) -> Seen {
    let (Begin::Header(after) | Begin::Query(after)) = begin;
    let mut seen = Seen { after, ..Seen::default() };
    let mut cursor = after;
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "the stream {id} does not end; {cursor} was seen");
        let request = match begin {
            Begin::Header(_) => client
                .watch(&format!("/v1/streams/{id}/events"), ticket)
                .header("last-event-id", cursor.to_string()),
            Begin::Query(_) => client.watch(&format!("/v1/streams/{id}/events?after={cursor}"), ticket),
        };
        let Ok(response) = request.send().await else {
            tokio::time::sleep(LOOK).await;
            continue;
        };
        if response.status() != 200 {
            let answer = Answer::of(response).await;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            panic!("stream {id} from {cursor}: {} {text}", answer.status);
        }
        let ended = connection(response, id, &mut cursor, &mut seen).await;
        if ended {
            return seen;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// One connection, until it breaks or has said the end.
async fn connection(mut response: Response, id: &str, cursor: &mut u64, seen: &mut Seen) -> bool {
    let (mut text, mut provisional, mut is_first) = (Vec::new(), Vec::new(), true);
    while let Ok(Some(chunk)) = response.chunk().await {
        text.extend_from_slice(&chunk);
        let Some(whole) = text.windows(2).rposition(|pair| pair == b"\n\n") else { continue };
        let rest = text.split_off(whole + 2);
        for event in events(&std::mem::replace(&mut text, rest)) {
            if std::mem::take(&mut is_first) {
                assert_eq!((event.name.as_str(), event.id), ("open", Some(*cursor)), "{id}: {event:?}");
                seen.greeted.push(Instant::now());
                continue;
            }
            if event.name == "bye" {
                return false;
            }
            let Some(now) = event.id else {
                provisional.push(event);
                continue;
            };
            assert!(now > *cursor, "{id}: {event:?} is a duplicate: {cursor} was seen");
            *cursor = now;
            let is_end = event.name == "end";
            seen.events.append(&mut provisional);
            seen.events.push(event);
            if is_end {
                return true;
            }
        }
    }
    false
}

/// Follows the provider's bytes until the stream has ended, by counting them.
pub(crate) async fn follow_raw(client: &Client, id: &str, ticket: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "the raw view of {id} does not end; {} bytes", bytes.len());
        let path = format!("/v1/streams/{id}/raw?offset={}", bytes.len());
        let Ok(mut response) = client.watch(&path, ticket).send().await else {
            tokio::time::sleep(LOOK).await;
            continue;
        };
        // An end without a byte.
        if response.status() == 502 && bytes.is_empty() {
            return bytes;
        }
        if response.status() != 200 {
            let answer = Answer::of(response).await;
            panic!("raw {id}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        assert_eq!(response.headers()["tokencast-offset"], bytes.len().to_string());
        let is_whole = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        // Any end but `completed` breaks the connection, as a crash does: only the state tells them apart.
        if is_whole || is_all(bytes.len(), client, id, ticket).await {
            return bytes;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether a stream has ended, and has no more than these bytes.
async fn is_all(bytes: usize, client: &Client, id: &str, ticket: &str) -> bool {
    let Ok(response) = client.watch(&format!("/v1/streams/{id}"), ticket).send().await else { return false };
    let answer = Answer::of(response).await;
    // A gateway that is killed while it answers has said nothing.
    if !answer.complete || answer.status != 200 {
        return false;
    }
    let state = answer.json();
    state["status"] != "running" && state["bytes"] == bytes
}
