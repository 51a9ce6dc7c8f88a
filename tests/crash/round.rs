//! One stream of a round: asked for until it is there, watched until it has ended.

use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{Answer, Client};
use crate::gateway::LOOK;
use crate::viewer::{Begin, Seen, follow, follow_raw};

/// A request for a stream, which can be repeated when it has a name.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) marker: String,
    pub(crate) id: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) envelope: Value,
}

/// A stream and what its viewers wrote down.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) order: Order,
    /// None, if it was lost before anybody was told its name.
    pub(crate) id: Option<String>,
    pub(crate) events: Vec<Seen>,
    pub(crate) raw: Vec<Vec<u8>>,
}

impl Order {
    pub(crate) fn new(marker: &str, request: &Value, rng: &mut Rng) -> Self {
        let id = rng.bool().then(|| format!("own-{marker}"));
        let key = rng.bool().then(|| format!("key of {marker}"));
        let mut envelope = json!({ "request": request, "metadata": { "marker": marker } });
        if let Some(id) = &id {
            envelope["id"] = id.as_str().into();
        }
        Self { marker: marker.to_owned(), id, key, envelope }
    }

    /// Whether it can be asked for again without another stream being started.
    pub(crate) fn is_named(&self) -> bool {
        self.id.is_some() || self.key.is_some()
    }

    pub(crate) async fn post(&self, client: &Client) -> reqwest::Result<Answer> {
        client.start(&self.envelope, self.key.as_deref()).await
    }

    /// Starts the stream and follows it with viewers of every kind, each of which comes so much later.
    pub(crate) async fn run(self, client: Client, viewers: Vec<Duration>) -> Ran {
        let answer = loop {
            match self.post(&client).await {
                Ok(answer) if answer.complete => break answer,
                _ if self.is_named() => sleep(LOOK).await,
                _ => return Ran { order: self, id: None, events: Vec::new(), raw: Vec::new() },
            }
        };
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        let body = answer.json();
        let (id, ticket) = (body["id"].as_str().unwrap(), body["ticket"].as_str().unwrap());
        let (mut events, mut raws) = (JoinSet::new(), JoinSet::new());
        for (index, late) in viewers.into_iter().enumerate() {
            let (client, id, ticket) = (client.clone(), id.to_owned(), ticket.to_owned());
            let begin = if index % 2 == 0 { Begin::Header(0) } else { Begin::Query(0) };
            if index % 5 < 3 {
                events.spawn(async move {
                    sleep(late).await;
                    follow(&client, &id, &ticket, begin).await
                });
            } else {
                raws.spawn(async move {
                    sleep(late).await;
                    follow_raw(&client, &id, &ticket).await
                });
            }
        }
        let id = Some(id.to_owned());
        Ran { order: self, id, events: events.join_all().await, raw: raws.join_all().await }
    }
}
