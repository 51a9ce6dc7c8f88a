//! What one viewer of tokencast must see, event by event, without I/O. It believes nothing: whatever is not the next
//! thing of its stream is a violation.

use std::borrow::Cow;

use serde::Deserialize;

use crate::script::{BLOCKS_BESIDE, Script};
use crate::token::{self, Token};

/// One event, from whichever wire.
#[derive(Debug, Clone)]
pub(crate) enum Event<'a> {
    Open { id: Option<u64>, open: Open },
    Delta { name: &'a str, id: Option<u64>, delta: Delta<'a> },
    End { id: Option<u64>, end: End },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Open {
    pub(crate) after: u64,
    pub(crate) tail: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Delta<'a> {
    pub(crate) from: u64,
    #[serde(borrow)]
    pub(crate) text: Option<Cow<'a, str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct End {
    pub(crate) reason: String,
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    pub(crate) hash: String,
}

#[derive(Debug)]
pub(crate) struct Checker {
    script: Script,
    /// Whether a restart may end the stream before its time.
    interruptible: bool,
    /// The last id, and how many tokens had come with it.
    cursor: u64,
    tokens_at_cursor: u64,
    tokens: u64,
    /// Blocks that were there when this connection opened.
    tail: u64,
    opened: bool,
    end: Option<End>,
}

impl Checker {
    pub(crate) fn new(script: Script, interruptible: bool) -> Self {
        Self {
            script,
            interruptible,
            cursor: 0,
            tokens_at_cursor: 0,
            tokens: 0,
            tail: 0,
            opened: false,
            end: None,
        }
    }

    pub(crate) fn cursor(&self) -> u64 {
        self.cursor
    }

    pub(crate) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Whether everything has been seen that was there when this connection opened.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.opened && (self.cursor >= self.tail || self.end.is_some())
    }

    /// Before every connection: what came behind the last id comes again.
    pub(crate) fn connect(&mut self) {
        self.tokens = self.tokens_at_cursor;
        self.opened = false;
    }

    /// The next event. `arrived` is told of every token, and whether it is newer than the connection.
    pub(crate) fn hear(
        &mut self,
        event: &Event<'_>,
        mut arrived: impl FnMut(Token, bool),
    ) -> Result<(), String> {
        if self.end.is_some() {
            return Err("something follows the end".into());
        }
        match event {
            Event::Open { id, open } if !self.opened => self.open(*id, *open),
            Event::Open { .. } => Err("there is a second beginning".into()),
            _ if !self.opened => Err("the first event is not the beginning".into()),
            Event::Delta { name, id, delta } => self.delta(name, *id, delta, &mut arrived),
            Event::End { id, end } => self.ends(*id, end),
        }
    }

    fn open(&mut self, id: Option<u64>, open: Open) -> Result<(), String> {
        if id.is_some_and(|id| id != self.cursor) || open.after != self.cursor || open.tail < open.after {
            return Err(format!(
                "asked for what follows {}, it begins with id {id:?}, {open:?}",
                self.cursor
            ));
        }
        self.opened = true;
        self.tail = open.tail;
        Ok(())
    }

    fn delta(
        &mut self,
        name: &str,
        id: Option<u64>,
        delta: &Delta<'_>,
        arrived: &mut impl FnMut(Token, bool),
    ) -> Result<(), String> {
        if delta.from != self.cursor + 1 {
            return Err(format!(
                "gap or overlap: {name} is from {} with id {id:?}, after {}",
                delta.from, self.cursor
            ));
        }
        if let Some(text) = delta.text.as_deref().filter(|_| name == "text") {
            let mut rest = text.as_bytes();
            while !rest.is_empty() {
                let Some((token, len)) = token::next(rest, self.script.token_bytes)? else {
                    return Err(format!("there is text that nobody has said: {text:?}"));
                };
                if len != self.script.token_bytes {
                    return Err(format!("there is something before a token: {text:?}"));
                }
                self.token(token)?;
                arrived(token, token.number + 2 > self.tail);
                rest = &rest[len..];
            }
        }
        if let Some(id) = id {
            if id <= self.cursor {
                return Err(format!("duplicate: {name} has id {id}, after {}", self.cursor));
            }
            if self.tokens_within(id) != self.tokens {
                return Err(format!("id {id} comes with {} tokens", self.tokens));
            }
            (self.cursor, self.tokens_at_cursor) = (id, self.tokens);
        }
        Ok(())
    }

    fn token(&mut self, token: Token) -> Result<(), String> {
        if token.stream != self.script.stream {
            return Err(format!(
                "token {} is of stream {}, not {}",
                token.number, token.stream, self.script.stream
            ));
        }
        if token.number != self.tokens {
            let what = if token.number < self.tokens { "duplicate or out of order" } else { "gap" };
            return Err(format!("{what}: token {} comes after {} tokens", token.number, self.tokens));
        }
        self.tokens += 1;
        Ok(())
    }

    /// How many of these blocks are tokens: the first says the role.
    fn tokens_within(&self, blocks: u64) -> u64 {
        blocks.saturating_sub(1).min(self.script.tokens)
    }

    fn ends(&mut self, id: Option<u64>, end: &End) -> Result<(), String> {
        let blocks = self.script.tokens + BLOCKS_BESIDE;
        let right = match end.reason.as_str() {
            "completed" => end.blocks == blocks,
            "interrupted" => self.interruptible && end.blocks <= blocks,
            _ => false,
        };
        if !right || id != Some(end.blocks + 1) {
            return Err(format!("the end with id {id:?} is wrong, of {blocks} blocks: {end:?}"));
        }
        if self.cursor > end.blocks {
            return Err(format!("the end is behind {} blocks, and {} were seen", end.blocks, self.cursor));
        }
        if self.tokens != self.tokens_within(end.blocks) || self.tokens != self.tokens_at_cursor {
            return Err(format!("the end comes after {} tokens, of {} blocks", self.tokens, end.blocks));
        }
        self.cursor = end.blocks + 1;
        self.end = Some(end.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: Script =
        Script { stream: 1, tokens: 3, token_bytes: 40, rate: 1.0, jitter: 0.0, burst: 1, begin_us: 0 };

    fn said(stream: u32, numbers: &[u64]) -> String {
        let mut text = Vec::new();
        for number in numbers {
            Token { stream, number: *number, due_ns: 5, late_us: 0 }.write(40, &mut text);
        }
        String::from_utf8(text).unwrap()
    }

    fn open(after: u64, tail: u64) -> Event<'static> {
        Event::Open { id: Some(after), open: Open { after, tail } }
    }

    fn text(from: u64, id: u64, numbers: &[u64]) -> Event<'static> {
        delta("text", from, Some(id), Some(said(1, numbers)))
    }

    fn delta(name: &'static str, from: u64, id: Option<u64>, text: Option<String>) -> Event<'static> {
        Event::Delta { name, id, delta: Delta { from, text: text.map(Cow::Owned) } }
    }

    fn end(reason: &str, blocks: u64) -> Event<'static> {
        let end = End { reason: reason.into(), blocks, bytes: 1, hash: "h".into() };
        Event::End { id: Some(blocks + 1), end }
    }

    fn check(interruptible: bool, events: &[Event<'_>]) -> Result<Checker, String> {
        let mut checker = Checker::new(SCRIPT, interruptible);
        events.iter().try_for_each(|event| checker.hear(event, |_, _| {}))?;
        Ok(checker)
    }

    #[test]
    fn a_right_stream_however_it_is_cut_into_events() {
        let meta = || delta("meta", 1, Some(1), None);
        let finish = || delta("finish", 5, Some(5), None);
        for events in [
            vec![open(0, 0), meta(), text(2, 4, &[0, 1, 2]), finish(), end("completed", 7)],
            vec![open(0, 9), text(1, 2, &[0]), text(3, 3, &[1]), text(4, 4, &[2]), end("completed", 7)],
            vec![
                open(0, 0),
                meta(),
                delta("text", 2, None, Some(said(1, &[0]))),
                text(2, 4, &[1, 2]),
                end("completed", 7),
            ],
        ] {
            assert!(check(false, &events).unwrap().end().is_some());
        }
        assert!(check(true, &[open(0, 0), text(1, 3, &[0, 1]), end("interrupted", 3)]).is_ok());
    }

    #[test]
    fn every_fault_is_a_violation() {
        let begun = || vec![open(0, 0), text(1, 2, &[0])];
        for (name, then) in [
            ("a gap in tokens", text(3, 4, &[2])),
            ("a gap in ids", text(4, 4, &[1])),
            ("a token twice", text(3, 3, &[0])),
            ("out of order", text(3, 4, &[2, 1])),
            ("an id again", text(3, 2, &[])),
            ("an id that says more than came", text(3, 4, &[1])),
            ("an id that says less than came", text(3, 3, &[1, 2])),
            ("of another stream", delta("text", 3, Some(3), Some(said(2, &[1])))),
            (
                "a changed byte",
                delta("text", 3, Some(3), Some(said(1, &[1]).replace('a', "b").replace('.', ","))),
            ),
            ("words that nobody said", delta("text", 3, Some(3), Some("hello".into()))),
            ("words before a token", delta("text", 3, Some(3), Some(format!("x{}", said(1, &[1]))))),
            ("a second beginning", open(2, 2)),
            ("an early end", end("completed", 7)),
            ("an end of another length", end("completed", 2)),
            ("another end", end("failed", 2)),
            ("an interruption that nobody made", end("interrupted", 2)),
        ] {
            let mut events = begun();
            events.push(then);
            assert!(check(false, &events).is_err(), "{name}");
        }
        assert!(check(false, &[text(1, 2, &[0])]).is_err(), "no beginning");
        assert!(check(false, &[open(1, 1)]).is_err(), "another beginning");
        let after = [open(0, 0), text(1, 4, &[0, 1, 2]), end("completed", 7), text(5, 5, &[])];
        assert!(check(false, &after).is_err(), "behind the end");
        assert!(
            check(true, &[open(0, 0), text(1, 4, &[0, 1, 2]), end("interrupted", 2)]).is_err(),
            "less than was seen"
        );
    }

    #[test]
    fn what_comes_behind_the_last_id_comes_again() {
        let mut checker = check(false, &[open(0, 0), text(1, 2, &[0])]).unwrap();
        checker.hear(&delta("text", 3, None, Some(said(1, &[1]))), |_, _| {}).unwrap();
        checker.connect();
        assert_eq!(checker.cursor(), 2);
        let mut live = Vec::new();
        for event in [open(2, 3), text(3, 4, &[1, 2])] {
            assert!(!checker.has_caught_up());
            checker.hear(&event, |token, is_live| live.push((token.number, is_live))).unwrap();
        }
        assert_eq!(live, [(1, false), (2, true)]);
        assert!(checker.has_caught_up());
    }
}
