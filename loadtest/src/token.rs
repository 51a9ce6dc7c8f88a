//! What a token says about itself: its stream, its number, when it was due and when it was really sent. So whoever gets
//! it, over whatever wire and in whatever process, can check its order and its age without asking anybody.

use std::io::Write as _;

/// `~STREAM.NUMBER.DUE.LATE`, each in hexadecimal.
pub(crate) const BYTES_MIN: usize = 40;
pub(crate) const BYTES_MAX: usize = 4096;
pub(crate) const STREAMS_MAX: u64 = 1 << 16;
const MARK: u8 = b'~';
const LETTERS: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) stream: u32,
    /// From 0.
    pub(crate) number: u64,
    /// When the schedule wanted it to be sent, in nanoseconds of [`crate::clock`].
    pub(crate) due_ns: u64,
    /// How much later it was sent.
    pub(crate) late_us: u32,
}

impl Token {
    /// Appends exactly so many bytes.
    pub(crate) fn write(&self, bytes: usize, out: &mut Vec<u8>) {
        let end = out.len() + bytes;
        let Self { stream, number, due_ns, late_us } = self;
        write!(out, "~{stream:04x}.{number:08x}.{due_ns:016x}.{late_us:08x}").expect("memory takes it");
        out.extend((out.len()..end).map(|at| letter(*number, end - at)));
    }

    pub(crate) fn sent_ns(&self) -> u64 {
        self.due_ns + u64::from(self.late_us) * 1000
    }

    /// The token at the beginning of these bytes.
    fn read(bytes: &[u8]) -> Option<Self> {
        let head = std::str::from_utf8(bytes.get(1..BYTES_MIN)?).ok()?;
        let mut fields = head.split('.');
        let mut field = |len: usize| fields.next().filter(|field| field.len() == len);
        let (stream, number, due, late) = (field(4)?, field(8)?, field(16)?, field(8)?);
        Some(Self {
            stream: u32::from_str_radix(stream, 16).ok()?,
            number: u64::from_str_radix(number, 16).ok()?,
            due_ns: u64::from_str_radix(due, 16).ok()?,
            late_us: u32::from_str_radix(late, 16).ok()?,
        })
    }
}

/// The letter that stands so far before the end of that token.
fn letter(number: u64, before_end: usize) -> u8 {
    LETTERS[(number as usize + before_end) % LETTERS.len()]
}

/// The next whole token in the bytes, wherever it begins, and how many bytes are done with behind it. What is between
/// tokens is the wire's. The error is a token that is not as it was written.
pub(crate) fn next(bytes: &[u8], token_bytes: usize) -> Result<Option<(Token, usize)>, String> {
    let Some(at) = memchr::memchr(MARK, bytes) else { return Ok(None) };
    let Some(whole) = bytes.get(at..at + token_bytes) else { return Ok(None) };
    let said = || String::from_utf8_lossy(whole).into_owned();
    let token = Token::read(whole).ok_or_else(|| format!("this is no token: {:?}", said()))?;
    let filler = whole.iter().enumerate().skip(BYTES_MIN);
    if filler.into_iter().any(|(at, byte)| *byte != letter(token.number, token_bytes - at)) {
        return Err(format!("a token is not as it was sent: {:?}", said()));
    }
    Ok(Some((token, at + token_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = Token { stream: 7, number: 300, due_ns: 123_456_789_012, late_us: 1500 };

    #[test]
    fn what_is_written_is_read() {
        for bytes in [BYTES_MIN, 64, BYTES_MAX] {
            let mut out = b"data: [\"".to_vec();
            TOKEN.write(bytes, &mut out);
            assert_eq!(out.len(), 8 + bytes);
            out.extend_from_slice(b"\"]");
            assert_eq!(next(&out, bytes), Ok(Some((TOKEN, 8 + bytes))));
            assert_eq!(next(&out[..out.len() - 3], bytes), Ok(None), "half of it has to wait");
        }
        assert_eq!(TOKEN.sent_ns(), 123_458_289_012);
        assert_eq!(next(b": heartbeat\n\n", 64), Ok(None));
    }

    #[test]
    fn a_changed_byte_is_seen() {
        let mut out = Vec::new();
        TOKEN.write(64, &mut out);
        for at in 1..64 {
            let mut changed = out.clone();
            changed[at] = b'#';
            assert!(next(&changed, 64).is_err(), "byte {at}");
        }
    }
}
