//! A provider without a timer: it says its text in the moment in which it is asked. The pauses of timers, even those
//! of no length, end at whole milliseconds of the runtime's clock, which is more than what is measured here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, yield_now};
use tokio::time::sleep;

use crate::{Fault, http};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

#[derive(Debug)]
pub(crate) struct Instantly {
    pub(crate) addr: SocketAddr,
    _task: JoinSet<()>,
}

/// What is written, and how long after the first block the text comes.
struct Answer {
    first: String,
    text: String,
    finish: String,
    pause: Duration,
}

/// Between text and finish: a finish hurries what is held back, so it must not come along with the first token.
const SPEAKING: Duration = Duration::from_millis(25);

impl Instantly {
    pub(crate) async fn start(body: &str, pause: Duration) -> Result<Self, Fault> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let at = body.find("\n\n").map_or(0, |at| at + 2);
        let (first, rest) = body.split_at(at);
        let finish = rest.find("\"finish_reason\":\"").and_then(|at| rest[..at].rfind("\n\n"));
        let (text, finish) = rest.split_at(finish.map_or(rest.len(), |at| at + 2));
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let answer = Arc::new(Answer {
            first: format!("{HEAD}{}", chunk(first)),
            text: chunk(text),
            finish: format!("{}0\r\n\r\n", chunk(finish)),
            pause,
        });
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let answer = answer.clone();
                serving.spawn(async move {
                    let _ = serve(socket, &answer).await;
                });
                while serving.try_join_next().is_some() {}
            }
        });
        Ok(Self { addr, _task: task })
    }
}

async fn serve(mut socket: TcpStream, answer: &Answer) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut request = Vec::new();
    loop {
        while http::request_len(&request).is_none_or(|len| request.len() < len) {
            if socket.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        request.clear();
        if answer.pause.is_zero() {
            socket.write_all(format!("{}{}", answer.first, answer.text).as_bytes()).await?;
        } else {
            socket.write_all(answer.first.as_bytes()).await?;
            let due = Instant::now() + answer.pause;
            while Instant::now() < due {
                yield_now().await;
            }
            socket.write_all(answer.text.as_bytes()).await?;
        }
        sleep(SPEAKING).await;
        socket.write_all(answer.finish.as_bytes()).await?;
    }
}
