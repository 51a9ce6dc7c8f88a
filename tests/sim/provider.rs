//! The provider: it listens where the gateway calls it, and says what is planned, whatever becomes of it.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::diary::Diary;
use crate::network::Network;
use crate::plan::{Last, Plan};

/// Longer than anybody waits for a provider.
const FOR_EVER: Duration = Duration::from_secs(60);

/// How often each plan was asked for, and how much of its body has left at the last time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Called {
    pub(crate) times: usize,
    pub(crate) sent: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Provider {
    pub(crate) plans: Arc<Vec<Plan>>,
    pub(crate) called: Arc<Mutex<Vec<Called>>>,
    pub(crate) network: Network,
    pub(crate) diary: Diary,
}

impl Provider {
    /// Listens while it is up; calls that have come go on in any case.
    pub(crate) async fn serve(self, socket: PathBuf, mut is_up: watch::Receiver<bool>) {
        let mut calls = JoinSet::new();
        while is_up.wait_for(|is_up| *is_up).await.is_ok() {
            let listener = UnixListener::bind(&socket).unwrap();
            loop {
                tokio::select! {
                    biased;
                    stream = listener.accept() => {
                        calls.spawn(self.clone().answer(stream.unwrap().0));
                    }
                    _ = is_up.wait_for(|is_up| !*is_up) => break,
                }
            }
            std::fs::remove_file(&socket).unwrap();
        }
    }

    async fn answer(self, mut stream: UnixStream) {
        // Nobody is told that a caller has left.
        let _ = self.talk(&mut stream).await;
    }

    async fn talk(&self, stream: &mut UnixStream) -> io::Result<()> {
        let request = request(stream).await?;
        let number: usize = request["user"].as_str().and_then(|user| user.parse().ok()).expect("a plan");
        let plan = &self.plans[number];
        let times = {
            let mut called = self.called.lock().unwrap();
            called[number].times += 1;
            called[number].sent = 0;
            called[number].times
        };
        let diary = self.diary.of(format!("provider {number}, call {times}"));
        diary.note("is asked");
        sleep(plan.first_byte).await;
        let head = match plan.last {
            Last::NoAnswer => return Ok(()),
            Last::Status(status) => {
                let body = r#"{"error":{"message":"not now"}}"#;
                let length = body.len();
                let head = format!("HTTP/1.1 {status} No\r\ncontent-type: application/json\r\n");
                format!("{head}content-length: {length}\r\n\r\n{body}")
            }
            Last::NotAStream => {
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\nhello".into()
            }
            _ => "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                .into(),
        };
        self.write(stream, head.as_bytes()).await?;
        for (pause, bytes) in &plan.writes {
            if !pause.is_zero() {
                sleep(*pause).await;
            }
            let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
            self.write(stream, &chunk).await?;
            self.called.lock().unwrap()[number].sent += bytes.len();
            diary.note(format_args!("has said {} bytes", bytes.len()));
        }
        match plan.last {
            Last::Marker | Last::Finish | Last::Early | Last::Error => {
                self.write(stream, b"0\r\n\r\n").await?;
            }
            Last::Silence => drop(timeout(FOR_EVER, stream.read(&mut [0])).await),
            Last::Cut | Last::Status(_) | Last::NotAStream | Last::NoAnswer => {}
        }
        diary.note("is done");
        Ok(())
    }

    async fn write(&self, stream: &mut UnixStream, bytes: &[u8]) -> io::Result<()> {
        self.network.moved();
        stream.write_all(bytes).await
    }
}

/// Reads a request whole.
async fn request(stream: &mut UnixStream) -> io::Result<Value> {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..at]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|length| length.parse().ok()).expect("a length");
            if bytes.len() >= at + 4 + length {
                return Ok(serde_json::from_slice(&bytes[at + 4..]).expect("a request is JSON"));
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
