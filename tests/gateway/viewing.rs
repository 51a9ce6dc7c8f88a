//! A viewer of the native view, over any transport, as a sequence of events that ends with the body.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::BytesMut;
use serde_json::Value;
use wtransport::Connection;

use crate::http::{Body, Call, Over, Protocol, within};
use crate::packed::{Place, Record, Records};

/// How a viewer is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// A plain viewer, whose socket leaves hyper.
    SseH1,
    /// One whose request is not plain, which stays with it.
    SseBody,
    SseH2,
    LongPoll,
    Quic,
}

impl Transport {
    pub(crate) const ALL: [Self; 5] = [Self::SseH1, Self::SseBody, Self::SseH2, Self::LongPoll, Self::Quic];

    /// What other calls are made by, beside viewers of this kind.
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::SseH1 | Self::SseBody | Self::LongPoll | Self::Quic => Protocol::H1,
            Self::SseH2 => Protocol::H2,
        }
    }
}

/// One event of the native view.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Option<u64>,
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// One viewer.
#[derive(Debug)]
pub(crate) struct Viewing {
    kind: Kind,
    /// What the `open` event said, where the transport has one.
    pub(crate) open: Option<Value>,
    pub(crate) open_id: Option<u64>,
    pub(crate) retry_ms: Option<u64>,
    pub(crate) heartbeats: usize,
    /// Body bytes after which this viewer's connection breaks.
    cut_after: usize,
    pub(crate) was_cut: bool,
}

#[derive(Debug)]
enum Kind {
    Sse {
        body: Body,
        lines: Lines,
    },
    Poll {
        addr: SocketAddr,
        target: String,
        queue: VecDeque<Event>,
        cursor: Option<u64>,
        over: bool,
    },
    /// The session lives as long as the viewer.
    Packed {
        records: Records,
        queue: VecDeque<Event>,
        is_over: bool,
        _session: Connection,
    },
}

impl Viewing {
    /// Attaches at `target`, the path and query of the native view.
    pub(crate) async fn open(transport: Transport, addr: SocketAddr, target: &str) -> Self {
        Self::open_until(transport, addr, target, usize::MAX).await
    }

    /// The same, cut after so many bytes of the body.
    pub(crate) async fn open_until(
        transport: Transport,
        addr: SocketAddr,
        target: &str,
        cut_after: usize,
    ) -> Self {
        let kind = match transport {
            Transport::SseH1 | Transport::SseBody | Transport::SseH2 => {
                let call = Call::get(target);
                let call = match transport {
                    Transport::SseBody => call.header("content-length", "1").with_body("-"),
                    _ => call,
                };
                let reply = call.send(transport.protocol(), addr).await;
                assert_eq!(reply.status, 200, "{target}");
                assert_eq!(reply.header("content-type"), Some("text/event-stream"));
                Kind::Sse { body: reply.body, lines: Lines::default() }
            }
            Transport::LongPoll => Kind::Poll {
                addr,
                target: target.to_owned(),
                queue: VecDeque::new(),
                cursor: None,
                over: false,
            },
            Transport::Quic => {
                let place = Place::of(addr).await;
                // The same target, but for the last part of its path.
                let session = place.connect(&target.replacen("/events", "", 1)).await.expect("a session");
                let stream = within("a stream", session.accept_uni()).await.expect("a stream");
                let records = Records::new(stream, cut_after);
                Kind::Packed { records, queue: VecDeque::new(), is_over: false, _session: session }
            }
        };
        let mut this = Self {
            kind,
            open: None,
            open_id: None,
            retry_ms: None,
            heartbeats: 0,
            cut_after,
            was_cut: false,
        };
        if let Kind::Sse { .. } = this.kind
            && let Some(event) = this.next().await
        {
            assert_eq!(event.name, "open", "the first event of every connection");
            (this.open, this.open_id) = (Some(event.data), event.id);
            assert!(this.retry_ms.is_some(), "retry stands in the first block");
        }
        if let Kind::Packed { records, .. } = &mut this.kind
            && let Some(record) = records.next().await
        {
            let Record::Header(mut header) = record else { panic!("no header but {record:?}") };
            let mut take = |name: &str| header.as_object_mut().expect("a map").remove(name);
            assert_eq!((take("version"), take("subscription")), (Some(1.into()), Some(0.into())));
            this.retry_ms = take("retry_ms").and_then(|ms| ms.as_u64());
            assert!(this.retry_ms.is_some());
            (this.open_id, this.open) = (header["after"].as_u64(), Some(header));
        }
        this
    }

    /// The next event; `None` when the body has ended, or was cut.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            match &mut self.kind {
                Kind::Sse { body, lines } => {
                    if let Some(item) = lines.item() {
                        match item {
                            Item::Event { event, retry_ms } => {
                                self.retry_ms = retry_ms.or(self.retry_ms);
                                return Some(event);
                            }
                            Item::Comment => self.heartbeats += 1,
                        }
                        continue;
                    }
                    if self.was_cut {
                        return None;
                    }
                    match body.chunk().await {
                        Ok(chunk) => {
                            let kept = chunk.len().min(self.cut_after);
                            self.was_cut = kept < chunk.len();
                            self.cut_after -= kept;
                            lines.0.extend_from_slice(&chunk[..kept]);
                        }
                        Err(Over::Clean) => {
                            assert!(lines.0.is_empty(), "half an event at the end");
                            return None;
                        }
                        Err(Over::Broken) => panic!("the view broke off"),
                    }
                }
                Kind::Packed { records, queue, is_over, .. } => {
                    if let Some(event) = queue.pop_front() {
                        return Some(event);
                    }
                    let Some(record) = records.next().await else {
                        self.was_cut = records.was_cut;
                        assert!(self.was_cut || *is_over, "a FIN without END, ERROR or BYE");
                        return None;
                    };
                    assert!(!*is_over, "something behind the end: {record:?}");
                    match record {
                        Record::Frame(events) => queue.extend(events),
                        Record::Heartbeat => self.heartbeats += 1,
                        Record::End(event) => {
                            *is_over = true;
                            return Some(event);
                        }
                        Record::Bye(data) => {
                            *is_over = true;
                            return Some(Event { id: None, name: "bye".into(), data });
                        }
                        Record::Header(_) | Record::Error(_) => panic!("{record:?}"),
                    }
                }
                Kind::Poll { addr, target, queue, cursor, over } => {
                    if let Some(event) = queue.pop_front() {
                        return Some(event);
                    }
                    if *over || self.was_cut {
                        return None;
                    }
                    let target = match cursor {
                        None => target.clone(),
                        Some(after) => {
                            let (path, query) = target.split_once('?').unwrap_or((target, ""));
                            let kept: Vec<&str> =
                                query.split('&').filter(|part| part.starts_with("wait_s")).collect();
                            format!("{path}?after={after}&{}", kept.join("&"))
                        }
                    };
                    let call = Call::get(target).header("accept", "application/json");
                    let mut reply = call.send(Protocol::H1, *addr).await;
                    assert_eq!(reply.status, 200, "always");
                    let (bytes, ended) = reply.body.whole().await;
                    assert_eq!(ended, Over::Clean);
                    if bytes.len() > self.cut_after {
                        self.was_cut = true;
                        return None;
                    }
                    self.cut_after -= bytes.len();
                    let batch = Batch::parse(&bytes);
                    *cursor = Some(batch.cursor);
                    queue.extend(batch.events);
                    if !batch.end.is_null() {
                        *over = true;
                        let (id, name) = (Some(batch.cursor), "end".to_owned());
                        queue.push_back(Event { id, name, data: batch.end });
                    }
                }
            }
        }
    }

    /// Everything that is left, up to the end of the body.
    pub(crate) async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// Reads up to the first event of that name.
    pub(crate) async fn until(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("ended without {name}"));
            if event.name == name {
                return event;
            }
        }
    }
}

/// One answer to a long-poll.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) events: Vec<Event>,
    pub(crate) cursor: u64,
    pub(crate) end: Value,
}

impl Batch {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let Ok(Value::Object(mut json)) = serde_json::from_slice(bytes) else { panic!("no object") };
        let mut take = |name: &str| json.remove(name).unwrap_or_else(|| panic!("no {name}"));
        let Value::Array(events) = take("events") else { panic!("events are a list") };
        let events = events.into_iter().map(|mut event| Event {
            id: event["id"].as_u64(),
            name: event["event"].as_str().expect("a name").to_owned(),
            data: event["data"].take(),
        });
        let events = events.collect();
        let (cursor, end) = (take("cursor").as_u64().expect("a cursor"), take("end"));
        assert!(json.is_empty(), "{json:?}");
        Self { events, cursor, end }
    }
}

/// Server-sent events, as far as this server may use them: LF only, one line of data.
#[derive(Debug, Default)]
struct Lines(BytesMut);

enum Item {
    Event { event: Event, retry_ms: Option<u64> },
    Comment,
}

impl Lines {
    fn item(&mut self) -> Option<Item> {
        let end = memchr::memmem::find(&self.0, b"\n\n")?;
        let block = self.0.split_to(end + 2);
        let block = std::str::from_utf8(&block).expect("UTF-8").trim_end_matches('\n');
        assert!(!block.contains('\r'), "{block:?}");
        if block.starts_with(':') {
            assert!(!block.contains('\n'), "a comment is alone: {block:?}");
            return Some(Item::Comment);
        }
        let (mut id, mut name, mut data, mut retry_ms) = (None, None, None, None);
        for line in block.split('\n') {
            let (field, value) = line.split_once(": ").expect("a field");
            let number = || Some(value.parse().expect("a number"));
            let twice = match field {
                "id" => std::mem::replace(&mut id, number()).is_some(),
                "retry" => std::mem::replace(&mut retry_ms, number()).is_some(),
                "event" => name.replace(value.to_owned()).is_some(),
                "data" => data.replace(serde_json::from_str(value).expect("JSON")).is_some(),
                _ => panic!("unknown field: {line:?}"),
            };
            assert!(!twice, "{block:?}");
        }
        let (name, data) = (name.expect("a name"), data.expect("data"));
        Some(Item::Event { event: Event { id, name, data }, retry_ms })
    }
}
