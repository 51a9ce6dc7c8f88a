//! Records of WebTransport → messages, the same as those of SSE.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use serde_json::Value;

use super::error::{Error, Lost};
use super::wire::Message;
use crate::cast::block::Seq;
use crate::view::msgpack::RECORD_BYTES_MAX;

/// Reads one stream of records.
#[derive(Debug, Default)]
pub(crate) struct Records {
    arrived: BytesMut,
    ready: VecDeque<Message>,
}

impl Records {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.arrived.extend_from_slice(bytes);
    }

    /// The next message among the bytes that were pushed.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, Lost> {
        while self.ready.is_empty() {
            let Some(record) = self.record()? else { return Ok(None) };
            self.read(record)?;
        }
        Ok(self.ready.pop_front())
    }

    fn record(&mut self) -> Result<Option<Value>, Lost> {
        let Some(len) = self.arrived.first_chunk() else { return Ok(None) };
        let len = u32::from_be_bytes(*len) as usize;
        if len > RECORD_BYTES_MAX {
            return Err(foreign("a record is too large"));
        }
        let Some(record) = self.arrived.get(4..).and_then(|behind| behind.get(..len)) else {
            return Ok(None);
        };
        let record = rmp_serde::from_slice(record).map(Some).map_err(|error| foreign(&error.to_string()));
        self.arrived.advance(len.saturating_add(4));
        record
    }

    fn read(&mut self, record: Value) -> Result<(), Lost> {
        let Value::Array(mut record) = record else { return Err(foreign("a record is no array")) };
        let content = record.get_mut(1).map(Value::take).unwrap_or_default();
        match record.first().and_then(Value::as_u64) {
            Some(0) => {
                let number = |name: &str| content.get(name).and_then(Value::as_u64);
                self.say("open", number("after"), &content, number("retry_ms").map(Duration::from_millis));
            }
            Some(1) => {
                let Value::Array(events) = content else { return Err(foreign("a frame is no array")) };
                events.into_iter().try_for_each(|event| self.event(event))?;
            }
            Some(3) => {
                let text =
                    |name: &str| content.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                let (code, message) = (text("code"), text("message"));
                return Err(match code.as_str() {
                    // These pass.
                    "storage_error" | "too_many_subscriptions" => Lost::cut(format!("{code}: {message}")),
                    _ => Error::Refused { code, message }.into(),
                });
            }
            Some(4) => self.say("bye", None, &content, None),
            Some(5) => self.event(content)?,
            // A heartbeat, or something that comes later than this client.
            Some(_) => {}
            None => return Err(foreign("a record has no kind")),
        }
        Ok(())
    }

    fn event(&mut self, event: Value) -> Result<(), Lost> {
        match event {
            Value::Array(event) => match &event[..] {
                [id, Value::String(name), data, ..] => {
                    self.say(name, id.as_u64(), data, None);
                    Ok(())
                }
                _ => Err(foreign("an event is not [id, name, data]")),
            },
            _ => Err(foreign("an event is no array")),
        }
    }

    fn say(&mut self, name: &str, id: Option<Seq>, data: &Value, retry: Option<Duration>) {
        self.ready.push_back(Message { name: name.to_owned(), id, data: data.to_string(), retry });
    }
}

fn foreign(why: &str) -> Lost {
    Error::Foreign(format!("this is not our wire: {why}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], size: usize) -> Result<Vec<Message>, Lost> {
        let (mut records, mut messages) = (Records::default(), Vec::new());
        for chunk in bytes.chunks(size) {
            records.push(chunk);
            while let Some(message) = records.next()? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    #[test]
    fn records_say_what_sse_says_however_they_are_cut() {
        let bytes = include_bytes!("../../tests/fixtures/webtransport/stream.bin");
        let whole = read(bytes, bytes.len()).unwrap();
        let names: Vec<&str> = whole.iter().map(|message| message.name.as_str()).collect();
        assert_eq!(names[..4], ["open", "meta", "text", "reasoning"]);
        assert_eq!((names.last(), whole[0].retry), (Some(&"end"), Some(Duration::from_millis(640))));
        for size in 1..60 {
            assert_eq!(read(bytes, size).unwrap(), whole, "{size}");
        }
    }

    #[test]
    fn a_refusal_is_an_error() {
        let bytes = include_bytes!("../../tests/fixtures/webtransport/refusal.bin");
        let refused = read(bytes, 7).unwrap_err();
        assert!(matches!(refused, Lost::GiveUp(Error::Refused { code, .. }) if code == "cursor_ahead"));
    }

    #[test]
    fn another_wire_is_refused() {
        for bytes in [&[0xff; 8][..], &[0, 0, 0, 1, 0xc1], &[0, 0, 0, 1, 0x80], &[0, 0, 0, 1, 0x90]] {
            assert!(matches!(read(bytes, 3), Err(Lost::GiveUp(Error::Foreign(_)))), "{bytes:?}");
        }
        assert!(read(&[0, 0, 0, 2, 0x91, 99], 1).unwrap().is_empty(), "an unknown kind is skipped");
    }
}
