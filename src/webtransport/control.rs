//! Messages of the control stream: a length, then one MessagePack map that says its type.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use bytes::{Buf, BytesMut};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cast::block::Seq;
use crate::view::msgpack::{framed, value};

/// The longest message that a client may send.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// How deep a message may nest.
const DEPTH_MAX: usize = 32;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(any(test, fuzzing), derive(Serialize))]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Request {
    Hello { version: u64 },
    Subscribe(Subscribe),
    Unsubscribe { subscription: u64 },
    Ack { subscription: u64, seq: Seq },
    Ping { t: Option<Value> },
    Stop { subscription: u64 },
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[cfg_attr(any(test, fuzzing), derive(Serialize))]
pub(crate) struct Subscribe {
    pub(crate) subscription: u64,
    pub(crate) stream: String,
    pub(crate) after: Option<Seq>,
    pub(crate) from: Option<String>,
    pub(crate) snapshot: Option<bool>,
    pub(crate) heartbeat_ms: Option<u64>,
    pub(crate) ticket: Option<Ticket>,
}

/// A ticket in a message, which nobody is shown.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "String")]
#[cfg_attr(any(test, fuzzing), derive(Serialize), serde(into = "String"))]
pub(crate) struct Ticket(pub(crate) SecretString);

impl From<String> for Ticket {
    fn from(ticket: String) -> Self {
        Self(ticket.into())
    }
}

#[cfg(any(test, fuzzing))]
impl From<Ticket> for String {
    fn from(Ticket(ticket): Ticket) -> Self {
        ticket.expose_secret().to_owned()
    }
}

impl PartialEq for Ticket {
    fn eq(&self, Self(other): &Self) -> bool {
        self.0.expose_secret() == other.expose_secret()
    }
}

/// What the gateway says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Reply<'a> {
    Welcome {
        version: u32,
        subscriptions_max: usize,
        ack_bytes: usize,
        heartbeat_ms: u64,
    },
    Subscribed {
        subscription: u64,
        stream: &'a str,
        after: Seq,
        tail: Seq,
        status: &'a str,
    },
    Pong {
        t: Option<Value>,
    },
    Error {
        code: &'a str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        subscription: Option<u64>,
    },
    Bye {
        code: &'a str,
        retry_ms: u64,
    },
}

impl Reply<'_> {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        framed(out, |out| value(out, self));
    }
}

/// What is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadMessage {
    #[error("a message has 1 to {MESSAGE_BYTES_MAX} bytes: this one says {0}")]
    Length(u32),
    #[error("{0}: write a MessagePack map with a `type` and the members of docs/protocol.md")]
    Invalid(String),
    #[error("the control stream ends within a message: write it whole, behind its length")]
    Cut,
    #[error("there is no message {0:?}: see docs/protocol.md for those that there are")]
    Unknown(String),
}

impl BadMessage {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Length(_) => "message_too_large",
            Self::Invalid(_) | Self::Cut => "invalid_message",
            Self::Unknown(_) => "unknown_message",
        }
    }
}

/// Takes the next message out of what has arrived, if it is whole.
pub(crate) fn take(arrived: &mut BytesMut) -> Option<Result<Request, BadMessage>> {
    let len = u32::from_be_bytes(*arrived.first_chunk()?);
    let size = len as usize;
    if size == 0 || size > MESSAGE_BYTES_MAX {
        return Some(Err(BadMessage::Length(len)));
    }
    let message = read(arrived.get(4..)?.get(..size)?);
    arrived.advance(size.saturating_add(4));
    Some(message)
}

fn read(message: &[u8]) -> Result<Request, BadMessage> {
    #[derive(Deserialize)]
    struct Typed {
        r#type: String,
    }
    const TYPES: [&str; 6] = ["hello", "subscribe", "unsubscribe", "ack", "ping", "stop"];
    let Typed { r#type } = parse(message)?;
    if !TYPES.contains(&&*r#type) {
        return Err(BadMessage::Unknown(r#type));
    }
    parse(message)
}

fn parse<T: DeserializeOwned>(message: &[u8]) -> Result<T, BadMessage> {
    // serde would take an array for a map without names.
    if !matches!(message.first(), Some(0x80..=0x8f | 0xde | 0xdf)) {
        return Err(BadMessage::Invalid("this is no map".into()));
    }
    let mut rest = message;
    let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
    deserializer.set_max_depth(DEPTH_MAX);
    let parsed = T::deserialize(&mut deserializer).map_err(|error| BadMessage::Invalid(error.to_string()))?;
    if rest.is_empty() { Ok(parsed) } else { Err(BadMessage::Invalid("something follows the map".into())) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn framed_of(message: &Value) -> BytesMut {
        let mut out = Vec::new();
        framed(&mut out, |out| value(out, message));
        BytesMut::from(&*out)
    }

    fn one(message: &Value) -> Result<Request, BadMessage> {
        let mut arrived = framed_of(message);
        let taken = take(&mut arrived).expect("it is whole");
        assert!(arrived.is_empty());
        taken
    }

    #[test]
    fn messages() {
        assert_eq!(one(&json!({ "type": "hello", "version": 1 })), Ok(Request::Hello { version: 1 }));
        let newest = json!({ "type": "hello", "version": u64::MAX });
        assert_eq!(one(&newest), Ok(Request::Hello { version: u64::MAX }), "it is told which there are");
        assert_eq!(
            one(&json!({ "seq": u64::MAX, "type": "ack", "subscription": 3, "new": [{}] })),
            Ok(Request::Ack { subscription: 3, seq: u64::MAX }),
            "the order means nothing, and what is not known is skipped"
        );
        assert_eq!(one(&json!({ "type": "ping" })), Ok(Request::Ping { t: None }));
        let subscribe = one(&json!({ "type": "subscribe", "subscription": 1, "stream": "a", "after": null }));
        assert!(matches!(subscribe, Ok(Request::Subscribe(Subscribe { after: None, snapshot: None, .. }))));
        let with = json!({ "type": "subscribe", "subscription": 1, "stream": "a", "ticket": "canary" });
        let Ok(Request::Subscribe(with)) = one(&with) else { panic!("{with}") };
        assert!(!format!("{with:?}").contains("canary"));
        assert_eq!(with.ticket.unwrap().0.expose_secret(), "canary");
    }

    #[test]
    fn what_is_none_is_told() {
        assert_eq!(one(&json!({ "type": "dance" })), Err(BadMessage::Unknown("dance".into())));
        for bad in [
            json!({ "type": "ack", "subscription": -1, "seq": 1 }),
            json!({ "type": "ack", "subscription": 1 }),
            json!({ "type": 7 }),
            json!({}),
            json!([1, 2]),
            json!(["ping"]),
            json!("hello"),
        ] {
            assert!(matches!(one(&bad), Err(BadMessage::Invalid(_))), "{bad}");
        }
        let mut deep = vec![0x81, 0xa4, b't', b'y', b'p', b'e'];
        deep.extend([0x91; 4000]);
        let mut arrived = BytesMut::from(&u32::to_be_bytes(deep.len() as u32)[..]);
        arrived.extend_from_slice(&deep);
        assert!(matches!(take(&mut arrived), Some(Err(BadMessage::Invalid(_)))));
    }

    #[test]
    fn answers_are_written_like_this() {
        let detail = json!({ "tail": 9 });
        let answers = [
            Reply::Welcome { version: 1, subscriptions_max: 64, ack_bytes: 65_536, heartbeat_ms: 15_000 },
            Reply::Subscribed { subscription: 7, stream: "mine", after: 0, tail: 9, status: "running" },
            Reply::Pong { t: Some(json!(1.5)) },
            Reply::Pong { t: None },
            Reply::Error { code: "cursor_ahead", message: "m", detail: Some(&detail), subscription: Some(7) },
            Reply::Bye { code: "draining", retry_ms: 2500 },
        ];
        let mut bytes = Vec::new();
        answers.iter().for_each(|answer| answer.write(&mut bytes));
        crate::view::msgpack::tests::check("answers", &bytes);
    }

    #[test]
    fn lengths() {
        for len in [0, MESSAGE_BYTES_MAX as u32 + 1, u32::MAX] {
            let mut arrived = BytesMut::from(&len.to_be_bytes()[..]);
            assert_eq!(take(&mut arrived), Some(Err(BadMessage::Length(len))));
        }
        let whole = framed_of(&json!({ "type": "hello", "version": 1 }));
        for cut in 0..whole.len() {
            assert_eq!(take(&mut BytesMut::from(&whole[..cut])), None, "after {cut} bytes");
        }
    }
}
