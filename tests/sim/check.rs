//! What has to be true of every stream when everybody has left, whatever happened before.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::diary::Diary;
use crate::network::Network;
use crate::plan::{Last, Plan};
use crate::provider::Called;
use crate::script::{Fault, Script, View};
use crate::starter::{Ran, ended_as};
use crate::viewer::{Seen, Viewer, kind};
use crate::wire::{Pace, call};
use crate::world::FIRST_BYTE;

pub(crate) struct Check {
    pub(crate) script: Arc<Script>,
    pub(crate) plans: Arc<Vec<Plan>>,
    pub(crate) network: Network,
    pub(crate) diary: Diary,
}

impl Check {
    pub(crate) async fn stream(&self, ran: &Ran, called: Called) {
        let Some(id) = &ran.id else { return };
        let plan = &self.plans[ran.number];
        self.nobody_watches(id).await;
        let may_be_gone = ran.purged || ran.stream.ttl_s.is_some();
        for seen in &ran.seen {
            assert!(may_be_gone || !seen.is_gone, "{}: nobody has purged it", seen.name);
        }
        let diary = self.diary.of(format!("stream {}, check", ran.number));
        let plain = |view| {
            let plans = (self.plans.clone(), ran.number);
            Viewer::plain(view, id, plans, &self.network, diary.clone()).follow()
        };
        let events = plain(View::Events).await;
        let known = ran.seen.iter().find_map(|seen| seen.end.clone());
        if events.is_gone {
            assert!(may_be_gone, "{id} is gone");
            ran.seen.iter().for_each(|seen| assert!(seen.end.is_none() || seen.end == known));
            return;
        }
        assert!(!ran.purged, "{id} was purged, and is there");
        let end = events.end.expect("it has ended");
        let blocks = end["blocks"].as_u64().unwrap();
        let bytes = end["bytes"].as_u64().unwrap() as usize;

        // Everybody was told the same, and what anybody has seen is there.
        for seen in &ran.seen {
            assert!(seen.end.as_ref().is_none_or(|told| *told == end), "{}: {:?} {end}", seen.name, seen.end);
            assert!(seen.cursor <= blocks + 1, "{} has seen {} of {blocks}", seen.name, seen.cursor);
            assert!(seen.bytes <= bytes, "{} has {} of {bytes} bytes", seen.name, seen.bytes);
        }
        let raw = plain(View::Raw).await;
        let body = plan.body();
        assert!(raw.is_gone || raw.bytes == bytes, "{id}: {} bytes, and not {bytes}", raw.bytes);
        let hash = tokencast::crypto::hex(&tokencast::crypto::sha256(&body[..bytes]));
        assert_eq!(end["hash"], *hash, "{id}: the hash of its bytes");
        assert_eq!(blocks, plan.blocks_in(bytes), "{id}: {bytes} bytes");
        plain(View::Text).await;
        plain(View::Poll).await;
        plain(View::Lines).await;
        self.chunks(ran, plan, &end, &plain(View::Ui).await);

        self.ending(ran, plan, &end, bytes, called);
        self.replay(ran, id).await;
    }

    /// The view `ui` says what was said and how it ended, and to everybody in the same chunks.
    fn chunks(&self, ran: &Ran, plan: &Plan, end: &Value, ui: &Seen) {
        if ui.is_gone {
            return;
        }
        let said = |wanted: &str| -> String {
            let deltas = ui.chunks.iter().filter(|chunk| kind(chunk) == wanted);
            deltas.map(|chunk| chunk["delta"].as_str().expect("a delta")).collect()
        };
        let whole = plan.whole_in(end["bytes"].as_u64().expect("bytes"));
        assert_eq!((said("text-delta"), said("reasoning-delta")), plan.said(0, whole), "{}", ui.name);
        let (has_aborted, last) =
            (ui.chunks.iter().any(|chunk| kind(chunk) == "abort"), ui.chunks.last().map(kind));
        let wanted = match end["reason"].as_str() {
            Some("completed") => (false, "finish"),
            Some("cancelled") => (true, "finish"),
            _ => (false, "error"),
        };
        assert_eq!((has_aborted, last), (wanted.0, Some(wanted.1)), "{}: {end}", ui.name);
        for seen in ran.seen.iter().filter(|seen| !seen.chunks.is_empty()) {
            assert!(ui.chunks.starts_with(&seen.chunks), "{}: other chunks", seen.name);
            assert!(seen.is_gone || seen.chunks.len() == ui.chunks.len(), "{}: too few chunks", seen.name);
        }
    }

    /// Whoever has left is not counted any more.
    async fn nobody_watches(&self, id: &str) {
        let path = format!("/v1/streams/{id}");
        for _ in 0..200 {
            let mut answer = call(&self.network, Pace::QUICK, "GET", &path, &[], "").await.unwrap();
            if answer.status == 410 || answer.json().await.unwrap()["viewers"] == 0 {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("{id}: somebody is counted who is not there");
    }

    /// The end is one that is true.
    fn ending(&self, ran: &Ran, plan: &Plan, end: &Value, bytes: usize, called: Called) {
        let ended_as = ended_as(end);
        let natural = plan.end(FIRST_BYTE);
        let has = |fault| self.script.has(fault);
        let is_possible = match &*ended_as {
            as_planned if as_planned == natural => true,
            "interrupted/restart" => has(Fault::Crash),
            "failed/storage_error" => has(Fault::DiskFull),
            "failed/upstream_connect" | "failed/upstream_cut" => has(Fault::Outage),
            "cancelled/stopped" => ran.stopped,
            "cancelled/no_viewers" => ran.stream.cancel_after_s.is_some(),
            _ => false,
        };
        assert!(is_possible, "stream {} ended {ended_as}, and should have {natural}", ran.number);
        if ended_as == "completed" {
            assert!(matches!(plan.last, Last::Marker | Last::Finish));
            assert_eq!(bytes, plan.body().len(), "stream {} is not complete", ran.number);
        } else if ended_as == natural
            && natural.starts_with("failed/")
            && called.times == 1
            && !has(Fault::Crash)
        {
            assert_eq!(bytes, called.sent, "stream {}: what has come is kept", ran.number);
        }
        let is_promised = ran.stream.key.is_some() || !has(Fault::Crash) && !has(Fault::DiskFull);
        assert!(
            !is_promised || called.times <= 1,
            "stream {} was asked for {} times",
            ran.number,
            called.times
        );
        self.diary
            .of(format!("stream {}, check", ran.number))
            .note(format_args!("is as it should be: {ended_as}"));
    }

    /// The same order finds the same stream, and asks nobody.
    async fn replay(&self, ran: &Ran, id: &str) {
        let Some(key) = &ran.stream.key else { return };
        let mut order = serde_json::json!({
            "request": { "model": "m", "messages": [], "user": ran.number.to_string() },
        });
        if let Some(id) = &ran.stream.id {
            order["id"] = id.as_str().into();
        }
        let headers = [("idempotency-key", key.as_str())];
        let path = "/v1/streams";
        let mut answer =
            call(&self.network, Pace::QUICK, "POST", path, &headers, &order.to_string()).await.unwrap();
        if answer.status == 410 && ran.stream.ttl_s.is_some() {
            return;
        }
        assert_eq!(answer.status, 200, "stream {} is replayed", ran.number);
        assert_eq!(answer.json().await.unwrap()["id"], id);
    }
}
