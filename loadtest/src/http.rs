//! As little HTTP/1.1 as a viewer needs: a request, a head, a body in chunks or of known length.

use std::io;
use std::net::{IpAddr, SocketAddr};

use memchr::memmem;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

const READ_BYTES: usize = 16 * 1024;
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// One connection, on which answers are read one after the other.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// Received and not yet decoded.
    raw: Vec<u8>,
    framing: Framing,
    /// Raw bytes that may still be taken before the connection is cut.
    pub(crate) budget: Option<usize>,
}

/// The head of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) status: u16,
}

/// How much of the body is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    /// Up to the end of the connection.
    Close,
    /// In front of a chunk's size.
    Size,
    Data(usize),
    /// Behind a chunk's data.
    Border,
    /// Behind the last chunk.
    Trailer,
    Over,
}

/// What a read of the body brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    More,
    /// The body is complete.
    Over,
    /// The budget is used up: the rest has not arrived.
    Cut,
}

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> io::Result<Self> {
        Self::with(TcpStream::connect(addr).await?)
    }

    /// With little room in our kernel, so that what is not read soon stays with the sender.
    pub(crate) async fn open_narrow(source: IpAddr, addr: SocketAddr) -> io::Result<Self> {
        let socket = from(source, addr)?;
        socket.set_recv_buffer_size(4096)?;
        Self::with(socket.connect(addr).await?)
    }

    /// From one of our addresses, each of which has ports of its own.
    pub(crate) async fn open_from(source: IpAddr, addr: SocketAddr) -> io::Result<Self> {
        Self::with(from(source, addr)?.connect(addr).await?)
    }

    fn with(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, raw: Vec::new(), framing: Framing::Over, budget: None })
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: &str,
    ) -> io::Result<()> {
        let host = self.stream.peer_addr()?;
        let length = match body.len() {
            0 => String::new(),
            len if headers.contains("content-type") => format!("content-length: {len}\r\n"),
            len => format!("content-type: application/json\r\ncontent-length: {len}\r\n"),
        };
        let request = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n{headers}{length}\r\n{body}");
        self.stream.write_all(request.as_bytes()).await
    }

    /// The head of the next answer; none when the budget ends within it.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = memmem::find(&self.raw, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.raw[..end]).to_ascii_lowercase();
                self.raw.drain(..end + 4);
                return self.read_head(&head).map(Some);
            }
            if self.raw.len() > HEAD_BYTES_MAX {
                return Err(invalid("the head is too large"));
            }
            match self.fill().await? {
                Fill::Some => {}
                Fill::Cut => return Ok(None),
                Fill::Eof => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    fn read_head(&mut self, head: &str) -> io::Result<Head> {
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(|| invalid("this is no status line"))?;
        self.framing = if status == 204 { Framing::Over } else { Framing::Close };
        for line in lines {
            match line.split_once(':').map(|(name, value)| (name, value.trim())) {
                Some(("content-length", value)) => {
                    self.framing = Framing::Length(value.parse().map_err(|_| invalid("this is no length"))?);
                }
                Some(("transfer-encoding", "chunked")) => self.framing = Framing::Size,
                _ => {}
            }
        }
        Ok(Head { status })
    }

    /// Reads once and appends what belongs to the body. The end of the connection before that of the body is an error.
    pub(crate) async fn body(&mut self, out: &mut Vec<u8>) -> io::Result<Progress> {
        let before = out.len();
        self.decode(out)?;
        if self.framing == Framing::Over {
            return Ok(Progress::Over);
        }
        if out.len() > before {
            return Ok(Progress::More);
        }
        match self.fill().await? {
            Fill::Some => self.decode(out)?,
            Fill::Cut => return Ok(Progress::Cut),
            Fill::Eof if self.framing == Framing::Close => self.framing = Framing::Over,
            Fill::Eof => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(if self.framing == Framing::Over { Progress::Over } else { Progress::More })
    }

    /// The whole body.
    pub(crate) async fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        while self.body(&mut out).await? == Progress::More {}
        Ok(out)
    }

    /// Asks, and takes the whole answer.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: &str,
    ) -> io::Result<(u16, Vec<u8>)> {
        self.send(method, target, headers, body).await?;
        let head = self.head().await?.ok_or_else(|| invalid("cut"))?;
        Ok((head.status, self.rest().await?))
    }

    async fn fill(&mut self) -> io::Result<Fill> {
        let room = self.budget.map_or(READ_BYTES, |budget| budget.min(READ_BYTES));
        if room == 0 {
            return Ok(Fill::Cut);
        }
        // Readiness first, so that the buffer does not live in the task while it waits.
        self.stream.readable().await?;
        let mut buf = [0; READ_BYTES];
        let len = match self.stream.try_read(&mut buf[..room]) {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Fill::Some),
            Err(error) => return Err(error),
        };
        if let Some(budget) = &mut self.budget {
            *budget -= len;
        }
        self.raw.extend_from_slice(&buf[..len]);
        Ok(if len == 0 { Fill::Eof } else { Fill::Some })
    }

    fn decode(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let mut at = 0;
        loop {
            let rest = &self.raw[at..];
            let (taken, next) = match self.framing {
                Framing::Over => break,
                Framing::Close if rest.is_empty() => break,
                Framing::Close => {
                    out.extend_from_slice(rest);
                    (rest.len(), Framing::Close)
                }
                Framing::Length(0) => (0, Framing::Over),
                Framing::Data(0) => (0, Framing::Border),
                Framing::Length(len) | Framing::Data(len) => {
                    let part = len.min(rest.len());
                    if part == 0 {
                        break;
                    }
                    out.extend_from_slice(&rest[..part]);
                    let left = len - part;
                    let is_length = matches!(self.framing, Framing::Length(_));
                    (part, if is_length { Framing::Length(left) } else { Framing::Data(left) })
                }
                Framing::Size | Framing::Trailer | Framing::Border => {
                    let Some(end) = memmem::find(rest, b"\r\n") else { break };
                    let line = std::str::from_utf8(&rest[..end]).map_err(|_| invalid("this is no chunk"))?;
                    let next = match self.framing {
                        Framing::Border if line.is_empty() => Framing::Size,
                        Framing::Trailer if line.is_empty() => Framing::Over,
                        Framing::Trailer => Framing::Trailer,
                        Framing::Border => return Err(invalid("a chunk is longer than it says")),
                        _ => match usize::from_str_radix(line, 16) {
                            Ok(0) => Framing::Trailer,
                            Ok(len) => Framing::Data(len),
                            Err(_) => return Err(invalid("this is no chunk size")),
                        },
                    };
                    (end + 2, next)
                }
            };
            at += taken;
            self.framing = next;
        }
        self.raw.drain(..at);
        Ok(())
    }
}

/// A socket that is at that address of ours; unspecified leaves it to the system.
fn from(source: IpAddr, addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if !source.is_unspecified() {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    Ok(socket)
}

/// How many bytes a request takes, body included, once its head is whole.
pub(crate) fn request_len(bytes: &[u8]) -> Option<usize> {
    let end = memmem::find(bytes, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    Some(end + length.unwrap_or(0))
}

enum Fill {
    Some,
    Eof,
    Cut,
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
