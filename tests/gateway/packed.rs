//! A viewer over WebTransport, from nothing but docs/protocol.md: records of MessagePack on a stream that the server
//! opens.

use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use serde_json::Value;
use wtransport::config::IpBindConfig;
use wtransport::endpoint::ConnectOptions;
use wtransport::error::ConnectingError;
use wtransport::tls::Sha256Digest;
use wtransport::{ClientConfig, Connection, Endpoint, RecvStream, SendStream};

use crate::http::{Call, Protocol, within};
use crate::viewing::Event;

/// Where a gateway's WebTransport is, and what to trust there.
#[derive(Debug)]
pub(crate) struct Place {
    /// `https://host:port`
    pub(crate) base: String,
    pub(crate) hashes: Vec<[u8; 32]>,
}

impl Place {
    /// As `GET /v1/webtransport` says it.
    pub(crate) async fn of(http: SocketAddr) -> Self {
        let said = Call::get("/v1/webtransport").send(Protocol::H1, http).await.json().await;
        let url = said["url"].as_str().expect("WebTransport is on");
        let hashes = said["certificate_hashes"].as_array().expect("hashes").iter().map(|hash| {
            assert_eq!(hash["algorithm"], "sha-256");
            unhex(hash["value"].as_str().expect("a hash"))
        });
        Self { base: url.strip_suffix("/v1/session").expect("a URL").to_owned(), hashes: hashes.collect() }
    }

    pub(crate) async fn connect(&self, target: &str) -> Result<Connection, ConnectingError> {
        self.connect_with(target, &[]).await
    }

    /// With these header fields.
    pub(crate) async fn connect_with(
        &self,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Connection, ConnectingError> {
        let config = ClientConfig::builder()
            .with_bind_config(IpBindConfig::LocalV4)
            .with_server_certificate_hashes(self.hashes.iter().copied().map(Sha256Digest::new))
            .build();
        let mut options = ConnectOptions::builder(format!("{}{target}", self.base));
        for (name, value) in headers {
            options = options.add_header(*name, *value);
        }
        let endpoint = Endpoint::client(config).expect("a socket");
        within("a session", endpoint.connect(options.build())).await
    }
}

fn unhex(text: &str) -> [u8; 32] {
    let bytes: Vec<u8> = (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect();
    bytes.try_into().expect("32 bytes")
}

/// What a record says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    Header(Value),
    Frame(Vec<Event>),
    Heartbeat,
    Error(Value),
    Bye(Value),
    End(Event),
}

/// Records of one stream, as they come.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) stream: RecvStream,
    arrived: BytesMut,
    /// Bytes after which nothing more is read.
    pub(crate) cut_after: usize,
    pub(crate) was_cut: bool,
}

impl Records {
    pub(crate) fn new(stream: RecvStream, cut_after: usize) -> Self {
        Self { stream, arrived: BytesMut::new(), cut_after, was_cut: false }
    }

    /// The next record; `None` when the stream has ended, or was cut.
    pub(crate) async fn next(&mut self) -> Option<Record> {
        loop {
            if let Some(message) = split(&mut self.arrived) {
                return Some(record(message));
            }
            if self.was_cut {
                return None;
            }
            let mut chunk = [0; 4096];
            match within("a record", self.stream.read(&mut chunk)).await {
                Ok(Some(read)) => {
                    let kept = read.min(self.cut_after);
                    self.was_cut = kept < read;
                    self.cut_after -= kept;
                    self.arrived.extend_from_slice(&chunk[..kept]);
                }
                Ok(None) => {
                    assert!(self.arrived.is_empty(), "half a record at the end");
                    return None;
                }
                Err(error) => panic!("the stream broke off: {error}"),
            }
        }
    }
}

fn split(arrived: &mut BytesMut) -> Option<Value> {
    let len = u32::from_be_bytes(*arrived.first_chunk()?) as usize;
    if arrived.len() < 4 + len {
        return None;
    }
    arrived.advance(4);
    let message = arrived.split_to(len);
    let mut rest = &*message;
    let value = rmp_serde::from_read(&mut rest).expect("MessagePack");
    assert!(rest.is_empty(), "one value is the whole record");
    Some(value)
}

fn record(message: Value) -> Record {
    let Value::Array(mut record) = message else { panic!("no array: {message}") };
    let kind = record[0].as_u64().expect("a kind");
    let content = if record.len() == 2 { record.pop() } else { None };
    match (kind, content) {
        (0, Some(header)) => Record::Header(header),
        (1, Some(Value::Array(events))) => {
            assert!(!events.is_empty(), "a frame without events has no record");
            Record::Frame(events.into_iter().map(event).collect())
        }
        (2, None) => Record::Heartbeat,
        (3, Some(error)) => Record::Error(error),
        (4, Some(bye)) => Record::Bye(bye),
        (5, Some(end)) => Record::End(event(end)),
        (kind, content) => panic!("kind {kind} with {content:?}"),
    }
}

fn event(event: Value) -> Event {
    let Value::Array(event) = event else { panic!("no event: {event}") };
    let Ok([id, Value::String(name), data]) = <[Value; 3]>::try_from(event) else { panic!("no event") };
    Event { id: id.as_u64(), name, data }
}

/// The control stream.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) send: SendStream,
    answers: Answers,
}

/// What the gateway says on it.
#[derive(Debug)]
pub(crate) struct Answers {
    receive: RecvStream,
    arrived: BytesMut,
}

impl Control {
    pub(crate) async fn open(connection: &Connection) -> Self {
        let (send, receive) = connection.open_bi().await.expect("credit").await.expect("a stream");
        Self { send, answers: Answers { receive, arrived: BytesMut::new() } }
    }

    /// With a greeting, and the answer to it.
    pub(crate) async fn greeted(connection: &Connection) -> Self {
        let mut control = Self::open(connection).await;
        control.say(&serde_json::json!({ "type": "hello", "version": 1 })).await;
        let welcome = control.hear().await.expect("a welcome");
        assert_eq!((&welcome["type"], &welcome["version"]), (&"welcome".into(), &1.into()), "{welcome}");
        control
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.say_bytes(&rmp_serde::to_vec_named(message).expect("MessagePack")).await;
    }

    pub(crate) async fn say_bytes(&mut self, message: &[u8]) {
        let len = u32::try_from(message.len()).expect("short").to_be_bytes();
        self.send.write_all(&[&len[..], message].concat()).await.expect("it is heard");
    }

    /// Both sides, to be used at the same time.
    pub(crate) fn split(&mut self) -> (&mut SendStream, &mut Answers) {
        (&mut self.send, &mut self.answers)
    }

    pub(crate) async fn hear(&mut self) -> Option<Value> {
        self.answers.hear().await
    }
}

impl Answers {
    /// The next answer; `None` when there will be none.
    pub(crate) async fn hear(&mut self) -> Option<Value> {
        loop {
            if let Some(message) = split(&mut self.arrived) {
                return Some(message);
            }
            let mut chunk = [0; 4096];
            match within("an answer", self.receive.read(&mut chunk)).await {
                Ok(Some(read)) => self.arrived.extend_from_slice(&chunk[..read]),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}
