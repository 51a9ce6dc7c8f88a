//! A provider that repeats what it is told, where no provider should.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::canaries;

#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) url: String,
    heard: Arc<Mutex<Vec<u8>>>,
    _tasks: JoinSet<()>,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (heard, mut tasks) = (Arc::new(Mutex::new(Vec::new())), JoinSet::new());
        let all = heard.clone();
        tasks.spawn(async move {
            let mut calls = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                calls.spawn(answer(stream, all.clone()));
            }
        });
        Self { url, heard, _tasks: tasks }
    }

    /// Every byte that it was sent.
    pub(crate) fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap().clone()
    }
}

async fn answer(mut stream: TcpStream, heard: Arc<Mutex<Vec<u8>>>) {
    let mut request = Vec::new();
    while !is_whole(&request) {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    heard.lock().unwrap().extend_from_slice(&request);
    let text = String::from_utf8_lossy(&request).into_owned();
    // The head, which has the key, as one JSON string.
    let head = serde_json::json!(text.split("\r\n\r\n").next().unwrap_or_default()).to_string();
    let head = head.trim_matches('"');
    let chunk = |delta: &str| format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n");
    let says = |body: String| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let is = |model: &str| text.contains(&format!("\"{model}\"")) || text.contains(&format!("/{model}:"));
    let error = format!("{{\"error\":{{\"message\":\"{} you sent {head}\"}}}}", canaries::ERROR);
    let answer = if is("refuses") {
        format!(
            "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nx-you-sent: {}\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{error}",
            text.lines().find(|line| line.contains("canary-key")).unwrap_or_default(),
            error.len()
        )
    } else if is("breaks") {
        says(format!("{}data: {error}\n\n", chunk("{\"content\":\"a\"}")))
    } else {
        let known = [("forgotten", canaries::PURGED), ("says", canaries::ANSWER)];
        let known = known.iter().find(|(model, _)| is(model) || is(&format!("theirs-{model}")));
        let said = known.map_or("nothing", |(_, said)| said);
        let call = format!(
            "{{\"tool_calls\":[{{\"index\":0,\"id\":\"c\",\"function\":{{\"name\":\"f\",\"arguments\":\"{}\"}}}}]}}",
            known.map_or("{}", |_| canaries::CALL)
        );
        let finish = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        says([chunk(&format!("{{\"content\":\"{said}\"}}")), chunk(&call), finish.to_owned()].concat())
    };
    let _ = stream.write_all(answer.as_bytes()).await;
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let len = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    request.len() >= head.len() + 4 + len.unwrap_or(0)
}
