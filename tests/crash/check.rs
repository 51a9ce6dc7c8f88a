//! What an ended stream is, read in one go, and whether it is what its viewers wrote down piece by piece.

use serde_json::Value;

use crate::client::Client;
use crate::round::Ran;
use crate::viewer::{Event, events};

/// All that there is of an ended stream, on the wire.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) state: Value,
    pub(crate) events: Vec<Event>,
    pub(crate) raw: Raw,
    pub(crate) ended_as: String,
}

/// The provider's bytes, which say little to people.
#[derive(PartialEq, Eq)]
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Reference {
    pub(crate) async fn of(client: &Client, id: &str) -> Self {
        let get = async |view: &str| {
            let answer = client.get(&format!("/v1/streams/{id}{view}")).await;
            answer.unwrap_or_else(|error| panic!("{id}{view}: {error}"))
        };
        let mut state = get("").await.want(200).json();
        state["viewers"] = 0.into();
        let mut events = events(&get("/events").await.want(200).body);
        assert_eq!(events.remove(0).name, "open");
        let is_empty = state["blocks"] == 0;
        let raw = get("/raw").await.want(if is_empty { 502 } else { 200 });
        let (complete, raw) = (raw.complete, if is_empty { Vec::new() } else { raw.body });
        let end = &state["end"];
        let reason = end["reason"].as_str().unwrap_or_else(|| panic!("{state} has no end"));
        let ended_as = end["code"].as_str().map_or(reason.to_owned(), |code| format!("{reason}/{code}"));
        assert!(is_empty || complete == (reason == "completed"), "{id}: {ended_as}");

        assert_eq!(state["status"], end["reason"]);
        assert_eq!(end["bytes"], raw.len());
        let hash = tokencast::crypto::hex(&tokencast::crypto::sha256(&raw));
        assert_eq!(end["hash"], *hash, "{id}");
        assert_eq!(state["hash"], *hash, "{id}");
        contiguous(id, &events);
        let last = events.last().unwrap();
        assert_eq!(last.name, "end", "{id}");
        assert_eq!(serde_json::from_str::<Value>(&last.data).unwrap(), *end);
        assert_eq!(last.id, end["blocks"].as_u64().map(|blocks| blocks + 1));
        Self { state, events, raw: Raw(raw), ended_as }
    }

    pub(crate) fn id(&self) -> &str {
        self.state["id"].as_str().unwrap()
    }
}

/// Each event says from where it counts: behind the last id.
fn contiguous(id: &str, events: &[Event]) {
    let mut last = 0;
    for event in events.iter().filter(|event| event.name != "end") {
        let data: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(data["from"], last + 1, "{id}: a gap before {event:?}");
        last = event.id.unwrap_or(last);
    }
}

/// Reads a stream that has ended and compares it with what every viewer has.
pub(crate) async fn check(client: &Client, ran: &Ran) -> Reference {
    let id = ran.id.as_deref().expect("it was started");
    let reference = Reference::of(client, id).await;
    assert_eq!(reference.state["metadata"]["marker"], *ran.order.marker);
    for seen in &ran.events {
        assert_eq!(seen.after, 0);
        assert_eq!(seen.events, reference.events, "{id}: a viewer of events has seen something else");
    }
    for raw in &ran.raw {
        assert!(
            *raw == reference.raw.0,
            "{id}: a viewer of bytes has {}: {}",
            raw.len(),
            reference.raw.0.len()
        );
    }
    reference
}
