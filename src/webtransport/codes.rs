//! Codes of streams and sessions, and how they stand on the wire.

use wtransport::VarInt;

/// Why a stream or a session was closed, beside what was said in band.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Done = 0,
    Draining = 1,
    Protocol = 2,
    Slow = 3,
    UnexpectedStream = 4,
}

/// Where WebTransport's application codes begin in the space of HTTP/3 codes, which has a reserved one in every 0x1f.
const FIRST: u64 = 0x52e4_a40f_a8db;

impl Code {
    /// As WebTransport over HTTP/3 maps it; a page gets the number itself back.
    pub(super) fn wire(self) -> VarInt {
        let code = self as u64;
        VarInt::try_from_u64(FIRST + code + code / 0x1e).expect("below 2^62")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_keep_their_distance() {
        assert_eq!(Code::Done.wire().into_inner(), 0x52e4_a40f_a8db);
        assert_eq!(Code::UnexpectedStream.wire().into_inner(), 0x52e4_a40f_a8df);
    }
}
