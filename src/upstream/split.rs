//! Bytes → blocks. The splitter owns the provider's bytes and cuts them byte-exact:
//! `concat(blocks) == body`.
//!
//! * **SSE**: a block ends with the first blank line after a non-empty line. A BOM at the very start of the
//!   body and further blank lines belong to the front of the next block; a comment is a line like any other.
//!   A line ends in CR, LF or CRLF, mixed at will. A blank line that ends in CR ends the block at once after
//!   a line that ended in a bare CR, and an LF that follows belongs to the next block. After a line that
//!   ended in LF or CRLF one more byte is awaited, so that a CRLF stays whole.
//! * **NDJSON**: one line with its LF.
//! * What is left when the body ends is the last block, complete or not.
//!
//! Borders depend on the bytes alone, never on how they were chunked: all that survives a chunk is `At`.
//! Every byte is looked at once, and one that lies in a block within one chunk is never copied.

#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr2};

pub use crate::dialect::Framing;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One block, exactly as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The block's bytes, its line ends included.
    pub bytes: Bytes,
    /// Whether the block has its proper end. One that lacks it belongs to the log, but yields no events.
    pub complete: bool,
}

/// A block is larger than allowed. The body cannot be cut any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the provider sent a block of more than {block_bytes_max} bytes")]
pub struct TooLarge {
    pub block_bytes_max: usize,
}

/// Cuts one response body into blocks.
#[derive(Debug)]
pub struct Splitter {
    at: At,
    block_bytes_max: usize,
    /// The front of a block that began in an earlier chunk; at most `block_bytes_max` bytes.
    carry: BytesMut,
    /// A block was too large. Its rest must not come out as if it were a block.
    failed: bool,
}

/// Where in the current block the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// SSE: at the start of the body, after this many bytes of a BOM.
    Bom(usize),
    /// SSE: before the first non-empty line.
    Front,
    /// SSE: inside a non-empty line.
    Line,
    /// SSE: after a non-empty line that ended in LF or CRLF.
    AfterLf,
    /// SSE: after a non-empty line that ended in CR, perhaps the first half of a CRLF.
    AfterCr,
    /// SSE: the block has its blank line; an LF now would be the second half of that line's CRLF.
    Ended,
    /// NDJSON: anywhere.
    Ndjson,
}

impl Splitter {
    /// A splitter for one body, with the size in bytes that no block may exceed.
    pub fn new(framing: Framing, block_bytes_max: usize) -> Self {
        let at = match framing {
            Framing::Sse => At::Bom(0),
            Framing::Ndjson => At::Ndjson,
        };
        Self { at, block_bytes_max, carry: BytesMut::new(), failed: false }
    }

    /// Takes the next chunk of the body and appends every block that it completes. Blocks before one that is
    /// too large are still appended; after that every call fails.
    pub fn push(&mut self, mut chunk: Bytes, out: &mut impl Extend<Piece>) -> Result<(), TooLarge> {
        while !self.failed {
            let end = self.scan(&chunk);
            // Without an end, every byte of the chunk belongs to this block.
            let more = chunk.split_to(end.unwrap_or(chunk.len()));
            if self.carry.len().saturating_add(more.len()) > self.block_bytes_max {
                self.failed = true;
                self.carry = BytesMut::new();
                break;
            }
            if end.is_none() && (more.is_empty() || !cfg!(planted_bug = "chunks_make_blocks")) {
                self.carry.extend_from_slice(&more);
                return Ok(());
            }
            let bytes = if self.carry.is_empty() {
                more
            } else {
                self.carry.extend_from_slice(&more);
                self.carry.split().freeze()
            };
            out.extend([Piece { bytes, complete: true }]);
        }
        Err(TooLarge { block_bytes_max: self.block_bytes_max })
    }

    /// The last block: what is left when the body ends, cleanly or not.
    pub fn finish(&mut self) -> Option<Piece> {
        let bytes = self.carry.split().freeze();
        let complete = match self.at {
            At::Ended => true,
            At::Ndjson => !bytes.trim_ascii().is_empty(),
            At::Bom(_) | At::Front | At::Line | At::AfterLf | At::AfterCr => false,
        };
        (!bytes.is_empty()).then_some(Piece { bytes, complete })
    }

    /// How many of `bytes` belong to the current block, if it ends among them or right before them.
    fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut i: usize = 0;
        loop {
            match self.at {
                At::Line => i = i.saturating_add(memchr2(b'\r', b'\n', bytes.get(i..)?)?),
                At::Ndjson => return memchr(b'\n', bytes).map(|lf| lf.saturating_add(1)),
                _ => {}
            }
            let byte = *bytes.get(i)?;
            let next = match (self.at, byte) {
                (At::Bom(n), _) if BOM.get(n) == Some(&byte) => At::Bom(n.saturating_add(1)),
                // One or two bytes of a BOM are the start of a line, and of an invalid one.
                (At::Bom(1 | 2) | At::Line, b'\n') => At::AfterLf,
                (At::Bom(1 | 2) | At::Line, b'\r') => At::AfterCr,
                (At::Bom(_) | At::Front, b'\r' | b'\n') => At::Front,
                (At::AfterCr, b'\n') => At::AfterLf,
                (At::AfterLf, b'\r') => At::Ended,
                (At::AfterLf | At::Ended, b'\n') | (At::AfterCr, b'\r') => {
                    self.at = At::Front;
                    return Some(i.saturating_add(1));
                }
                (At::Ended, _) => {
                    self.at = At::Front;
                    return Some(i);
                }
                _ => At::Line,
            };
            self.at = next;
            i = i.saturating_add(1);
        }
    }
}

/// Whether a block has nothing but comments in it.
pub fn is_comment(block: &[u8]) -> bool {
    let block = block.strip_prefix(b"\xef\xbb\xbf").unwrap_or(block);
    let lines = block.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.into_iter().all(|line| line.is_empty() || line.starts_with(b":"))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    /// What comes out of `body` in these chunks: pieces, and whether a block was too large.
    fn cut(framing: Framing, block_bytes_max: usize, chunks: &[&[u8]]) -> (Vec<Piece>, bool) {
        let mut splitter = Splitter::new(framing, block_bytes_max);
        let mut out = Vec::new();
        let mut failed = false;
        for chunk in chunks {
            let result = splitter.push(Bytes::copy_from_slice(chunk), &mut out);
            assert!(result.is_err() || !failed, "an error is for ever");
            failed = result.is_err();
            assert!(splitter.carry.len() <= block_bytes_max);
        }
        out.extend(splitter.finish());
        assert_eq!(splitter.finish(), None);
        (out, failed)
    }

    fn each_chunking(body: &[u8], mut f: impl FnMut(&[&[u8]])) {
        f(&[body]);
        f(&body.chunks(1).collect::<Vec<_>>());
        f(&body.chunks(1).flat_map(|byte| [&[][..], byte]).collect::<Vec<_>>());
        for i in 0..=body.len() {
            f(&[&body[..i], &body[i..]]);
        }
    }

    /// Expected blocks; one that is not complete begins with `~`, which no input contains.
    fn check_framing(framing: Framing, body: &[u8], expected: &[&[u8]]) {
        let expected: Vec<Piece> = expected
            .iter()
            .map(|block| match block.strip_prefix(b"~") {
                Some(rest) => Piece { bytes: Bytes::copy_from_slice(rest), complete: false },
                None => Piece { bytes: Bytes::copy_from_slice(block), complete: true },
            })
            .collect();
        each_chunking(body, |chunks| {
            let (pieces, failed) = cut(framing, 1 << 20, chunks);
            assert!(!failed);
            assert_eq!(pieces, expected, "{:?} as {chunks:?}", body.escape_ascii().to_string());
        });
        let joined: Vec<u8> = expected.iter().flat_map(|piece| piece.bytes.to_vec()).collect();
        assert_eq!(joined, body, "the table itself must be lossless");
    }

    fn check(body: &[u8], expected: &[&[u8]]) {
        check_framing(Framing::Sse, body, expected);
    }

    #[test]
    fn blank_lines_end_blocks() {
        check(b"", &[]);
        check(b"data: a\n\n", &[b"data: a\n\n"]);
        check(b"data: a\n\ndata: b\n\n", &[b"data: a\n\n", b"data: b\n\n"]);
        check(b"data: a\ndata: b\n\nc\n\n", &[b"data: a\ndata: b\n\n", b"c\n\n"]);
        check(b" \n\n", &[b" \n\n"]);
        check(b"\0\n\n", &[b"\0\n\n"]);
        check("\u{2028}\u{85}\n\n".as_bytes(), &["\u{2028}\u{85}\n\n".as_bytes()]);
    }

    #[test]
    fn a_comment_is_a_block() {
        check(b":\n\n: hb\n\n", &[b":\n\n", b": hb\n\n"]);
        check(b": hb\n", &[b"~: hb\n"]);
        check(b": hb\ndata: a\n\n", &[b": hb\ndata: a\n\n"]);
    }

    #[test]
    fn every_line_end() {
        // A non-empty line and a blank one, then the next block.
        check(b"a\n\nb\n\n", &[b"a\n\n", b"b\n\n"]);
        check(b"a\n\rb\n\n", &[b"a\n\r", b"b\n\n"]);
        check(b"a\n\r\nb\n\n", &[b"a\n\r\n", b"b\n\n"]);
        check(b"a\r\rb\n\n", &[b"a\r\r", b"b\n\n"]);
        check(b"a\r\r\nb\n\n", &[b"a\r\r", b"\nb\n\n"]);
        check(b"a\r\n\nb\n\n", &[b"a\r\n\n", b"b\n\n"]);
        check(b"a\r\n\rb\n\n", &[b"a\r\n\r", b"b\n\n"]);
        check(b"a\r\n\r\nb\n\n", &[b"a\r\n\r\n", b"b\n\n"]);
        // The same line ends, but no blank line.
        check(b"a\r\nb\rc\nd\n\n", &[b"a\r\nb\rc\nd\n\n"]);
        // The same without anything behind them.
        check(b"a\n\r", &[b"a\n\r"]);
        check(b"a\r\n\r", &[b"a\r\n\r"]);
        check(b"a\r\r", &[b"a\r\r"]);
        check(b"a\r\r\n", &[b"a\r\r", b"~\n"]);
        check(b"a\n\r\n", &[b"a\n\r\n"]);
        check(b"a\n\r\r\n", &[b"a\n\r", b"~\r\n"]);
        // The line that decides is the one before the blank line.
        check(b"a\rb\n\r\nc\n\n", &[b"a\rb\n\r\n", b"c\n\n"]);
        check(b"a\nb\r\r\nc\n\n", &[b"a\nb\r\r", b"\nc\n\n"]);
        check(b"a\r\n\r\n\r\nb\r\n\r\n", &[b"a\r\n\r\n", b"\r\nb\r\n\r\n"]);
    }

    #[test]
    fn further_blank_lines_are_the_front_of_the_next_block() {
        check(b"\n\r\r\n\ndata: a\n\n", &[b"\n\r\r\n\ndata: a\n\n"]);
        check(b"a\n\n\n\n\nb\n\n\n", &[b"a\n\n", b"\n\n\nb\n\n", b"~\n"]);
        check(b"\n", &[b"~\n"]);
        check(b"\r", &[b"~\r"]);
        check(b"\r\n\n\r\r\n", &[b"~\r\n\n\r\r\n"]);
    }

    #[test]
    fn a_bom_is_the_front_of_the_first_block_only() {
        check(b"\xEF\xBB\xBFdata: a\n\n", &[b"\xEF\xBB\xBFdata: a\n\n"]);
        check(b"\xEF\xBB\xBF\n\ndata: a\n\n", &[b"\xEF\xBB\xBF\n\ndata: a\n\n"]);
        check(b"\xEF\xBB\xBF\r\r\na\r\r", &[b"\xEF\xBB\xBF\r\r\na\r\r"]);
        check(b"\xEF\xBB\xBF", &[b"~\xEF\xBB\xBF"]);
        check(b"\xEF\xBB\xBF\n\n", &[b"~\xEF\xBB\xBF\n\n"]);
        // Anywhere else it is content.
        check(b"\xEF\xBB\xBF\xEF\xBB\xBF\n\na\n\n", &[b"\xEF\xBB\xBF\xEF\xBB\xBF\n\n", b"a\n\n"]);
        check(b"\xEF\xBB\xBF\n\xEF\xBB\xBF\n\n", &[b"\xEF\xBB\xBF\n\xEF\xBB\xBF\n\n"]);
        check(b"\n\xEF\xBB\xBF\n\na\n\n", &[b"\n\xEF\xBB\xBF\n\n", b"a\n\n"]);
        check(b"a\n\n\xEF\xBB\xBF\n\n", &[b"a\n\n", b"\xEF\xBB\xBF\n\n"]);
        // So is a part of it.
        check(b"\xEF\n\na\n\n", &[b"\xEF\n\n", b"a\n\n"]);
        check(b"\xEF\xBB\r\ra\n\n", &[b"\xEF\xBB\r\r", b"a\n\n"]);
        check(b"\xEF\xBBx\n\n", &[b"\xEF\xBBx\n\n"]);
        check(b"\xEF\xEF\xBB\xBF\n\n", &[b"\xEF\xEF\xBB\xBF\n\n"]);
        check(b"\xEF\xBB", &[b"~\xEF\xBB"]);
    }

    #[test]
    fn what_is_left_is_the_last_block() {
        check(b"data: a", &[b"~data: a"]);
        check(b"data: a\n", &[b"~data: a\n"]);
        check(b"data: a\r", &[b"~data: a\r"]);
        check(b"data: a\r\n", &[b"~data: a\r\n"]);
        check(b"a\n\ndata: [DONE]", &[b"a\n\n", b"~data: [DONE]"]);
        check(b"a\n\n\n\ndata: \xF0\x9F", &[b"a\n\n", b"~\n\ndata: \xF0\x9F"]);
    }

    #[test]
    fn ndjson_is_one_line_per_block() {
        let check = |body: &[u8], expected: &[&[u8]]| check_framing(Framing::Ndjson, body, expected);
        check(b"", &[]);
        check(b"{}\n{\"a\":1}\r\n", &[b"{}\n", b"{\"a\":1}\r\n"]);
        check(b"{}\n\n\n{}\n", &[b"{}\n", b"\n", b"\n", b"{}\n"]);
        check(b"{\r}\r\r\n", &[b"{\r}\r\r\n"]);
        check(b"{}\n{\"done\":true}", &[b"{}\n", b"{\"done\":true}"]);
        check(b"{}\n \t\r", &[b"{}\n", b"~ \t\r"]);
    }

    /// `None` stands for the block that is too large.
    fn check_limit(framing: Framing, block_bytes_max: usize, body: &[u8], expected: &[Option<&[u8]>]) {
        each_chunking(body, |chunks| {
            let (pieces, failed) = cut(framing, block_bytes_max, chunks);
            let got: Vec<_> =
                pieces.iter().map(|piece| Some(&piece.bytes[..])).chain(failed.then_some(None)).collect();
            assert_eq!(got, expected, "{:?} as {chunks:?}", body.escape_ascii().to_string());
        });
    }

    #[test]
    fn no_block_exceeds_the_limit() {
        let (sse, ndjson) = (Framing::Sse, Framing::Ndjson);
        check_limit(sse, 5, b"abc\n\n", &[Some(b"abc\n\n")]);
        check_limit(sse, 4, b"abc\n\n", &[None]);
        check_limit(sse, 5, b"a\n\nabc\n\nb\n\n", &[Some(b"a\n\n"), Some(b"abc\n\n"), Some(b"b\n\n")]);
        check_limit(sse, 4, b"a\n\nabc\n\nb\n\n", &[Some(b"a\n\n"), None]);
        // What is not terminated counts in the same way, and so does a front of blank lines.
        check_limit(sse, 4, b"a\n\nabcd", &[Some(b"a\n\n"), Some(b"abcd")]);
        check_limit(sse, 4, b"a\n\nabcde", &[Some(b"a\n\n"), None]);
        check_limit(sse, 4, b"\n\n\n\n\n", &[None]);
        check_limit(sse, 4, b"a\n\n\n\n\n\n", &[Some(b"a\n\n"), Some(b"\n\n\n\n")]);
        // The LF that is awaited may be the byte too much, or the first of the next block.
        check_limit(sse, 4, b"ab\n\rc", &[Some(b"ab\n\r"), Some(b"c")]);
        check_limit(sse, 4, b"ab\n\r", &[Some(b"ab\n\r")]);
        check_limit(sse, 4, b"ab\n\r\n", &[None]);
        check_limit(sse, 4, b"ab\r\r\n", &[Some(b"ab\r\r"), Some(b"\n")]);
        check_limit(sse, 0, b"", &[]);
        check_limit(sse, 0, b"a", &[None]);
        check_limit(ndjson, 3, b"{}\n{}\n", &[Some(b"{}\n"), Some(b"{}\n")]);
        check_limit(ndjson, 2, b"{}\n{}\n", &[None]);
        check_limit(ndjson, 3, b"{}\n[1]\n", &[Some(b"{}\n"), None]);
        check_limit(ndjson, 3, b"{}\n[1]", &[Some(b"{}\n"), Some(b"[1]")]);
    }

    #[test]
    fn a_block_within_one_chunk_is_not_copied() {
        let chunk = Bytes::from_static(b"data: a\n\ndata: b\n\n");
        let mut out = Vec::new();
        Splitter::new(Framing::Sse, 100).push(chunk.clone(), &mut out).unwrap();
        assert_eq!(out[0].bytes.as_ptr(), chunk.as_ptr());
        assert_eq!(out[1].bytes.as_ptr(), chunk[9..].as_ptr());
    }
}
