//! A scripted provider on raw TCP: exactly these bytes, in exactly these pieces, and this end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::http::within;

/// How the body says where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Chunked,
    Length,
    /// By the end of the connection.
    Close,
}

/// How the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As the framing wants it.
    Clean,
    /// By a FIN in the middle.
    Cut,
    /// By a RST.
    Reset,
    /// Not at all: the client has to.
    Hang,
}

/// A place where a script waits until the test lets it go on.
#[derive(Debug, Clone)]
pub(crate) struct Hold(Arc<Semaphore>);

impl Hold {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets one script pass once.
    pub(crate) fn release(&self) {
        self.0.add_permits(1);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(Bytes),
    Wait(Hold),
    Pause(Duration),
}

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    framing: Framing,
    steps: Vec<Step>,
    ending: Ending,
    has_head: bool,
}

impl Script {
    pub(crate) fn new(status: &'static str, content_type: &str) -> Self {
        Self {
            status,
            headers: vec![("content-type", content_type.to_owned())],
            framing: Framing::Chunked,
            steps: Vec::new(),
            ending: Ending::Clean,
            has_head: true,
        }
    }

    pub(crate) fn sse() -> Self {
        Self::new("200 OK", "text/event-stream")
    }

    /// A whole body in one write.
    pub(crate) fn says(body: impl AsRef<[u8]>) -> Self {
        Self::sse().write(body)
    }

    /// Not even a head.
    pub(crate) fn nothing() -> Self {
        Self { has_head: false, ..Self::sse() }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(header, _)| *header != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn without_content_type(mut self) -> Self {
        self.headers.clear();
        self
    }

    pub(crate) fn framed(self, framing: Framing) -> Self {
        Self { framing, ..self }
    }

    pub(crate) fn ends(self, ending: Ending) -> Self {
        Self { ending, ..self }
    }

    /// Writes in one piece.
    pub(crate) fn write(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.steps.push(Step::Write(Bytes::copy_from_slice(bytes.as_ref())));
        self
    }

    /// Writes in pieces of these sizes, over and over.
    pub(crate) fn write_in(mut self, bytes: &[u8], sizes: &[usize]) -> Self {
        let mut rest = bytes;
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, tail) = rest.split_at((*size).clamp(1, rest.len()));
            self = self.write(piece);
            rest = tail;
        }
        self
    }

    pub(crate) fn wait(mut self, hold: &Hold) -> Self {
        self.steps.push(Step::Wait(hold.clone()));
        self
    }

    pub(crate) fn pause(mut self, ms: u64) -> Self {
        self.steps.push(Step::Pause(Duration::from_millis(ms)));
        self
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {}\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let len = |step: &Step| if let Step::Write(bytes) = step { bytes.len() } else { 0 };
        head += &match self.framing {
            Framing::Chunked => "transfer-encoding: chunked\r\n".to_owned(),
            Framing::Close => "connection: close\r\n".to_owned(),
            Framing::Length => {
                let missing = usize::from(self.ending != Ending::Clean);
                format!("content-length: {}\r\n", self.steps.iter().map(len).sum::<usize>() + missing)
            }
        };
        head + "\r\n"
    }

    /// Plays the script. An error means that the client has closed.
    async fn play(self, stream: &mut TcpStream, written: impl Fn(usize)) -> std::io::Result<()> {
        if self.has_head {
            stream.write_all(self.head().as_bytes()).await?;
        }
        for step in &self.steps {
            match step {
                Step::Write(bytes) if self.framing == Framing::Chunked => {
                    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
                    chunk.extend_from_slice(bytes);
                    chunk.extend_from_slice(b"\r\n");
                    stream.write_all(&chunk).await?;
                    written(bytes.len());
                }
                Step::Write(bytes) => {
                    stream.write_all(bytes).await?;
                    written(bytes.len());
                }
                Step::Wait(hold) => tokio::select! {
                    permit = hold.0.acquire() => permit.expect("never closed").forget(),
                    () = closed(stream) => return Err(std::io::ErrorKind::ConnectionReset.into()),
                },
                Step::Pause(time) => sleep(*time).await,
            }
        }
        match self.ending {
            Ending::Clean if self.framing == Framing::Chunked => stream.write_all(b"0\r\n\r\n").await?,
            Ending::Clean | Ending::Cut => {}
            Ending::Reset => stream.set_zero_linger()?,
            Ending::Hang => {
                closed(stream).await;
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
        }
        Ok(())
    }
}

/// Returns when the client has closed, or says something although it has said everything.
async fn closed(stream: &mut TcpStream) {
    let mut byte = [0; 1];
    drop(stream.read(&mut byte).await);
}

/// One request as it came in, and what became of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Called {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Bytes of the script that the socket took.
    pub(crate) written: usize,
    /// The connection is over.
    pub(crate) over: bool,
    /// The client ended it.
    pub(crate) by_client: bool,
}

/// A running provider: it answers each request by the script that has the name of the model in its body, or in its
/// path.
#[derive(Debug)]
pub(crate) struct Provider {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    scripts: Mutex<HashMap<String, Script>>,
    calls: watch::Sender<Vec<Called>>,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub(crate) async fn start_at(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared { scripts: Mutex::default(), calls: watch::Sender::default() });
        let mut serving = JoinSet::new();
        let state = shared.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                connections.spawn(serve(stream, state.clone()));
            }
        });
        Self { addr, shared, _serving: serving }
    }

    /// A provider with one script, for the model `m`.
    pub(crate) async fn with(script: Script) -> Self {
        let provider = Self::start().await;
        provider.plays("m", script);
        provider
    }

    pub(crate) fn plays(&self, model: &str, script: Script) {
        self.shared.scripts.lock().expect("no panic").insert(model.to_owned(), script);
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    pub(crate) fn calls(&self) -> Vec<Called> {
        self.shared.calls.borrow().clone()
    }

    /// Waits until the calls are as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&[Called]) -> bool) -> Vec<Called> {
        let mut calls = self.shared.calls.subscribe();
        let calls = within(what, calls.wait_for(|calls| wanted(calls))).await;
        calls.expect("the sender lives").clone()
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).expect("a socket");
    let Some((head, body)) = request(&mut stream).await else { return };
    let model = serde_json::from_slice::<Value>(&body).ok().and_then(|body| {
        let model = body["model"].as_str()?;
        Some(model.to_owned())
    });
    let in_path = || Some(head.split_once("/models/")?.1.split_once(':')?.0.to_owned());
    let model = model.or_else(in_path);
    let mut place = 0;
    shared.calls.send_modify(|calls| {
        place = calls.len();
        calls.push(Called { head, body, ..Called::default() });
    });
    let script = model.and_then(|model| shared.scripts.lock().expect("no panic").get(&model).cloned());
    let script = script.unwrap_or_else(|| {
        Script::new("404 Not Found", "application/json").write(r#"{"error":{"message":"no such script"}}"#)
    });
    let written = |len| shared.calls.send_modify(|calls| calls[place].written += len);
    let played = script.play(&mut stream, written).await;
    drop(stream);
    shared.calls.send_modify(|calls| {
        calls[place].over = true;
        calls[place].by_client = played.is_err();
    });
}

async fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut buf = BytesMut::new();
    loop {
        if let Some(at) = buf.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(buf.split_to(at + 4).to_vec()).expect("ASCII");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.expect("a length").parse().expect("a number");
            while buf.len() < length {
                stream.read_buf(&mut buf).await.ok().filter(|len| *len > 0)?;
            }
            assert_eq!(buf.len(), length, "one request per connection");
            return Some((head, buf.to_vec()));
        }
        stream.read_buf(&mut buf).await.ok().filter(|len| *len > 0)?;
    }
}
