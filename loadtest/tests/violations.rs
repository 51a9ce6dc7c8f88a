//! Whoever breaks a promise is told on, by exit code 1; whoever keeps it is not. The gateway here is a whole one of a few
//! lines, which calls the provider, and then says what came in every wrong way that it is asked for.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

const TOKENS: u64 = 4;
const TOKEN_BYTES: usize = 40;
const BLOCKS: u64 = TOKENS + 4;

/// What the gateway does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Gap,
    Duplicate,
    Order,
    OtherStream,
    ChangedByte,
    EarlyEnd,
    NoEnd,
    OtherHash,
    OtherState,
    OtherRaw,
    SecondCall,
}

#[derive(Debug)]
struct Gateway {
    fault: Fault,
    provider: SocketAddr,
    /// What the provider has said, once it has said all.
    body: Mutex<Option<Vec<u8>>>,
    said: Condvar,
}

impl Gateway {
    /// What a call of the provider brings.
    fn call(&self, request: &str) -> io::Result<Vec<u8>> {
        let mut provider = BufReader::new(TcpStream::connect(self.provider)?);
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\ncontent-length: {}\r\n\r\n", request.len());
        provider.get_mut().write_all((head + request).as_bytes())?;
        let mut body = Vec::new();
        let mut line = String::new();
        while provider.read_line(&mut line)? > 2 {
            line.clear();
        }
        loop {
            line.clear();
            provider.read_line(&mut line)?;
            let mut chunk = vec![0; usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)? + 2];
            provider.read_exact(&mut chunk)?;
            if chunk.len() == 2 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..chunk.len() - 2]);
        }
    }

    fn body(&self) -> Vec<u8> {
        let body = self.body.lock().unwrap();
        let body = self.said.wait_while(body, |body| body.is_none()).unwrap();
        body.clone().unwrap_or_default()
    }

    fn hash(body: &[u8]) -> String {
        digest(&SHA256, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The events of the stream behind `open`, a token each.
    fn events(&self) -> String {
        let (body, fault) = (self.body(), self.fault);
        let text = String::from_utf8_lossy(&body).into_owned();
        let mut tokens: Vec<(u64, String)> =
            (0..).zip(text.split('~').skip(1).map(|rest| format!("~{}", &rest[..TOKEN_BYTES - 1]))).collect();
        match fault {
            Fault::Gap => drop(tokens.remove(2)),
            Fault::Duplicate => tokens.insert(2, tokens[1].clone()),
            Fault::Order => tokens.swap(1, 2),
            Fault::EarlyEnd => drop(tokens.pop()),
            Fault::OtherStream => tokens[3].1.replace_range(1..5, "0001"),
            Fault::ChangedByte => tokens[3].1.replace_range(5..6, ":"),
            _ => {}
        }
        let (mut said, mut last) = (String::new(), 0);
        for (number, text) in tokens {
            let id = number + 2;
            said +=
                &format!("id: {id}\nevent: text\ndata: {{\"from\":{},\"text\":\"{text}\"}}\n\n", last + 1);
            last = id;
        }
        let hash = if fault == Fault::OtherHash { "0".repeat(64) } else { Self::hash(&body) };
        let end = json!({ "reason": "completed", "blocks": BLOCKS, "bytes": body.len(), "hash": hash });
        if fault != Fault::NoEnd {
            said += &format!("id: {}\nevent: end\ndata: {end}\n\n", BLOCKS + 1);
        }
        said
    }

    /// Each request of a connection, until its caller hangs up.
    fn serve(self: &Arc<Self>, mut socket: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(socket.try_clone()?);
        loop {
            let (mut line, mut header, mut length) = (String::new(), String::new(), 0);
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            while reader.read_line(&mut header)? > 2 {
                if let Some(value) = header.strip_prefix("content-length: ") {
                    length = value.trim().parse().map_err(io::Error::other)?;
                }
                header.clear();
            }
            let mut request = vec![0; length];
            reader.read_exact(&mut request)?;
            let path = line.split(' ').nth(1).unwrap_or_default();
            if path == "/v1/streams" {
                self.start(&request)?;
                socket.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}")?;
            } else if path.ends_with("/events") {
                let open = "id: 0\nevent: open\ndata: {\"after\":0,\"tail\":0}\n\n";
                socket.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{open}").as_bytes())?;
                return socket.write_all(self.events().as_bytes());
            } else if path.contains("/events?after=") {
                socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
            } else {
                let said =
                    if path.ends_with("/raw") { self.raw() } else { self.state().to_string().into_bytes() };
                socket.write_all(
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", said.len()).as_bytes(),
                )?;
                socket.write_all(&said)?;
            }
        }
    }

    fn start(self: &Arc<Self>, envelope: &[u8]) -> io::Result<()> {
        let envelope: Value = serde_json::from_slice(envelope)?;
        let request = envelope["request"].to_string();
        for _ in 0..if self.fault == Fault::SecondCall { 2 } else { 1 } {
            let (gateway, request) = (self.clone(), request.clone());
            thread::spawn(move || {
                let body = gateway.call(&request).expect("the provider answers");
                *gateway.body.lock().unwrap() = Some(body);
                gateway.said.notify_all();
            });
        }
        Ok(())
    }

    fn raw(&self) -> Vec<u8> {
        let mut body = self.body();
        if self.fault == Fault::OtherRaw {
            body[0] = b'D';
        }
        body
    }

    fn state(&self) -> Value {
        let body = self.body();
        let blocks = if self.fault == Fault::OtherState { BLOCKS - 1 } else { BLOCKS };
        json!({ "status": "completed", "blocks": blocks, "bytes": body.len(), "hash": Self::hash(&body) })
    }
}

/// One stream with three viewers, against a gateway with that fault.
fn loadtest(fault: Fault) -> Output {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let provider = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let gateway = Arc::new(Gateway { fault, provider, body: Mutex::new(None), said: Condvar::new() });
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let gateway = gateway.clone();
            thread::spawn(move || gateway.serve(socket));
        }
    });
    Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["run", "burst", "--json", "--set", "viewers=3"])
        .args(["--set", &format!("tokens={TOKENS}"), "--set", &format!("token_bytes={TOKEN_BYTES}")])
        .args(["--provider-listen", &provider.to_string(), "--against", &url])
        .output()
        .unwrap()
}

fn check(fault: Fault, code: i32, told: &str) {
    let output = loadtest(fault);
    let out = String::from_utf8_lossy(&output.stdout);
    let result = out.lines().last().unwrap_or_default();
    assert_eq!(
        output.status.code(),
        Some(code),
        "{fault:?}: {out}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let result: Value = serde_json::from_str(result).unwrap();
    assert!(result["told"].to_string().contains(told), "{fault:?}: {result}");
    assert_eq!(result["violations"] == 0, code == 0, "{fault:?}: {result}");
}

#[test]
fn who_keeps_all_promises_passes() {
    check(Fault::None, 0, "[]");
}

#[test]
fn every_viewer_tells_what_it_gets() {
    for (fault, told) in [
        (Fault::Gap, "gap: token 3 comes after 2 tokens"),
        (Fault::Duplicate, "duplicate or out of order: token 1 comes after 2"),
        (Fault::Order, "gap: token 2 comes after 1"),
        (Fault::OtherStream, "is of stream 1, not 0"),
        (Fault::ChangedByte, "this is no token"),
        (Fault::EarlyEnd, "the end comes after 3 tokens"),
        (Fault::NoEnd, "the body ended before the stream"),
    ] {
        check(fault, 1, told);
    }
}

#[test]
fn ends_states_and_bytes_are_the_providers() {
    for (fault, told) in [
        (Fault::OtherHash, "and viewers got completed"),
        (Fault::OtherState, "is not what the provider said"),
        (Fault::OtherRaw, "/raw is not what the provider said"),
        (Fault::SecondCall, "the provider was called 2 times"),
    ] {
        check(fault, 1, told);
    }
}
