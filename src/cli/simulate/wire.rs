//! How an answer is written: server-sent events, or lines of NDJSON, with their faults, as a list of acts. No clock
//! and no socket.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::ask::Ask;
use super::dialects::{Event, Writer};
use super::options::Options;
use super::script::{Say, Script};

/// A write is handed on at this size, however many tokens a burst has.
const WRITE_BYTES_MAX: usize = 1 << 20;

/// What the body has to do next. The end of the iterator is the clean end of the body.
#[derive(Debug, PartialEq)]
pub(super) enum Act {
    Write(Bytes),
    /// Wait until this token is due.
    Due(u64),
    /// Do nothing for so long; what was due moves by as much.
    Stall(Duration),
    /// Do nothing, for ever.
    StallForever,
    /// Everything has been said; keep the connection for so long.
    Hold(Duration),
    /// End the connection as a crash would.
    Cut,
}

/// A script on its way to bytes.
#[derive(Debug)]
pub(super) struct Wire {
    options: Options,
    writer: Box<dyn Writer>,
    is_ndjson: bool,
    line_end: &'static str,
    script: Script,
    /// Events written so far.
    events: u64,
    ticks: u64,
    huge_tick: u64,
    pending: Vec<u8>,
    acts: VecDeque<Act>,
    over: bool,
}

impl Wire {
    pub(super) fn new(ask: &Ask) -> Self {
        let options = ask.options.clone();
        Self {
            writer: ask.endpoint.writer(ask),
            is_ndjson: ask.endpoint.is_ndjson(),
            line_end: options.line_end.as_str().unwrap_or_else(|| ask.endpoint.line_end()),
            script: Script::new(ask),
            events: 0,
            ticks: 0,
            huge_tick: (options.tokens + options.reasoning) / 2,
            pending: if options.bom { b"\xef\xbb\xbf".to_vec() } else { Vec::new() },
            acts: VecDeque::new(),
            over: false,
            options,
        }
    }

    fn say(&mut self, say: &Say) {
        if *say == Say::Tick {
            return self.tick();
        }
        for event in self.writer.say(say, self.script.usage()) {
            self.event(&event);
        }
    }

    fn tick(&mut self) {
        if self.ticks.is_multiple_of(self.options.burst) {
            self.flush();
            self.acts.push_back(Act::Due(self.ticks));
        }
        if self.ticks == self.huge_tick {
            self.huge();
        }
        self.ticks += 1;
    }

    /// One event, unless a fault comes before it.
    fn event(&mut self, event: &Event) {
        if event.is_last && self.options.no_done {
            return;
        }
        self.faults();
        if !self.over {
            self.block(event);
        }
    }

    fn block(&mut self, event: &Event) {
        self.events += 1;
        let data = event.data.as_bytes();
        if self.is_ndjson {
            self.line(&[data]);
        } else {
            if let Some(name) = event.name {
                self.line(&[b"event: ", name.as_bytes()]);
            }
            self.line(&[b"data: ", data]);
            self.line(&[]);
        }
        if self.options.comments.is_some_and(|every| self.events.is_multiple_of(every)) {
            // NDJSON has no comments; an empty line is the nearest to one.
            if !self.is_ndjson {
                self.line(&[b": keep-alive"]);
            }
            self.line(&[]);
        }
        if self.pending.len() >= WRITE_BYTES_MAX {
            self.flush();
        }
    }

    fn line(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.pending.extend_from_slice(part);
        }
        self.pending.extend_from_slice(self.line_end.as_bytes());
    }

    fn huge(&mut self) {
        if let Some(bytes) = self.options.huge_line.take() {
            let field = if self.is_ndjson { "" } else { "data: " };
            let data = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_sub(field.len());
            for event in self.writer.pad(data) {
                self.event(&event);
            }
        }
    }

    /// Whatever is to happen after the events that were written so far. Each fault happens once.
    fn faults(&mut self) {
        let events = self.events;
        let due = |after: &mut Option<u64>| after.take_if(|after| *after == events).is_some();
        if self.over {
            return;
        }
        if due(&mut self.options.garbage_after) {
            let garbage = if self.is_ndjson { NDJSON_GARBAGE } else { GARBAGE };
            for line in garbage {
                self.line(&[line]);
            }
        }
        if due(&mut self.options.stall_after) {
            self.flush();
            match self.options.stall_ms {
                Some(ms) => self.acts.push_back(Act::Stall(Duration::from_millis(ms))),
                None => {
                    self.acts.push_back(Act::StallForever);
                    self.over = true;
                    return;
                }
            }
        }
        if due(&mut self.options.cut_after) {
            self.flush();
            self.acts.push_back(Act::Cut);
            self.over = true;
        } else if due(&mut self.options.eof_after) {
            self.flush();
            self.over = true;
        } else if due(&mut self.options.error_after) {
            let mut events = self.writer.fail().into_iter();
            if let Some(error) = events.next() {
                self.block(&error);
            }
            self.end(events);
        }
    }

    /// What follows when every choice has finished.
    fn close(&mut self) {
        self.huge();
        let events = if std::mem::take(&mut self.options.error_at_finish) {
            self.writer.fail()
        } else {
            self.writer.end(self.script.usage())
        };
        self.end(events);
    }

    fn end(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.event(&event);
        }
        self.faults();
        if self.over {
            return;
        }
        self.flush();
        if self.options.hold_ms > 0 {
            self.acts.push_back(Act::Hold(Duration::from_millis(self.options.hold_ms)));
        }
        self.over = true;
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            self.acts.push_back(Act::Write(std::mem::take(&mut self.pending).into()));
        }
    }
}

impl Iterator for Wire {
    type Item = Act;

    fn next(&mut self) -> Option<Act> {
        while self.acts.is_empty() && !self.over {
            match self.script.next() {
                Some(say) => self.say(&say),
                None => self.close(),
            }
        }
        self.acts.pop_front()
    }
}

/// Blocks that no reading of the dialect turns into text: comments, unknown fields, JSON that is broken, of
/// another shape or no JSON at all, bytes that are not UTF-8.
const GARBAGE: &[&[u8]] = &[
    b": garbage, on request",
    b"",
    b":",
    b"",
    b"",
    b"data: this is not JSON",
    b"",
    b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"cut he",
    b"",
    b"data: \xff\xfe\xc3\x28 \xf0\x9f\x98",
    b"",
    b"\x80\x81: not UTF-8, and no known field",
    b"",
    b"data: 42",
    b"",
    b"data: {\"choices\":null}",
    b"",
    b"event: unheard-of",
    b"data: {\"choices\":[]}",
    b"",
    b"unknown: field",
    b"no colon at all",
    b"",
];

/// The same for dialects that write lines of JSON.
const NDJSON_GARBAGE: &[&[u8]] = &[
    b"",
    b"this is not JSON",
    b"{\"message\":{\"role\":\"assistant\",\"content\":\"cut he",
    b"{\"response\":\"\xff\xfe\xc3\x28 \xf0\x9f\x98\"}",
    b"42",
    b"{\"message\":null}",
    b"{}",
];

#[cfg(test)]
mod tests {
    use super::super::dialects::Endpoint;
    use super::*;

    fn acts(extra: &str) -> Vec<Act> {
        let body = format!(
            r#"{{"model":"m","messages":[1],"stream":true,"stream_options":{{"include_usage":true}},"simulate":{{"tokens":6,"seed":3,{extra}}}}}"#
        );
        Wire::new(&Ask::read(Endpoint::OpenaiChat, body.as_bytes(), &Options::default()).unwrap()).collect()
    }

    fn bytes(acts: &[Act]) -> Vec<u8> {
        let of = |act: &Act| if let Act::Write(bytes) = act { bytes.to_vec() } else { Vec::new() };
        acts.iter().flat_map(of).collect()
    }

    fn text(extra: &str) -> String {
        String::from_utf8(bytes(&acts(extra))).unwrap()
    }

    fn events(extra: &str) -> usize {
        text(extra).matches("data: ").count()
    }

    /// Role, six tokens, finish, usage, `[DONE]`.
    const ALL: usize = 10;

    #[test]
    fn a_plain_stream() {
        assert_eq!(
            bytes(&acts(r#""rate":0"#)),
            bytes(&acts(r#""rate":9,"jitter":1,"burst":4"#)),
            "same bytes"
        );
        assert_eq!(events(r#""rate":0"#), ALL);
        let text = text(r#""rate":0"#);
        assert!(text.ends_with("}\n\ndata: [DONE]\n\n"), "{text}");
        assert!(text.split("\n\n").nth(ALL - 2).unwrap().contains(r#""choices":[],"usage":{"#), "{text}");
    }

    #[test]
    fn a_burst_is_one_write() {
        let shape: Vec<_> = acts(r#""burst":4"#)
            .into_iter()
            .map(|act| if let Act::Due(tick) = act { Some(tick) } else { None })
            .collect();
        assert_eq!(shape, [None, Some(0), None, Some(4), None]);
    }

    #[test]
    fn endings() {
        for (fault, act) in
            [("cut_after", Some(Act::Cut)), ("eof_after", None), ("stall_after", Some(Act::StallForever))]
        {
            for after in [0, 1, 5, ALL] {
                let acts = acts(&format!(r#""{fault}":{after}"#));
                let written = String::from_utf8(bytes(&acts)).unwrap();
                assert_eq!(written.matches("data: ").count(), after, "{fault} {after}");
                match &act {
                    Some(act) => assert_eq!(acts.last(), Some(act), "{fault} {after}"),
                    None => assert!(!matches!(acts.last(), Some(Act::Cut | Act::StallForever))),
                }
            }
            assert_eq!(events(&format!(r#""{fault}":{}"#, ALL + 1)), ALL, "beyond the end nothing happens");
        }
    }

    #[test]
    fn errors_in_band() {
        let early = text(r#""error_after":3"#);
        let blocks: Vec<_> = early.split("\n\n").collect();
        assert_eq!(blocks.len(), 3 + 2 + 1);
        assert!(blocks[3].starts_with(r#"data: {"error":{"#) && blocks[4] == "data: [DONE]", "{early}");
        let late = text(r#""error_at_finish":true"#);
        let blocks: Vec<_> = late.split("\n\n").collect();
        assert!(blocks[7].contains(r#""finish_reason":"stop""#), "{late}");
        assert!(blocks[8].starts_with(r#"data: {"error":{"#) && blocks[9] == "data: [DONE]", "{late}");
        assert_eq!(events(r#""error_after":3,"no_done":true"#), 4);
        assert_eq!(acts(r#""error_after":3,"cut_after":4"#).last(), Some(&Act::Cut));
    }

    #[test]
    fn a_stall_can_end() {
        let acts = acts(r#""stall_after":4,"stall_ms":50"#);
        let at = acts.iter().position(|act| *act == Act::Stall(Duration::from_millis(50))).unwrap();
        assert_eq!(String::from_utf8(bytes(&acts[..at])).unwrap().matches("data: ").count(), 4);
        assert_eq!(bytes(&acts), bytes(&self::acts(r#""rate":0"#)));
    }

    #[test]
    fn garbage_leaves_the_rest_as_it_was() {
        let garbled = bytes(&acts(r#""garbage_after":4"#));
        let garbage = GARBAGE.iter().fold(Vec::new(), |all, line| [&all, *line, b"\n"].concat());
        let at = garbled.windows(garbage.len()).position(|window| window == garbage).unwrap();
        assert!(String::from_utf8(garbled.clone()).is_err());
        assert_eq!(String::from_utf8_lossy(&garbled[..at]).matches("data: ").count(), 4);
        assert_eq!([&garbled[..at], &garbled[at + garbage.len()..]].concat(), bytes(&acts(r#""rate":0"#)));
    }

    #[test]
    fn lines() {
        let plain = text(r#""rate":0"#);
        assert_eq!(text(r#""line_end":"crlf""#), plain.replace('\n', "\r\n"));
        assert_eq!(text(r#""line_end":"cr""#), plain.replace('\n', "\r"));
        assert_eq!(text(r#""bom":true"#), format!("\u{feff}{plain}"));
        assert_eq!(text(r#""comments":3"#).matches("\n\n: keep-alive\n\n").count(), 3);
        let huge = text(r#""huge_line":70000"#);
        assert_eq!(huge.lines().map(str::len).max(), Some(70_000));
        assert_eq!(huge.lines().filter(|line| line.len() != 70_000).count(), plain.lines().count() + 1);
        assert!(text(r#""emoji_halves":true"#).contains(r#"{"content":"\ud83d"}"#));
        assert_eq!(text(r#""no_done":true"#), plain.trim_end_matches("data: [DONE]\n\n"));
        assert_eq!(acts(r#""hold_ms":7"#).last(), Some(&Act::Hold(Duration::from_millis(7))));
    }
}
