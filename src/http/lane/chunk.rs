//! A chunk of a body as it goes to a socket, made once for all who are sent the same.

use std::io::{self, IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Up to here a chunk is copied into one piece: that is cheaper than three of them for each viewer. What is larger is
/// shared with the log, also while it waits for a slow viewer.
const ONE_PIECE_BYTES: usize = 4 * 1024;
/// Behind the last chunk.
const LAST: &[u8] = b"0\r\n\r\n";

#[derive(Debug, Clone)]
pub(super) struct Chunk {
    parts: [Bytes; 3],
    /// Of the body.
    len: usize,
}

impl Chunk {
    pub(super) fn of(bytes: Bytes) -> Self {
        Self::between(&[], bytes, &[])
    }

    /// The first one, behind the head of the answer.
    pub(super) fn first(head: &[u8], bytes: Bytes) -> Self {
        Self::between(head, bytes, &[])
    }

    /// The last one with content, and the end of the body.
    pub(super) fn last(bytes: Bytes) -> Self {
        Self::between(&[], bytes, LAST)
    }

    fn between(before: &[u8], bytes: Bytes, after: &[u8]) -> Self {
        let len = bytes.len();
        let size = if len == 0 { String::new() } else { format!("{len:x}\r\n") };
        let border: &[u8] = if len == 0 { b"" } else { b"\r\n" };
        let parts = if len <= ONE_PIECE_BYTES {
            let all = [before, size.as_bytes(), &bytes, border, after];
            let mut whole = BytesMut::with_capacity(all.iter().map(|part| part.len()).sum());
            all.iter().for_each(|part| whole.put_slice(part));
            [whole.freeze(), Bytes::new(), Bytes::new()]
        } else {
            [[before, size.as_bytes()].concat().into(), bytes, [border, after].concat().into()]
        };
        Self { parts, len }
    }

    /// Bytes of the body in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that are left to write.
    pub(super) fn left(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Hands the socket as much as it takes, past the runtime: it does not find out if that is nothing.
    pub(super) fn send_to(&self, stream: &TcpStream) -> io::Result<usize> {
        let socket = SockRef::from(stream);
        match &self.parts {
            [whole, second, third] if second.is_empty() && third.is_empty() => socket.send(whole),
            parts => socket.send_vectored(&parts.each_ref().map(|part| IoSlice::new(part))),
        }
    }

    /// Hands the socket as much as it takes.
    pub(super) fn write_to(&self, stream: &TcpStream) -> io::Result<usize> {
        stream.try_io(Interest::WRITABLE, || self.send_to(stream))
    }

    /// So much was written.
    pub(super) fn advance(&mut self, mut written: usize) {
        for part in &mut self.parts {
            let taken = written.min(part.len());
            part.advance(taken);
            written -= taken;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(chunk: &Chunk) -> Vec<u8> {
        chunk.parts.concat()
    }

    #[test]
    fn chunks_are_as_http_wants_them() {
        let check = |chunk: &Chunk, want: &[u8]| {
            assert_eq!((wire(chunk), chunk.left()), (want.to_vec(), want.len()));
        };
        check(&Chunk::of(Bytes::from_static(b"0123456789abcdef")), b"10\r\n0123456789abcdef\r\n");
        check(&Chunk::first(b"head\r\n\r\n", Bytes::from_static(b"a")), b"head\r\n\r\n1\r\na\r\n");
        check(&Chunk::first(b"head\r\n\r\n", Bytes::new()), b"head\r\n\r\n");
        check(&Chunk::last(Bytes::from_static(b"a")), b"1\r\na\r\n0\r\n\r\n");
        check(&Chunk::last(Bytes::new()), LAST);
    }

    #[test]
    fn what_is_left_is_the_rest_wherever_a_write_stops() {
        for len in [10, ONE_PIECE_BYTES + 1] {
            let chunk = Chunk::last(vec![b'x'; len].into());
            let whole = wire(&chunk);
            for written in [0, 1, 3, 7, len, whole.len() - 6, whole.len() - 1, whole.len()] {
                let mut rest = chunk.clone();
                rest.advance(written);
                assert_eq!(wire(&rest), whole[written..], "{written} of {len}");
            }
        }
    }
}
