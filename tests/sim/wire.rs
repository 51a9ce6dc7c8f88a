//! HTTP/1.1 as plain as it gets, at the reader's own pace. It shares no code with the gateway.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::sleep;

use crate::network::Network;

/// How somebody reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// So many bytes at a time.
    pub(crate) bytes: usize,
    /// With such pauses in between.
    pub(crate) pause: Duration,
    /// So many can be on the way.
    pub(crate) buffer_bytes: usize,
}

impl Pace {
    pub(crate) const QUICK: Self = Self { bytes: 65_536, pause: Duration::ZERO, buffer_bytes: 65_536 };
}

/// An answer, whose body is still to be read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    stream: UnixStream,
    network: Network,
    pace: Pace,
    unread: Vec<u8>,
    left: Left,
    /// The connection is cut after so many bytes more of the body.
    pub(crate) cut: Option<usize>,
}

/// What is left of a body.
#[derive(Debug)]
enum Left {
    Bytes(usize),
    /// Of this chunk, and behind it more chunks.
    Chunk(usize),
    UntilClose,
}

/// One request on a connection of its own.
pub(crate) async fn call(
    network: &Network,
    pace: Pace,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Answer> {
    let mut stream = network.dial(pace.buffer_bytes)?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:8080\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    request.push_str(body);
    stream.write_all(request.as_bytes()).await?;
    let left = Left::UntilClose;
    let (network, head, unread) = (network.clone(), String::new(), Vec::new());
    let mut answer = Answer { status: 0, head, stream, network, pace, unread, left, cut: None };
    answer.read_head().await?;
    Ok(answer)
}

impl Answer {
    async fn read_head(&mut self) -> io::Result<()> {
        let end = loop {
            if let Some(at) = find(&self.unread, b"\r\n\r\n") {
                break at + 4;
            }
            if self.read().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        self.head = String::from_utf8(head).expect("heads are text").to_ascii_lowercase();
        self.status = self.head.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
        self.left = match (self.header("transfer-encoding"), self.header("content-length")) {
            (Some("chunked"), None) => Left::Chunk(0),
            (None, Some(length)) => Left::Bytes(length.parse().expect("a length")),
            (None, None) if self.status == 204 => Left::Bytes(0),
            (None, None) => Left::UntilClose,
            other => panic!("{other:?}"),
        };
        Ok(())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    async fn read(&mut self) -> io::Result<usize> {
        if !self.pace.pause.is_zero() {
            sleep(self.pace.pause).await;
        }
        let mut buffer = vec![0; self.pace.bytes];
        let len = self.stream.read(&mut buffer).await?;
        self.network.moved();
        self.unread.extend_from_slice(&buffer[..len]);
        Ok(len)
    }

    /// More of the body; nothing at its end. A body that breaks off, or is cut, is an error.
    pub(crate) async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let wanted = match &mut self.left {
                Left::Bytes(0) => return Ok(None),
                Left::Bytes(left) => *left,
                Left::UntilClose => usize::MAX,
                Left::Chunk(0) => {
                    let Some(at) = find(&self.unread, b"\r\n") else {
                        self.more().await?;
                        continue;
                    };
                    let line: Vec<u8> = self.unread.drain(..at + 2).collect();
                    let size = std::str::from_utf8(&line[..at]).expect("the size of a chunk");
                    let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
                    if size == 0 {
                        self.left = Left::Bytes(0);
                    } else {
                        // With the line end behind it.
                        self.left = Left::Chunk(size + 2);
                    }
                    continue;
                }
                Left::Chunk(2) => {
                    if self.unread.len() < 2 {
                        self.more().await?;
                        continue;
                    }
                    let end: Vec<u8> = self.unread.drain(..2).collect();
                    assert_eq!(end, b"\r\n", "behind a chunk");
                    self.left = Left::Chunk(0);
                    continue;
                }
                Left::Chunk(left) => *left - 2,
            };
            if self.unread.is_empty() {
                let is_until_close = matches!(self.left, Left::UntilClose);
                if self.read().await? == 0 {
                    return if is_until_close { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
                }
            }
            let len = self.unread.len().min(wanted).min(self.cut.unwrap_or(usize::MAX));
            if let Some(cut) = &mut self.cut {
                if *cut == 0 {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                *cut -= len;
            }
            if let Left::Bytes(left) | Left::Chunk(left) = &mut self.left {
                *left -= len;
            }
            return Ok(Some(self.unread.drain(..len).collect()));
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.read().await? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// All that is left of the body, and whether it ended as it should.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            match self.chunk().await {
                Ok(Some(chunk)) => body.extend(chunk),
                Ok(None) => return (body, true),
                Err(_) => return (body, false),
            }
        }
    }

    /// A body that is JSON, unless it breaks off.
    pub(crate) async fn json(&mut self) -> Option<Value> {
        let (body, is_whole) = self.rest().await;
        is_whole.then(|| serde_json::from_slice(&body).expect("JSON"))
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
