//! Viewers: each with habits of its own, and each comparing whatever it hears with what the provider was to say.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::diary::Diary;
use crate::forge::Key;
use crate::ledger::SECRET;
use crate::network::Network;
use crate::plan::Plan;
use crate::script::{Begin, Habits, View};
use crate::wire::{Answer, Pace, call};
use crate::world::BEGAN;

/// Connections of one viewer: more are no progress.
const CONNECTIONS_MAX: usize = 3000;
/// How far the clock of whoever makes tickets may be ahead.
const LEEWAY_S: u64 = 30;
/// A cursor that no stream gets to.
const FAR: u64 = 1 << 40;

/// How often anybody was sent away because of a ticket.
pub(crate) static EXPIRED: AtomicU64 = AtomicU64::new(0);

/// What a viewer has in the end.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) name: String,
    /// The last block of which it knows, and how many of the provider's bytes it has.
    pub(crate) cursor: u64,
    pub(crate) bytes: usize,
    pub(crate) end: Option<Value>,
    /// Of the view `ui`.
    pub(crate) chunks: Vec<Value>,
    /// It was told that the stream is gone.
    pub(crate) is_gone: bool,
}

pub(crate) struct Viewer {
    habits: Habits,
    id: String,
    plans: Arc<Vec<Plan>>,
    number: usize,
    network: Network,
    diary: Diary,
    rng: Rng,
    seen: Seen,
    /// Where it began; it has everything from there on.
    begin: Option<u64>,
    /// Said without an id so far.
    provisional: (String, String),
    raw_begin: usize,
    text: String,
    /// A block of which a snapshot had nothing: it has to be the last one, and torn.
    torn: Option<u64>,
}

/// What became of a connection.
enum Over {
    /// There is nothing more to hear.
    Ended,
    Again,
}

impl Viewer {
    pub(crate) fn new(
        habits: Habits,
        id: String,
        (plans, number): (Arc<Vec<Plan>>, usize),
        network: Network,
        diary: Diary,
    ) -> Self {
        let (rng, seen) =
            (Rng::with_seed(habits.seed), Seen { name: diary.name().to_owned(), ..Seen::default() });
        let (begin, provisional, raw_begin, text, torn) = (None, Default::default(), 0, String::new(), None);
        Self {
            habits,
            id,
            plans,
            number,
            network,
            diary,
            rng,
            seen,
            begin,
            provisional,
            raw_begin,
            text,
            torn,
        }
    }

    /// A viewer that reads everything at once.
    pub(crate) fn plain(
        view: View,
        id: &str,
        plans: (Arc<Vec<Plan>>, usize),
        network: &Network,
        diary: Diary,
    ) -> Self {
        let (begin, late, pace) = (Begin::First, Duration::ZERO, Pace::QUICK);
        let habits =
            Habits { view, begin, late, pace, cut_bytes: 0, cuts_of_eight: 0, ticket_s: None, seed: 0 };
        Self::new(habits, id.to_owned(), plans, network.clone(), diary)
    }

    /// Watches to the end, over as many connections as it takes.
    pub(crate) async fn follow(mut self) -> Seen {
        sleep(self.habits.late).await;
        self.diary.note(format_args!("comes: {:?}", self.habits));
        for _ in 0..CONNECTIONS_MAX {
            let connected = match self.habits.view {
                View::Events | View::Lines => self.events().await,
                View::Ui => self.ui().await,
                View::Poll => self.poll().await,
                View::Raw => self.raw().await,
                View::Text => self.text().await,
            };
            match connected {
                Ok(Over::Ended) => return self.seen,
                Ok(Over::Again) => {}
                Err(error) => self.diary.note(format_args!("is cut off: {:?}", error.kind())),
            }
            let pause = Duration::from_millis(self.rng.u64(1..400));
            sleep(pause).await;
        }
        panic!("{} sees no end of {}", self.seen.name, self.id);
    }

    async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
        let mut path = format!("/v1/streams/{}{path}", self.id);
        if let Some(lasting_s) = self.habits.ticket_s {
            let and = if path.contains('?') { '&' } else { '?' };
            path += &format!("{and}ticket={}", ticket(&self.id, self.diary.ms() / 1000 + lasting_s));
        }
        let mut answer = call(&self.network, self.habits.pace, "GET", &path, headers, "").await?;
        if self.rng.u8(..8) < self.habits.cuts_of_eight {
            answer.cut = Some(self.rng.usize(..=self.habits.cut_bytes));
        }
        Ok(answer)
    }

    /// What an answer means that is none.
    fn refused(&mut self, status: u16) -> io::Result<Over> {
        self.diary.note(format_args!("is answered {status}"));
        match status {
            204 => {
                assert!(self.seen.end.is_some(), "{}: 204 although it knows no end", self.seen.name);
                Ok(Over::Ended)
            }
            410 => {
                self.seen.is_gone = true;
                Ok(Over::Ended)
            }
            503 => Ok(Over::Again),
            // While it waited.
            401 if self.habits.ticket_s.is_some() => Ok(Over::Again),
            status => panic!("{} at {}: {status}", self.seen.name, self.seen.cursor),
        }
    }

    /// The stream's state, unless it is gone.
    async fn state(&mut self) -> io::Result<Option<Value>> {
        let path = format!("/v1/streams/{}", self.id);
        let mut answer = call(&self.network, Pace::QUICK, "GET", &path, &[], "").await?;
        match answer.status {
            200 => answer.json().await.map(Some).ok_or(io::ErrorKind::UnexpectedEof.into()),
            status => {
                self.refused(status)?;
                Ok(None)
            }
        }
    }

    /// Chooses where to begin, once.
    async fn place(&mut self) -> io::Result<()> {
        if self.habits.begin == Begin::Middle && self.begin.is_none() {
            let Some(state) = self.state().await? else { return Ok(()) };
            let begin = self.rng.u64(..=state["blocks"].as_u64().expect("blocks"));
            self.begin = Some(begin);
            self.seen.cursor = begin;
            // Beyond the tail there is nothing, and no waiting for it.
            let path = format!("/v1/streams/{}/events?after={FAR}", self.id);
            let answer = call(&self.network, Pace::QUICK, "GET", &path, &[], "").await?;
            assert!([409, 410, 503].contains(&answer.status), "far beyond the tail: {}", answer.status);
        }
        Ok(())
    }

    async fn events(&mut self) -> io::Result<Over> {
        self.place().await?;
        let path = match (self.habits.begin, self.begin) {
            (Begin::Live, None) => "/events?from=live&heartbeat_ms=500".into(),
            (Begin::Snapshot, None) => "/events?snapshot=1".into(),
            _ if self.rng.bool() => format!("/events?after={}", self.seen.cursor),
            _ => "/events".into(),
        };
        let cursor = self.seen.cursor.to_string();
        let resumes = (path == "/events").then_some(("last-event-id", cursor.as_str()));
        let is_lines = self.habits.view == View::Lines;
        let accepts = is_lines.then_some(("accept", "application/x-ndjson"));
        let headers: Vec<_> = resumes.into_iter().chain(accepts).collect();
        let border: &[u8] = if is_lines { b"\n" } else { b"\n\n" };
        let mut answer = self.get(&path, &headers).await?;
        if answer.status != 200 {
            return self.refused(answer.status);
        }
        self.provisional = Default::default();
        // What comes first has a length of its own: it counts for no cut.
        let cut = answer.cut.take();
        let (mut text, mut is_open) = (Vec::new(), false);
        while let Some(chunk) = answer.chunk().await? {
            text.extend(chunk);
            while let Some(block) = block(&mut text, border) {
                let said = if is_lines { line(&block) } else { event(&block) };
                let Some((id, name, data)) = said else { continue };
                if name == "bye" {
                    self.diary.note(format_args!("is sent away: {}", data["code"]));
                    EXPIRED.fetch_add(u64::from(data["code"] == "ticket_expired"), Ordering::Relaxed);
                    return Ok(Over::Again);
                }
                if !is_open {
                    is_open = true;
                    answer.cut = cut.map(|cut| cut.saturating_sub(text.len()));
                    let id = id.expect("open has an id");
                    assert_eq!((name.as_str(), &data["after"]), ("open", &Value::from(id)));
                    let is_live = self.habits.begin == Begin::Live && self.begin.is_none();
                    assert!(is_live || id == self.seen.cursor, "{}: begins at {id}", self.seen.name);
                    self.begin.get_or_insert(id);
                    self.seen.cursor = id;
                    self.diary.note(format_args!("begins behind {id}"));
                    continue;
                }
                if self.hear(id, &name, &data) {
                    let (rest, is_whole) = answer.rest().await;
                    assert!(
                        rest.is_empty() && (is_whole || answer.cut.is_some()),
                        "something behind the end"
                    );
                    return Ok(Over::Ended);
                }
            }
        }
        panic!("{}: the body of events ends without an end", self.seen.name);
    }

    /// Takes in one event. Gives whether it was the end.
    fn hear(&mut self, id: Option<u64>, name: &str, data: &Value) -> bool {
        let (who, cursor, plan) = (&self.seen.name, self.seen.cursor, &self.plans[self.number]);
        if name == "snapshot" {
            let id = id.expect("a snapshot has an id");
            assert_eq!((data["upto"].as_u64(), cursor), (Some(id), 0), "{who}: {data}");
            let said = |channel: &str| data["choices"][0][channel].as_str().unwrap_or_default().to_owned();
            let said = (said("text"), said("reasoning"));
            if said != plan.said(0, id) {
                // The last block can be torn, which the end tells.
                assert_eq!(said, plan.said(0, id - 1), "{who}: a snapshot of {id}");
                self.torn = Some(id);
            }
            self.seen.cursor = id;
            self.diary.note(format_args!("has a snapshot of {id}"));
            return false;
        }
        let is_end = name == "end";
        if !is_end {
            let from = data["from"].as_u64().expect("events say from where they count");
            assert!(
                from <= cursor + 1,
                "{who}: a gap: {cursor} was seen, and then {name} {id:?} from {from}"
            );
        }
        match name {
            "text" => self.provisional.0.push_str(data["text"].as_str().expect("text")),
            "reasoning" => self.provisional.1.push_str(data["text"].as_str().expect("text")),
            _ => {}
        }
        let Some(id) = id else { return false };
        assert!(id > cursor, "{who}: {name} {id} is a duplicate: {cursor} was seen");
        let upto = if is_end { data["blocks"].as_u64().expect("blocks") } else { id };
        assert!(!is_end || id == upto + 1, "{who}: the end of {upto} blocks has the id {id}");
        let upto = if is_end { plan.whole_in(data["bytes"].as_u64().expect("bytes")) } else { id };
        let said = std::mem::take(&mut self.provisional);
        assert_eq!(said, plan.said(cursor, upto), "{who}: {name} {id}, behind {cursor}");
        self.seen.cursor = id;
        self.diary.note(format_args!("hears {name} {id}"));
        if is_end {
            self.ends(data);
        }
        is_end
    }

    fn ends(&mut self, end: &Value) {
        assert!(self.seen.end.as_ref().is_none_or(|known| known == end), "{}: two ends", self.seen.name);
        if let Some(block) = self.torn {
            let whole = self.plans[self.number].whole_in(end["bytes"].as_u64().expect("bytes"));
            assert_eq!((end["blocks"].as_u64(), whole), (Some(block), block - 1), "{}", self.seen.name);
        }
        self.diary.note(format_args!("hears the end: {end}"));
        self.seen.end = Some(end.clone());
    }

    async fn poll(&mut self) -> io::Result<Over> {
        self.place().await?;
        let cursor = self.seen.cursor;
        let mut answer =
            self.get(&format!("/events?after={cursor}&wait_s=2"), &[("accept", "application/json")]).await?;
        if answer.status != 200 {
            return self.refused(answer.status);
        }
        let (body, is_whole) = answer.rest().await;
        if !is_whole {
            return Ok(Over::Again);
        }
        self.begin.get_or_insert(cursor);
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        for event in body["events"].as_array().expect("events") {
            let name = event["event"].as_str().expect("a name");
            if name == "bye" {
                return Ok(Over::Again);
            }
            self.hear(event["id"].as_u64(), name, &event["data"]);
        }
        // Blocks without events count, too, and so does the end.
        let (cursor, end) = (body["cursor"].as_u64().expect("a cursor"), &body["end"]);
        let blocks = end["blocks"].as_u64().unwrap_or(cursor);
        assert_eq!(cursor, blocks + u64::from(!end.is_null()), "{}: {end}", self.seen.name);
        assert!(cursor >= self.seen.cursor, "{}: {cursor} after {}", self.seen.name, self.seen.cursor);
        let plan = &self.plans[self.number];
        let upto = end["bytes"].as_u64().map_or(cursor, |bytes| plan.whole_in(bytes));
        let silent = plan.said(self.seen.cursor, upto);
        assert_eq!(silent, std::mem::take(&mut self.provisional), "{}: skips to {cursor}", self.seen.name);
        self.seen.cursor = cursor;
        if end.is_null() {
            return Ok(Over::Again);
        }
        self.ends(end);
        Ok(Over::Ended)
    }

    /// Whoever comes back says how many chunks it has.
    async fn ui(&mut self) -> io::Result<Over> {
        let known = self.seen.chunks.len();
        let mut answer = self.get(&format!("/ui?startIndex={known}"), &[]).await?;
        if answer.status != 200 {
            return self.refused(answer.status);
        }
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            text.extend(chunk);
            while let Some(block) = block(&mut text, b"\n\n") {
                // A comment.
                let Some(data) = block.strip_prefix("data: ") else { continue };
                if data == "[DONE]\n\n" {
                    let (rest, is_whole) = answer.rest().await;
                    assert!(rest.is_empty() && (is_whole || answer.cut.is_some()), "something behind [DONE]");
                    self.diary.note(format_args!("has all {} chunks", self.seen.chunks.len()));
                    return Ok(Over::Ended);
                }
                let chunk: Value = serde_json::from_str(data).expect("chunks are JSON");
                let last = self.seen.chunks.last();
                // Where there is nothing more, the last one comes again.
                let is_again = last == Some(&chunk) && ["finish", "error"].contains(&kind(&chunk));
                if !is_again {
                    assert!(
                        last.is_none_or(|last| !["finish", "error"].contains(&kind(last))),
                        "{}: {chunk} behind the last one",
                        self.seen.name
                    );
                    self.seen.chunks.push(chunk);
                }
            }
        }
        panic!("{}: the body of chunks ends without [DONE]", self.seen.name);
    }

    async fn raw(&mut self) -> io::Result<Over> {
        self.place().await?;
        let plan = &self.plans[self.number];
        if let (Some(begin), 0) = (self.begin, self.seen.bytes) {
            self.raw_begin = plan.offset(begin);
        }
        let offset = self.raw_begin + self.seen.bytes;
        let path = match self.begin {
            Some(begin) if self.seen.bytes == 0 => format!("/raw?after={begin}"),
            _ => format!("/raw?offset={offset}"),
        };
        let mut answer = self.get(&path, &[]).await?;
        match answer.status {
            200 => {}
            // An end without a block.
            502 => {
                assert_eq!(offset, 0, "{}: nothing, although it has {offset} bytes", self.seen.name);
                self.diary.note("is told that there is nothing");
                return Ok(Over::Ended);
            }
            status => return self.refused(status),
        }
        assert_eq!(answer.header("tokencast-offset"), Some(&*offset.to_string()), "{}", self.seen.name);
        let is_whole = loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    let body = self.plans[self.number].body();
                    let at = self.raw_begin + self.seen.bytes;
                    let planned = body.get(at..at + chunk.len());
                    assert_eq!(planned, Some(&chunk[..]), "{}: other bytes at {at}", self.seen.name);
                    self.seen.bytes += chunk.len();
                }
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        self.diary.note(format_args!("has {} bytes, whole: {is_whole}", self.seen.bytes));
        self.is_over(is_whole, |viewer, state| {
            state["bytes"] == (viewer.raw_begin + viewer.seen.bytes) as u64
        })
        .await
    }

    async fn text(&mut self) -> io::Result<Over> {
        let mut answer = self.get("/text", &[]).await?;
        if answer.status != 200 {
            return self.refused(answer.status);
        }
        let (text, is_whole) = answer.rest().await;
        let all = self.plans[self.number].said(0, u64::MAX).0;
        assert!(all.as_bytes().starts_with(&text), "{}: another text", self.seen.name);
        if text.len() > self.text.len() {
            self.text = all[..].get(..text.len()).unwrap_or(&self.text).to_owned();
        }
        self.diary.note(format_args!("has {} bytes of text, whole: {is_whole}", text.len()));
        let length = text.len();
        self.is_over(is_whole, move |viewer, state| {
            let plan = &viewer.plans[viewer.number];
            length == plan.said(0, plan.whole_in(state["bytes"].as_u64().expect("bytes"))).0.len()
        })
        .await
    }

    /// Whether a body of bytes was the last one. Any end but `completed` breaks it, as anything else does: only the state
    /// tells them apart.
    async fn is_over(&mut self, is_whole: bool, is_all: impl Fn(&Self, &Value) -> bool) -> io::Result<Over> {
        let Some(state) = self.state().await? else { return Ok(Over::Ended) };
        let has_ended = state["status"] != "running";
        if is_whole {
            assert_eq!(
                state["status"], "completed",
                "{}: a whole body of an unfinished stream",
                self.seen.name
            );
            assert!(is_all(self, &state), "{}: less than all, and whole", self.seen.name);
        }
        Ok(if has_ended && is_all(self, &state) { Over::Ended } else { Over::Again })
    }
}

/// A ticket for one stream, which is over at that second of the world, and what the gateway bears beyond it.
fn ticket(id: &str, until_s: u64) -> String {
    let exp = BEGAN.as_secs() + until_s - LEEWAY_S;
    let claims =
        json!({ "aud": "tokencast", "exp": exp, "tenant": "default", "stream": id, "can": ["watch"] });
    Key::secret(&SECRET).ticket("gateway-hs256", &claims)
}

/// The next block of a body that is there up to its border.
fn block(text: &mut Vec<u8>, border: &[u8]) -> Option<String> {
    let at = text.windows(border.len()).position(|found| found == border)?;
    let rest = text.split_off(at + border.len());
    Some(String::from_utf8(std::mem::replace(text, rest)).expect("it is UTF-8"))
}

/// What a chunk of the AI SDK is.
pub(crate) fn kind(chunk: &Value) -> &str {
    chunk["type"].as_str().expect("a type")
}

/// An id, a name, and data.
type Said = (Option<u64>, String, Value);

/// What a line of JSON says; nothing, if it is a heartbeat.
fn line(text: &str) -> Option<Said> {
    let event: Value = serde_json::from_str(text).expect("a line is JSON");
    let name = event["event"].as_str().expect("a name");
    (name != "heartbeat").then(|| (event["id"].as_u64(), name.to_owned(), event["data"].clone()))
}

/// What an SSE block says; nothing, if it is a comment.
fn event(block: &str) -> Option<Said> {
    let (mut id, mut name, mut data) = (None, String::new(), String::new());
    for line in block.lines().filter(|line| !line.is_empty() && !line.starts_with(':')) {
        match line.split_once(": ").expect("fields have a space behind the colon") {
            ("id", value) => id = Some(value.parse().expect("a number")),
            ("event", value) => value.clone_into(&mut name),
            ("data", value) => data.push_str(value),
            ("retry", _) => {}
            other => panic!("{other:?}"),
        }
    }
    (!name.is_empty()).then(|| (id, name, serde_json::from_str(&data).expect("data is JSON")))
}
