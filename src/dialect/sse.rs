//! One SSE block → its message.
//!
//! The everyday block, one line of `data` and perhaps one of `event`, is borrowed as it stands. Any other is parsed by
//! `eventsource-stream`. It panics on a BOM, falls silent after an invalid byte, holds back a line that ends in CR, and
//! is quadratic in the lines that it is given at once. So it never sees bytes of the network, only one complete block,
//! made clean and handed over a few lines at a time.

#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::borrow::Cow;
use std::convert::Infallible;
use std::iter;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use eventsource_stream::EventStream;
use memchr::memchr;
use tokio_stream::Stream;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The crate moves what it has not yet parsed once per line, so what it holds at a time is kept small. Nearly
/// every block is smaller, and is handed over whole.
const PART_BYTES: usize = 1024;

/// What one SSE block says, borrowed from it where it stands there in one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// The block's `event`; none if it has none, an empty one, or the default `message`.
    pub event: Option<Cow<'a, str>>,
    /// Its `data` lines, joined by LF.
    pub data: Cow<'a, str>,
}

/// The message of one complete block; none without a `data` line. `first` says that the body begins with this
/// block.
pub fn parse(block: &[u8], first: bool) -> Option<Message<'_>> {
    match valid(block, first) {
        Cow::Borrowed(text) => plain(text).or_else(|| parsed(&unified(text.into()))),
        Cow::Owned(text) => parsed(&unified(text.into())),
    }
}

/// The message of a block of the everyday kind: one line of `data`, perhaps one of `event`, and the blank one. Tokens
/// come so, and nothing of them is copied. What it gives, the crate gives, too.
fn plain(mut text: &str) -> Option<Message<'_>> {
    let (mut event, mut data) = (None, None);
    loop {
        let (line, rest) = text.split_once('\n')?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if memchr(b'\r', line.as_bytes()).is_some() {
            return None;
        }
        if line.is_empty() {
            let event = event.filter(|name| !matches!(*name, "" | "message")).map(Cow::Borrowed);
            return Some(Message { event, data: Cow::Borrowed(data.filter(|_| rest.is_empty())?) });
        }
        let (field, value) = match line.strip_prefix("data:") {
            Some(value) => (&mut data, value),
            None => (&mut event, line.strip_prefix("event:")?),
        };
        if field.replace(value.strip_prefix(' ').unwrap_or(value)).is_some() {
            return None;
        }
        text = rest;
    }
}

/// The message of any block, as the crate has it. `text` has LF as its only line end.
fn parsed(text: &str) -> Option<Message<'static>> {
    // The crate takes a BOM at the start of its input for that of the body. A blank line before it keeps it
    // content.
    let guard = text.as_bytes().starts_with(BOM).then_some(&b"\n"[..]);
    let events = pin!(EventStream::new(Ready(guard.into_iter().chain(parts(text.as_bytes())))));
    match events.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(event))) => Some(Message {
            event: Some(event.event).filter(|name| name != "message").map(Cow::Owned),
            data: event.data.into(),
        }),
        // Clean text cannot fail, and `Ready` is never pending.
        Poll::Ready(Some(Err(_)) | None) | Poll::Pending => None,
    }
}

/// The error that old llama.cpp servers send as a field of that name, `error: {…}`, in a block without
/// `data`.
pub fn parse_error_field(block: &[u8], first: bool) -> Option<Message<'static>> {
    let text = unified(valid(block, first));
    let mut error = None;
    for line in text.lines() {
        match line.split_once(':').unwrap_or((line, "")) {
            ("data", _) => return None,
            ("error", value) => error = error.or(Some(value.strip_prefix(' ').unwrap_or(value))),
            _ => {}
        }
    }
    let data = error.filter(|value| value.starts_with('{'))?;
    Some(Message { event: Some("error".into()), data: data.to_owned().into() })
}

/// The block as text: valid, and without the body's BOM and the blank lines in front. Borrowed where the provider
/// sent it valid.
fn valid(block: &[u8], first: bool) -> Cow<'_, str> {
    let block = block.strip_prefix(BOM).filter(|_| first).unwrap_or(block);
    let front = block.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    String::from_utf8_lossy(block.get(front..).unwrap_or_default())
}

/// The text with LF as its only line end.
fn unified(text: Cow<'_, str>) -> Cow<'_, str> {
    if memchr(b'\r', text.as_bytes()).is_none() {
        return text;
    }
    Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
}

/// The text in parts of whole lines: each ends with the first line that reaches `PART_BYTES`.
fn parts(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    iter::from_fn(move || {
        let lf = memchr(b'\n', text.get(PART_BYTES..).unwrap_or_default());
        let end = lf.map_or(text.len(), |lf| lf.saturating_add(PART_BYTES).saturating_add(1));
        let (part, rest) = text.split_at_checked(end)?;
        text = rest;
        (!part.is_empty()).then_some(part)
    })
}

/// An iterator as a stream that is never pending (`tokio_stream::iter` yields now and then).
struct Ready<I>(I);

impl<I: Iterator + Unpin> Stream for Ready<I> {
    type Item = Result<I::Item, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn message<'a>(event: &'a str, data: &'a str) -> Option<Message<'a>> {
        Some(Message { event: Some(event.into()).filter(|_| !event.is_empty()), data: data.into() })
    }

    #[test]
    fn fields() {
        let check = |block: &str, expected| {
            for block in [block.to_owned(), block.replace('\n', "\r\n"), block.replace('\n', "\r")] {
                assert_eq!(parse(block.as_bytes(), false), expected, "{block:?}");
                assert_eq!(parse(block.as_bytes(), true), expected, "{block:?}");
            }
        };
        check("data: a\n\n", message("", "a"));
        check("data:a\n\n", message("", "a"));
        check("data:  a \n\n", message("", " a "));
        check("data:\ta\n\n", message("", "\ta"));
        check("data\n\n", message("", ""));
        check("data:\ndata: a\ndata\n\n", message("", "\na\n"));
        check("event: x\ndata: a\n\n", message("x", "a"));
        check("data: a\nevent: x\nevent: y\n\n", message("y", "a"));
        check("event: message\ndata: a\n\n", message("", "a"));
        check("event\ndata: a\n\n", message("", "a"));
        check("id: 1\nretry: +5\nDATA: b\n data: c\n: d\ndata: a: b\n\n", message("", "a: b"));
        check("\n\n\ndata: a\n\n", message("", "a"));
        check(
            "data: \0\u{2028}\u{85}\u{B}\u{C}\u{FEFF}👍\n\n",
            message("", "\0\u{2028}\u{85}\u{B}\u{C}\u{FEFF}👍"),
        );
        check(": hb\n\n", None);
        check(":\n\n", None);
        check("event: x\n\n", None);
        check("dat\n\n", None);
        check("", None);
        check("\n\n", None);
        // Not complete, so not for us; but no harm either.
        check("data: a\n", None);
        check("data: a", None);
    }

    #[test]
    fn only_the_body_starts_with_a_bom() {
        let check =
            |block: &str, first, expected| assert_eq!(parse(block.as_bytes(), first), expected, "{block:?}");
        check("\u{FEFF}data: a\n\n", true, message("", "a"));
        check("\u{FEFF}\n\ndata: a\n\n", true, message("", "a"));
        check("\u{FEFF}\u{FEFF}data: a\ndata: b\n\n", true, message("", "b"));
        check("\u{FEFF}data: a\ndata: b\n\n", false, message("", "b"));
        check("\n\r\u{FEFF}data: a\ndata: b\n\n", true, message("", "b"));
        check("\u{FEFF}data: a\n\n", false, None);
        check("\u{FEFF}\n\n", false, None);
        check("\u{FEFF}", false, None);
        check("\u{FEFF}", true, None);
    }

    #[test]
    fn invalid_bytes_are_replaced() {
        assert_eq!(parse(b"data: a\xFFb\n\n", false), message("", "a\u{FFFD}b"));
        assert_eq!(
            parse(b"data: \xF0\x9F\ndata: \x91\x8D\n\n", false),
            message("", "\u{FFFD}\n\u{FFFD}\u{FFFD}")
        );
        assert_eq!(parse(b"\xEF\xBBdata: a\ndata: b\n\n", true), message("", "b"));
    }

    #[test]
    fn everyday_blocks_are_borrowed() {
        let everyday = [
            (&b"data: a\n\n"[..], false),
            (b"\xEF\xBB\xBF\r\ndata: a\r\n\r\n", true),
            (b"event: x\ndata:a\r\n\n", false),
            (b"\ndata: a\nevent:\n\n", false),
        ];
        for (block, first) in everyday {
            let message = parse(block, first);
            assert!(matches!(message, Some(Message { data: Cow::Borrowed("a"), .. })), "{message:?}");
        }
        assert_eq!(unified("a\r\r\nb\n\r\n".into()), "a\n\nb\n\n");
    }

    proptest! {
        #[test]
        fn everyday_blocks_are_read_as_the_crate_reads_them(
            lines in vec("(data|event|id|eventdata|)(:| : |: |:  |)[ab\r: \u{FEFF}]{0,3}|message", 0..5),
            end in "(\n|\r\n|\r){0,3}",
        ) {
            let text = lines.join("\n") + &end;
            if let Some(message) = plain(&text) {
                prop_assert_eq!(Some(message), parsed(&unified(text.as_str().into())), "{:?}", text);
            }
        }
    }

    #[test]
    fn parts_are_whole_lines() {
        for len in PART_BYTES - 3..PART_BYTES + 3 {
            let line = format!("data: {}\n", "x".repeat(len - 7));
            let text = format!("{line}{line}:\n:\n\n");
            let parts: Vec<_> = parts(text.as_bytes()).collect();
            assert!(parts.iter().all(|part| part.ends_with(b"\n")), "{len}");
            assert_eq!(parts.concat(), text.as_bytes());
            assert_eq!(parse(text.as_bytes(), false).map(|message| message.data.len()), Some(2 * len - 13));
        }
    }

    #[test]
    fn many_lines_cost_linear_time() {
        let took = |block: &str| {
            let start = std::time::Instant::now();
            assert_eq!(parse(block.as_bytes(), false), message("", "a"));
            start.elapsed()
        };
        for line in ["a\n", "\n"] {
            let few = line.repeat(1 << 16) + "data: a\n\n";
            let many = line.repeat(1 << 19) + "data: a\n\n";
            // Handed to the crate whole, eight times as many lines take sixty-four times as long.
            let ratio = (0..3).map(|_| took(&many).div_duration_f64(took(&few))).fold(f64::MAX, f64::min);
            assert!(ratio < 24.0, "{ratio}");
        }
    }

    #[test]
    fn llama_cpp_errors() {
        let check = |block: &[u8], expected| assert_eq!(parse_error_field(block, false), expected);
        check(b"error: {\"code\":500}\n\n", message("error", "{\"code\":500}"));
        check(b"error:{\"code\":500}\r\n\r\n", message("error", "{\"code\":500}"));
        check(b": c\rerror: {}\r\r", message("error", "{}"));
        check(b"error: oops\n\n", None);
        check(b"error\n\n", None);
        check(b"error: {}\ndata: a\n\n", None);
        check(b"data\nerror: {}\n\n", None);
        check(b"data: error: {}\n\n", None);
        check(b"\xEF\xBB\xBFerror: {}\n\n", None);
        assert_eq!(parse_error_field(b"\xEF\xBB\xBFerror: {}\n\n", true), message("error", "{}"));
    }
}
