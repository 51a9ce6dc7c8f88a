//! Bytes → SSE messages.
//!
//! `eventsource-stream` parses one block at a time, cut by our own splitter. Over a whole body it could not tell an id
//! of this event from that of the event before, which is the difference between a cursor and none.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use eventsource_stream::EventStream;
use tokio_stream::Stream as _;

use crate::cast::block::Seq;
use crate::upstream::split::{Framing, Piece, Splitter};

/// The largest event that is taken; the gateway's are far below.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most lines of one; ours have four. The parser's time grows with their square.
const LINES_MAX: usize = 64;

/// One SSE block with data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) id: Option<Seq>,
    pub(crate) data: String,
    pub(crate) retry: Option<Duration>,
}

/// Bytes that no gateway of ours sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not our wire: {0}")]
pub(crate) struct Malformed(&'static str);

/// Reads one body.
#[derive(Debug)]
pub(crate) struct Parser {
    splitter: Splitter,
    pieces: Vec<Piece>,
    blocks: VecDeque<Piece>,
}

impl Parser {
    pub(crate) fn new() -> Self {
        Self {
            splitter: Splitter::new(Framing::Sse, EVENT_BYTES_MAX),
            pieces: Vec::new(),
            blocks: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, chunk: Bytes) -> Result<(), Malformed> {
        let cut = self.splitter.push(chunk, &mut self.pieces);
        self.blocks.extend(self.pieces.drain(..));
        cut.map_err(|_| Malformed("an event is too large"))
    }

    /// The next message among the bytes that were pushed.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, Malformed> {
        while let Some(block) = self.blocks.pop_front() {
            if let Some(message) = message(&block.bytes)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}

/// The message of one complete block; none of a comment.
fn message(block: &[u8]) -> Result<Option<Message>, Malformed> {
    let text = std::str::from_utf8(block).map_err(|_| Malformed("it is not UTF-8"))?;
    // The parser panics on it.
    let text = text.trim_start_matches('\u{feff}');
    if memchr::memchr_iter(b'\n', text.as_bytes()).nth(LINES_MAX).is_some() {
        return Err(Malformed("an event has too many lines"));
    }
    let events = pin!(EventStream::new(tokio_stream::once(Ok::<_, Infallible>(text))));
    match events.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(event))) => {
            Ok(Some(Message { id: id(&event.id)?, name: event.event, data: event.data, retry: event.retry }))
        }
        Poll::Ready(Some(Err(_))) => Err(Malformed("it is no SSE")),
        Poll::Ready(None) | Poll::Pending => Ok(None),
    }
}

fn id(text: &str) -> Result<Option<Seq>, Malformed> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let id = digits.then(|| text.parse().ok()).flatten();
    id.map(Some).ok_or(Malformed("an id is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: impl IntoIterator<Item = &'static [u8]>) -> Result<Vec<Message>, Malformed> {
        let (mut parser, mut messages) = (Parser::new(), Vec::new());
        for chunk in chunks {
            parser.push(Bytes::from_static(chunk))?;
            while let Some(message) = parser.next()? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    const BODY: &[u8] = "retry: 640\nid: 0\nevent: open\ndata: {\"after\":0}\n\n: hb\n\nid: 2\nevent: text\n\
        data: {\"from\":1,\"text\":\"ö\"}\n\nevent: text\ndata: {}\n\n: hb\n\nid: 3\nevent: finish\ndata: {}\n\nid: 4\nevent: cut"
        .as_bytes();

    #[test]
    fn ids_are_not_inherited_and_comments_say_nothing() {
        let messages = read([BODY]).unwrap();
        let ids: Vec<_> = messages.iter().map(|message| (message.name.as_str(), message.id)).collect();
        assert_eq!(ids, [("open", Some(0)), ("text", Some(2)), ("text", None), ("finish", Some(3))]);
        assert_eq!(messages[0].retry, Some(Duration::from_millis(640)));
        assert_eq!(messages[1].data, "{\"from\":1,\"text\":\"ö\"}");
    }

    #[test]
    fn borders_of_chunks_do_not_matter() {
        let whole = read([BODY]).unwrap();
        for size in 1..40 {
            assert_eq!(read(BODY.chunks(size)).unwrap(), whole, "{size}");
        }
    }

    #[test]
    fn another_wire_is_refused() {
        for body in [
            &b"id: 1\nevent: text\ndata: \xff\n\n"[..],
            b"id: x\ndata: 1\n\n",
            b"id: +1\ndata: 1\n\n",
            b"id: 18446744073709551616\ndata: 1\n\n",
        ] {
            assert!(read([body]).is_err(), "{body:?}");
        }
        assert!(message(&b"data: x\n".repeat(100)).is_err());
        assert_eq!(message("\u{feff}\u{feff}data: x\n\n".as_bytes()).unwrap().unwrap().data, "x");
    }
}
