//! Whoever starts a stream, brings its viewers, and sometimes interferes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::diary::Diary;
use crate::network::Network;
use crate::plan::Plan;
use crate::script::{Meddling, Stream};
use crate::viewer::{Seen, Viewer};
use crate::wire::{Pace, call};

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(37);
const TRIES: usize = 400;

/// What became of a stream, as those around it saw it.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) number: usize,
    pub(crate) stream: Stream,
    /// None if it could not be started.
    pub(crate) id: Option<String>,
    pub(crate) seen: Vec<Seen>,
    /// What was asked for by somebody.
    pub(crate) stopped: bool,
    pub(crate) purged: bool,
}

pub(crate) struct Starter {
    pub(crate) number: usize,
    pub(crate) stream: Stream,
    pub(crate) plan: Arc<Vec<Plan>>,
    pub(crate) network: Network,
    pub(crate) diary: Diary,
}

impl Starter {
    pub(crate) async fn run(self) -> Ran {
        sleep(self.stream.late).await;
        let id = self.start().await;
        let mut ran = Ran {
            number: self.number,
            stream: self.stream.clone(),
            id: id.clone(),
            seen: Vec::new(),
            stopped: false,
            purged: false,
        };
        let Some(id) = id else { return ran };
        let mut viewers = JoinSet::new();
        for (index, habits) in self.stream.viewers.iter().enumerate() {
            let viewer = Viewer::new(
                *habits,
                id.clone(),
                (self.plan.clone(), self.number),
                self.network.clone(),
                self.diary.of(format!("stream {}, viewer {index}", self.number)),
            );
            viewers.spawn(viewer.follow());
        }
        let meddled = Arc::new(Mutex::new(false));
        if let Some((after, meddling)) = self.stream.meddling {
            sleep(after).await;
            *meddled.lock().unwrap() = true;
            self.meddle(&id, meddling).await;
            (ran.stopped, ran.purged) = (true, meddling == Meddling::Purge);
        }
        ran.seen = viewers.join_all().await;
        ran
    }

    /// Asks until it is there; repeating is safe, because it has a name.
    async fn start(&self) -> Option<String> {
        let mut order = json!({
            "request": { "model": "m", "messages": [], "user": self.number.to_string() },
            "metadata": { "number": self.number },
        });
        if let Some(id) = &self.stream.id {
            order["id"] = id.as_str().into();
        }
        if let Some(ttl_s) = self.stream.ttl_s {
            order["ttl_s"] = ttl_s.into();
        }
        if let Some(after_s) = self.stream.cancel_after_s {
            order["on_no_viewers"] = json!({ "cancel_after_s": after_s });
        }
        let headers: Vec<_> = self.stream.key.iter().map(|key| ("idempotency-key", key.as_str())).collect();
        for _ in 0..TRIES {
            let answer =
                call(&self.network, Pace::QUICK, "POST", "/v1/streams", &headers, &order.to_string()).await;
            if let Ok(mut answer) = answer {
                let status = answer.status;
                let body = answer.json().await;
                self.diary.note(format_args!("POST: {status}"));
                match (status, body) {
                    (200 | 201, Some(body)) => return Some(body["id"].as_str().expect("an id").to_owned()),
                    // It was started, and is gone already.
                    (409 | 410, _) if self.stream.ttl_s.is_some() => return None,
                    (200 | 201, None) | (503 | 507, _) => {}
                    (status, body) => panic!("POST: {status} {body:?}"),
                }
            }
            sleep(AGAIN).await;
        }
        panic!("stream {} cannot be started", self.number);
    }

    async fn meddle(&self, id: &str, meddling: Meddling) {
        let query = if meddling == Meddling::Purge { "?purge=1" } else { "" };
        for _ in 0..TRIES {
            let path = format!("/v1/streams/{id}{query}");
            if let Ok(answer) = call(&self.network, Pace::QUICK, "DELETE", &path, &[], "").await {
                self.diary.note(format_args!("{meddling:?}: {}", answer.status));
                match answer.status {
                    200 | 202 | 410 => return,
                    // What cannot be stored now is owed.
                    507 | 503 | 500 => return,
                    status => panic!("DELETE: {status}"),
                }
            }
            sleep(AGAIN).await;
        }
        panic!("{meddling:?} of {id} does not come through");
    }
}

/// `reason/code` of an end.
pub(crate) fn ended_as(end: &Value) -> String {
    let reason = end["reason"].as_str().expect("a reason");
    end["code"].as_str().map_or(reason.to_owned(), |code| format!("{reason}/{code}"))
}
