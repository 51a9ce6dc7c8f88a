//! What the provider says: a server that follows the script in each request. Its clock is open: each token has its time,
//! whatever became of the one before it, and says how late it was sent. All streams wait until they are released.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ring::digest::{Context, SHA256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::{now_ns, until};
use crate::hex::hex;
use crate::script::Script;
use crate::tally::Times;
use crate::token::Token;
use crate::{Fault, http};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
/// Tokens in one write, when they are all due.
const TOGETHER_MAX: u64 = 16;

/// A scripted provider in this process.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) addr: SocketAddr,
    desk: Arc<Desk>,
    _task: JoinSet<()>,
}

/// What all its connections share.
#[derive(Debug)]
struct Desk {
    begin: watch::Sender<Option<u64>>,
    said: Mutex<Said>,
}

/// What the provider has said so far.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Bytes and SHA-256 of each answer that is complete.
    pub(crate) answers: HashMap<u32, (u64, String)>,
    /// Calls by stream.
    pub(crate) calls: HashMap<u32, u64>,
    pub(crate) tokens: u64,
    /// How much later than due tokens were sent.
    pub(crate) late: Times,
}

impl Provider {
    pub(crate) async fn start(listen: SocketAddr) -> Result<Self, Fault> {
        let bound = TcpListener::bind(listen).await;
        let listener = bound.map_err(|error| format!("the provider cannot listen on {listen}: {error}"))?;
        let addr = listener.local_addr()?;
        let desk = Arc::new(Desk { begin: watch::Sender::new(None), said: Mutex::default() });
        let mut task = JoinSet::new();
        task.spawn(accept(listener, desk.clone()));
        Ok(Self { addr, desk, _task: task })
    }

    /// From then on everything goes by its schedule.
    pub(crate) fn begin(&self, at_ns: u64) {
        self.desk.begin.send_replace(Some(at_ns));
    }

    pub(crate) fn said<T>(&self, of: impl FnOnce(&mut Said) -> T) -> T {
        self.desk.said(of)
    }
}

impl Desk {
    fn said<T>(&self, of: impl FnOnce(&mut Said) -> T) -> T {
        of(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn accept(listener: TcpListener, desk: Arc<Desk>) {
    let mut serving = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let desk = desk.clone();
        serving.spawn(async move {
            // A gateway that hangs up is its viewers' trouble, and they say so.
            let _ = serve(socket, &desk).await;
        });
        while serving.try_join_next().is_some() {}
    }
}

async fn serve(mut socket: TcpStream, desk: &Desk) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut request = Vec::new();
    loop {
        let len = loop {
            match http::request_len(&request) {
                Some(len) if request.len() >= len => break len,
                _ => {}
            }
            if socket.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        };
        let body = memchr::memmem::find(&request[..len], b"\r\n\r\n").map_or(0, |at| at + 4);
        match Script::asked_by(&request[body..len]) {
            Some(script) => answer(&mut socket, desk, &script).await?,
            None => socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await?,
        }
        request.drain(..len);
    }
}

async fn answer(socket: &mut TcpStream, desk: &Desk, script: &Script) -> io::Result<()> {
    desk.said(|said| *said.calls.entry(script.stream).or_default() += 1);
    socket.write_all(HEAD.as_bytes()).await?;
    let begin = desk.begin.subscribe().wait_for(Option::is_some).await.map_or(0, |begin| begin.unwrap_or(0));
    let due = |number| begin + script.due(number).as_nanos() as u64;
    let mut body = Body { socket, hash: Context::new(&SHA256), bytes: 0 };
    let mut blocks = Vec::new();
    script.opening(&mut blocks);
    until(due(0)).await;
    body.write(&blocks).await?;
    let mut next = 0;
    while next < script.tokens {
        until(due(next)).await;
        let now = now_ns();
        let together = (next..script.tokens).take_while(|number| due(*number) <= now).count() as u64;
        let last = next + together.clamp(1, TOGETHER_MAX);
        blocks.clear();
        for number in next..last {
            let (stream, due_ns) = (script.stream, due(number));
            let late = Duration::from_nanos(now.saturating_sub(due_ns));
            let late_us = u32::try_from(late.as_micros()).unwrap_or(u32::MAX);
            script.say(Token { stream, number, due_ns, late_us }, &mut blocks);
            desk.said(|said| {
                said.tokens += 1;
                said.late.add(late);
            });
        }
        body.write(&blocks).await?;
        next = last;
    }
    blocks.clear();
    script.closing(&mut blocks);
    body.write(&blocks).await?;
    let Body { socket, hash, bytes } = body;
    desk.said(|said| said.answers.insert(script.stream, (bytes, hex(hash.finish().as_ref()))));
    socket.write_all(b"0\r\n\r\n").await
}

/// A body in chunks.
struct Body<'a> {
    socket: &'a mut TcpStream,
    hash: Context,
    bytes: u64,
}

impl Body<'_> {
    async fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        self.hash.update(blocks);
        self.bytes += blocks.len() as u64;
        let mut chunk = format!("{:x}\r\n", blocks.len()).into_bytes();
        chunk.extend_from_slice(blocks);
        chunk.extend_from_slice(b"\r\n");
        self.socket.write_all(&chunk).await
    }
}
