//! A viewer that believes nothing: it checks every event, and whatever it finds wrong is a violation.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::time::sleep;

use crate::histogram::Histogram;
use crate::http::{Connection, Progress};
use crate::provider::Expected;
use crate::sse;
use crate::tap::Passed;

/// The longest pause before coming back after a cut.
const PAUSE_MS_MAX: u64 = 50;
/// Connections in a row that may bring nothing.
const FRUITLESS_MAX: u32 = 100;

/// What a viewer watches, and what it must see.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) gateway: SocketAddr,
    pub(crate) id: String,
    /// Further headers of every request.
    pub(crate) headers: String,
    pub(crate) expected: Expected,
    pub(crate) passed: Arc<Passed>,
}

/// What all viewers count together.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) events: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) cuts: AtomicU64,
    /// Age of an event's first block when a viewer has the event; of events that were not there when it came.
    pub(crate) latency: Histogram,
}

impl Counts {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            latency: Histogram::new(),
        })
    }
}

#[derive(Debug)]
pub(crate) struct Viewer {
    watched: Arc<Watched>,
    counts: Arc<Counts>,
    /// Cut the connection after at most so many bytes, again and again.
    cut_bytes_max: Option<usize>,
    /// The last id, and where the text stood with it.
    cursor: u64,
    text_at_cursor: usize,
    text: usize,
    /// Blocks that were there when this connection opened.
    tail: u64,
    opened: bool,
    ended: bool,
}

#[derive(Deserialize)]
struct Open {
    after: u64,
    tail: u64,
}

#[derive(Deserialize)]
struct Delta<'a> {
    from: u64,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct End<'a> {
    reason: &'a str,
    blocks: u64,
    bytes: u64,
    hash: &'a str,
}

impl Viewer {
    pub(crate) fn new(watched: Arc<Watched>, counts: Arc<Counts>, cut_bytes_max: Option<usize>) -> Self {
        Self {
            watched,
            counts,
            cut_bytes_max,
            cursor: 0,
            text_at_cursor: 0,
            text: 0,
            tail: 0,
            opened: false,
            ended: false,
        }
    }

    /// Watches to the end. The error is a violation.
    pub(crate) async fn watch(mut self) -> Result<(), String> {
        let mut fruitless = 0;
        while !self.ended {
            let before = self.cursor;
            let result = self.connection().await;
            let told = |what: &str| format!("stream {}: after {}: {what}", self.watched.id, self.cursor);
            match result {
                Ok(()) => {}
                Err(Wrong::Violation(what)) => return Err(told(&what)),
                Err(Wrong::Io(error)) => return Err(told(&format!("the connection broke: {error}"))),
            }
            if !self.ended {
                self.counts.cuts.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(fastrand::u64(..PAUSE_MS_MAX))).await;
            }
            fruitless = if self.cursor == before { fruitless + 1 } else { 0 };
            // One event may be larger than that: then nobody could ever come past it.
            if fruitless > 0 {
                self.cut_bytes_max = self.cut_bytes_max.map(|max| max.saturating_add(max / 4 + 100));
            }
            if fruitless > FRUITLESS_MAX {
                return Err(told("a hundred connections brought nothing"));
            }
        }
        Ok(())
    }

    /// One connection, up to the end of the stream or the cut.
    async fn connection(&mut self) -> Result<(), Wrong> {
        let watched = self.watched.clone();
        // What came behind the last id comes again.
        self.text = self.text_at_cursor;
        self.opened = false;
        let mut connection = Connection::open(watched.gateway).await?;
        connection.budget = self.cut_bytes_max.map(|max| fastrand::usize(1..=max));
        let mut target = format!("/v1/streams/{}/events", watched.id);
        let mut headers = watched.headers.clone();
        match (self.cursor, fastrand::bool()) {
            (0, _) => {}
            (cursor, true) => headers.push_str(&format!("last-event-id: {cursor}\r\n")),
            (cursor, false) => target.push_str(&format!("?after={cursor}")),
        }
        connection.send("GET", &target, &headers, "").await?;
        let Some(head) = connection.head().await? else { return Ok(()) };
        if head.status != 200 {
            let body = connection.rest().await.unwrap_or_default();
            return Err(format!("answered {}: {}", head.status, String::from_utf8_lossy(&body)).into());
        }
        let mut bytes = Vec::new();
        loop {
            let before = bytes.len();
            let progress = connection.body(&mut bytes).await?;
            let now = Instant::now();
            self.counts.bytes.fetch_add((bytes.len() - before) as u64, Ordering::Relaxed);
            let mut taken = 0;
            while let Some((block, len)) = sse::block(&bytes[taken..]) {
                if self.ended {
                    return Err(Wrong::Violation("something follows the end".into()));
                }
                if let Some(event) = sse::event(block)? {
                    self.event(event, now)?;
                }
                taken += len;
            }
            bytes.drain(..taken);
            match progress {
                Progress::More => {}
                Progress::Cut => return Ok(()),
                Progress::Over if self.ended && bytes.is_empty() => return Ok(()),
                Progress::Over => return Err(Wrong::Violation("the body ended before the stream".into())),
            }
        }
    }

    fn event(&mut self, event: sse::Event<'_>, now: Instant) -> Result<(), String> {
        let sse::Event { name, id, data } = event;
        if !std::mem::replace(&mut self.opened, true) {
            if name != "open" {
                return Err(format!("the first event is {name}"));
            }
            let open: Open = read(data)?;
            if id != Some(self.cursor) || open.after != self.cursor || open.tail < open.after {
                return Err(format!("open with id {id:?} says {data}"));
            }
            self.tail = open.tail;
            return Ok(());
        }
        self.counts.events.fetch_add(1, Ordering::Relaxed);
        match name {
            "open" | "bye" => return Err(format!("{name}: {data}")),
            "end" => return self.end(id, data),
            _ => {}
        }
        let delta: Delta<'_> = read(data)?;
        if delta.from != self.cursor + 1 {
            return Err(format!("gap or overlap: {name} is from {} with id {id:?}", delta.from));
        }
        if let Some(text) = delta.text.filter(|_| name == "text") {
            let expected = &self.watched.expected.text;
            if !expected.as_bytes()[self.text..].starts_with(text.as_bytes()) {
                return Err(format!("the text differs at byte {}: {text:?}", self.text));
            }
            self.text += text.len();
        }
        if let Some(id) = id {
            if id <= self.cursor {
                return Err(format!("duplicate: {name} has id {id}"));
            }
            (self.cursor, self.text_at_cursor) = (id, self.text);
        }
        if delta.from > self.tail
            && let Some(age) = self.watched.passed.age(delta.from, now)
        {
            self.counts.latency.add(age);
        }
        Ok(())
    }

    fn end(&mut self, id: Option<u64>, data: &str) -> Result<(), String> {
        let end: End<'_> = read(data)?;
        let Expected { blocks, text, hash, body } = &self.watched.expected;
        let right = end.reason == "completed"
            && end.blocks == *blocks
            && id == Some(blocks + 1)
            && end.bytes == body.len() as u64
            && end.hash == hash;
        if !right {
            return Err(format!("the end with id {id:?} is wrong: {data}, and there are {blocks} blocks"));
        }
        if self.text != text.len() || self.text_at_cursor != self.text {
            return Err(format!("the end comes after {} of {} bytes of text", self.text, text.len()));
        }
        self.cursor = blocks + 1;
        self.ended = true;
        Ok(())
    }
}

enum Wrong {
    Violation(String),
    Io(io::Error),
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self::Violation(what)
    }
}

fn read<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, String> {
    serde_json::from_str(data).map_err(|error| format!("{error}: {data}"))
}
