//! A viewer's own HTTP: HTTP/1.1 by hand, byte by byte, and h2c by hyper's client. Nothing here is the server's.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use memchr::memmem;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The longest wait for anything that is expected to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
pub(crate) async fn within<T>(what: impl std::fmt::Display, future: impl Future<Output = T>) -> T {
    let Ok(done) = timeout(PATIENCE, future).await else { panic!("{what}: not within {PATIENCE:?}") };
    done
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    H1,
    H2,
}

pub(crate) const PROTOCOLS: [Protocol; 2] = [Protocol::H1, Protocol::H2];

/// A request to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    target: String,
    host: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    pub(crate) fn new(method: Method, target: impl Into<String>) -> Self {
        Self { method, target: target.into(), host: None, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self::new(Method::GET, target)
    }

    pub(crate) fn delete(target: impl Into<String>) -> Self {
        Self::new(Method::DELETE, target)
    }

    /// `POST /v1/streams` with a body that calls itself JSON.
    pub(crate) fn post(body: impl Into<Vec<u8>>) -> Self {
        Self::post_to("/v1/streams", body)
    }

    /// A POST with a body that calls itself JSON.
    pub(crate) fn post_to(target: &str, body: impl Into<Vec<u8>>) -> Self {
        let call = Self { body: body.into(), ..Self::new(Method::POST, target) };
        call.header("content-type", "application/json")
    }

    pub(crate) fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| header != name);
        self
    }

    pub(crate) fn bearer(self, credential: &str) -> Self {
        self.header("authorization", format!("Bearer {credential}"))
    }

    /// With one more parameter in the query.
    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        let mark = if self.target.contains('?') { '&' } else { '?' };
        self.target += &format!("{mark}{name}={value}");
        self
    }

    pub(crate) fn is_ascii(&self) -> bool {
        self.target.is_ascii()
    }

    /// Calls the server by another name than its address.
    pub(crate) fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    pub(crate) async fn send(&self, protocol: Protocol, addr: SocketAddr) -> Reply {
        let reply = async {
            match protocol {
                Protocol::H1 => self.over_h1(addr).await,
                Protocol::H2 => self.over_h2(addr).await,
            }
        };
        within(format!("{} {} over {protocol:?}", self.method, self.target), reply).await
    }

    async fn over_h1(&self, addr: SocketAddr) -> Reply {
        let mut stream = TcpStream::connect(addr).await.expect("the gateway listens");
        stream.set_nodelay(true).expect("a socket");
        stream.write_all(&self.bytes(addr)).await.expect("the gateway reads");
        Reply::read(stream).await.expect("an answer")
    }

    /// The request as it stands on the wire.
    pub(crate) fn bytes(&self, addr: SocketAddr) -> Vec<u8> {
        let host = self.host.clone().unwrap_or_else(|| addr.to_string());
        let mut bytes = format!("{} {} HTTP/1.1\r\nhost: {host}\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            bytes += &format!("{name}: {value}\r\n");
        }
        if self.method == Method::POST && !self.headers.iter().any(|(name, _)| name == "content-length") {
            bytes += &format!("content-length: {}\r\n", self.body.len());
        }
        let mut bytes = (bytes + "\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    async fn over_h2(&self, addr: SocketAddr) -> Reply {
        let stream = TcpStream::connect(addr).await.expect("the gateway listens");
        let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(64 * 1024)
            .initial_connection_window_size(64 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .expect("the gateway speaks h2c");
        let mut driver = JoinSet::new();
        driver.spawn(async move { drop(connection.await) });
        let host = self.host.clone().unwrap_or_else(|| addr.to_string());
        let mut request =
            Request::builder().method(self.method.clone()).uri(format!("http://{host}{}", self.target));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(self.body.clone()))).expect("a request");
        let (head, body) = sender.send_request(request).await.expect("an answer").into_parts();
        Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            body: Body(Wire::H2 { body, _sender: sender, _driver: driver }),
        }
    }
}

/// An answer: its head, and a body to be read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

impl Reply {
    /// Reads the head of an HTTP/1.1 answer; `None` if the peer closes instead.
    pub(crate) async fn read(mut stream: TcpStream) -> Option<Self> {
        let mut buf = BytesMut::new();
        let end = loop {
            if let Some(at) = memmem::find(&buf, b"\r\n\r\n") {
                break at;
            }
            if !matches!(stream.read_buf(&mut buf).await, Ok(1..)) {
                assert!(buf.is_empty(), "half an answer: {:?}", String::from_utf8_lossy(&buf));
                return None;
            }
        };
        let head = buf.split_to(end + 4);
        let head = std::str::from_utf8(&head).expect("a head is ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).expect("a status line");
        let status = status[..3].parse().expect("a status");
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':').expect("a header line");
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_str(value.trim()).expect("a value"));
        }
        let framing = if headers.contains_key("transfer-encoding") {
            assert_eq!(headers["transfer-encoding"], "chunked");
            Framing::Chunked(0)
        } else if matches!(status, 204 | 304) {
            Framing::Length(0)
        } else {
            let length = headers.get("content-length").expect("a length or chunks");
            Framing::Length(length.to_str().expect("ASCII").parse().expect("a number"))
        };
        Some(Self { status, headers, body: Body(Wire::H1 { stream, buf, framing }) })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    /// The whole body, which has to be JSON and end cleanly.
    pub(crate) async fn json(mut self) -> Value {
        let (bytes, over) = self.body.whole().await;
        assert_eq!(over, Over::Clean);
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&bytes).expect("JSON")
    }

    /// Status and code of an error, which has to have the shape of one, and a sentence.
    pub(crate) async fn error(self) -> (u16, String) {
        let (status, json) = self.error_json().await;
        (status, json["code"].as_str().expect("a code").to_owned())
    }

    pub(crate) async fn error_json(self) -> (u16, Value) {
        let status = self.status;
        assert!(self.header("tokencast-request-id").is_some_and(|id| !id.is_empty()), "{status}");
        let policies = ["x-content-type-options", "referrer-policy"].map(|name| self.header(name));
        assert_eq!(policies, [Some("nosniff"), Some("no-referrer")], "{status}");
        let mut json = self.json().await;
        let error = json["error"].take();
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{status}: {error}");
        (status, error)
    }
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// With its last chunk, its whole length, or END_STREAM.
    Clean,
    /// Without.
    Broken,
}

/// A body that is being read.
#[derive(Debug)]
pub(crate) struct Body(Wire);

#[derive(Debug)]
enum Wire {
    H1 {
        stream: TcpStream,
        buf: BytesMut,
        framing: Framing,
    },
    H2 {
        body: hyper::body::Incoming,
        _sender: hyper::client::conn::http2::SendRequest<Full<Bytes>>,
        _driver: JoinSet<()>,
    },
}

/// What is left of a body, or of its current chunk.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked(usize),
}

impl Body {
    /// The next bytes, or how the body ended.
    pub(crate) async fn chunk(&mut self) -> Result<Bytes, Over> {
        within("the next bytes of a body", async {
            match &mut self.0 {
                Wire::H1 { stream, buf, framing } => next_h1(stream, buf, framing).await,
                Wire::H2 { body, .. } => loop {
                    match body.frame().await {
                        None => return Err(Over::Clean),
                        Some(Err(_)) => return Err(Over::Broken),
                        Some(Ok(frame)) => match frame.into_data() {
                            Ok(data) if !data.is_empty() => return Ok(data),
                            _ => {}
                        },
                    }
                },
            }
        })
        .await
    }

    /// Everything that is left.
    pub(crate) async fn whole(&mut self) -> (Vec<u8>, Over) {
        let mut bytes = Vec::new();
        loop {
            match self.chunk().await {
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(over) => return (bytes, over),
            }
        }
    }
}

async fn next_h1(stream: &mut TcpStream, buf: &mut BytesMut, framing: &mut Framing) -> Result<Bytes, Over> {
    if let Framing::Chunked(0) = framing {
        let size = line(stream, buf).await?;
        let size = std::str::from_utf8(&size).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        *framing = match size.expect("a chunk begins with its size") {
            0 => {
                assert!(line(stream, buf).await?.is_empty(), "no trailers");
                Framing::Length(0)
            }
            size => Framing::Chunked(size),
        };
    }
    let (Framing::Length(left) | Framing::Chunked(left)) = framing;
    if *left == 0 {
        return Err(Over::Clean);
    }
    if buf.is_empty() {
        fill(stream, buf).await?;
    }
    let data = buf.split_to(buf.len().min(*left)).freeze();
    *left -= data.len();
    if let Framing::Chunked(0) = framing {
        assert!(line(stream, buf).await?.is_empty(), "a chunk ends with its size");
    }
    Ok(data)
}

async fn line(stream: &mut TcpStream, buf: &mut BytesMut) -> Result<Bytes, Over> {
    loop {
        if let Some(at) = memmem::find(buf, b"\r\n") {
            return Ok(buf.split_to(at + 2).freeze().slice(..at));
        }
        fill(stream, buf).await?;
    }
}

async fn fill(stream: &mut TcpStream, buf: &mut BytesMut) -> Result<(), Over> {
    buf.reserve(16 * 1024);
    match stream.read_buf(buf).await {
        Ok(1..) => Ok(()),
        Ok(0) | Err(_) => Err(Over::Broken),
    }
}
