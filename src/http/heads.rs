//! Heads of HTTP/1.1 as they come in: where one begins, and whether its lines end as they have to. hyper takes a bare LF
//! for the end of a line, which a proxy before us may take for a part of it.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pulse::{Busy, Pulse};

/// Those of one connection; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Heads {
    pulse: Pulse,
    lines: Arc<Mutex<Lines>>,
}

impl Heads {
    /// Those of which this pulse tells.
    pub(super) fn of(pulse: Pulse) -> Self {
        Self { pulse, ..Self::default() }
    }

    /// Notes what has come, and says whether that is the beginning of a head.
    pub(super) fn came(&self, bytes: &[u8]) -> bool {
        let begins = self.pulse.read();
        let mut lines = self.lines();
        if begins {
            lines.is_in_body = false;
        }
        if !lines.is_in_body {
            lines.take(bytes);
        }
        begins
    }

    /// Whether a head is awaited that is the first one, or has begun to come.
    pub(super) fn are_awaited(&self) -> bool {
        self.pulse.awaits_head()
    }

    /// Whether no line has ended yet of the head that is awaited.
    pub(super) fn is_in_first_line(&self) -> bool {
        let lines = self.lines();
        !lines.has_begun && lines.ended == lines.asked
    }

    /// The next head has come whole: the request is being answered from now on. Says whether all its lines have ended as
    /// they have to.
    pub(super) fn asked(&self, has_body: bool) -> (Busy, bool) {
        let mut lines = self.lines();
        let is_clean = lines.bare != Some(lines.asked);
        lines.asked = lines.asked.saturating_add(1);
        if has_body {
            // What may already have come of it was taken for a head.
            *lines = Lines { is_in_body: true, asked: lines.asked, ended: lines.asked, ..Lines::default() };
        }
        drop(lines);
        (self.pulse.asked(), is_clean)
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Lines {
    /// What comes belongs to a body, until the next head begins.
    is_in_body: bool,
    /// Heads that were asked, and those that have come whole; a client may be ahead.
    asked: u64,
    ended: u64,
    /// The first one with a line that ends in LF alone.
    bare: Option<u64>,
    /// A line of the present one has ended.
    has_begun: bool,
    /// Bytes of the present line, and whether the last of them is a CR.
    len: usize,
    is_cr: bool,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            if let Some(last) = text.last() {
                self.is_cr = *last == b'\r';
            }
            self.len = self.len.saturating_add(text.len());
            if text.len() < piece.len() {
                self.line();
            }
        }
    }

    /// A line has ended.
    fn line(&mut self) {
        if !self.is_cr {
            self.bare.get_or_insert(self.ended);
        }
        let is_empty = self.len == usize::from(self.is_cr);
        (self.len, self.is_cr) = (0, false);
        // Empty lines before a head are none of it.
        if is_empty && self.has_begun {
            self.ended = self.ended.saturating_add(1);
        }
        self.has_begun = !is_empty;
    }
}

/// How many heads have ended, and the first one with a bare LF, for who looks whether pieces matter.
#[cfg(any(test, fuzzing))]
pub(crate) fn in_pieces(pieces: &[&[u8]]) -> (u64, Option<u64>) {
    let mut lines = Lines::default();
    pieces.iter().for_each(|piece| lines.take(piece));
    (lines.ended, lines.bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the requests were clean, after all of this has come in pieces of that size.
    fn clean(text: &str, size: usize, requests: usize) -> Vec<bool> {
        let heads = Heads::default();
        for piece in text.as_bytes().chunks(size) {
            heads.came(piece);
        }
        (0..requests).map(|_| heads.asked(false).1).collect()
    }

    #[test]
    fn each_line_of_each_head_ends_in_cr_lf() {
        let fine = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        for (text, expected) in [
            (fine.to_owned(), vec![true]),
            (format!("\r\n{fine}{fine}"), vec![true, true]),
            ("GET / HTTP/1.1\nhost: a\r\n\r\n".into(), vec![false]),
            ("GET / HTTP/1.1\r\nhost: a\n\r\n".into(), vec![false]),
            ("GET / HTTP/1.1\r\nhost: a\r\n\n".into(), vec![false]),
            ("GET / HTTP/1.1\n\n".into(), vec![false]),
            (format!("{fine}GET / HTTP/1.1\nhost: a\r\n\r\n"), vec![true, false]),
        ] {
            for size in [1, 2, 3, 1000] {
                assert_eq!(clean(&text, size, expected.len()), expected, "{text:?} by {size}");
            }
        }
    }

    #[test]
    fn a_body_has_lines_as_it_likes() {
        let heads = Heads::default();
        assert!(heads.came(b"POST / HTTP/1.1\r\n\r\na\nb"));
        let (busy, is_clean) = heads.asked(true);
        assert!(!heads.came(b"c\n\nd") && is_clean);
        drop(busy);
        assert!(heads.came(b"GET / HTTP/1.1\r\n") && !heads.is_in_first_line());
        assert!(!heads.came(b"\r\n") && !heads.is_in_first_line(), "it is whole");
        assert!(heads.asked(false).1 && heads.is_in_first_line());
        assert!(heads.came(b"GET / HTTP/1.1\n\n"));
        assert!(!heads.asked(false).1);
    }
}
