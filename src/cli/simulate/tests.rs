//! The simulator over real sockets: what a client sees, and what the log says about it.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;

/// Long enough for any machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(10);

struct Server {
    addr: SocketAddr,
    log: Arc<RequestLog>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

/// What came back on one connection, until the server closed it.
struct Reply {
    head: String,
    chunks: Vec<Vec<u8>>,
    /// Whether the body came to its proper end.
    whole: bool,
}

impl Reply {
    fn bytes(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes()).unwrap()
    }

    fn events(&self) -> usize {
        String::from_utf8_lossy(&self.bytes()).matches("data: ").count()
    }

    fn read(bytes: &[u8]) -> Self {
        let at = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..at].to_vec()).unwrap().to_lowercase();
        let mut rest = &bytes[at + 4..];
        if let Some(length) = head.split("content-length: ").nth(1) {
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            return Self { head, chunks: vec![rest.to_vec()], whole: rest.len() == length };
        }
        let mut chunks = Vec::new();
        while let Some(at) = rest.windows(2).position(|window| window == b"\r\n") {
            let length = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap(), 16).unwrap();
            if length == 0 {
                return Self { head, chunks, whole: true };
            }
            chunks.push(rest[at + 2..at + 2 + length].to_vec());
            rest = &rest[at + 2 + length + 2..];
        }
        Self { head, chunks, whole: false }
    }
}

impl Server {
    async fn start() -> Self {
        let options =
            Options { listen: "127.0.0.1:0".parse().unwrap(), rate: 0.0, tokens: 6, ..Options::default() };
        let simulator = Simulator::bind(options).await.unwrap();
        let (addr, log, stop) = (simulator.addr(), simulator.log(), CancellationToken::new());
        assert_eq!(simulator.base_url(), format!("http://{addr}/v1"));
        let tracker = TaskTracker::new();
        let running = tracker.spawn(simulator.run(stop.clone()));
        Self { addr, log, stop, running }
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.addr).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        socket
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Reply {
        let mut socket = self.send(method, path, body).await;
        let mut bytes = Vec::new();
        timeout(PATIENCE, socket.read_to_end(&mut bytes)).await.unwrap().unwrap();
        Reply::read(&bytes)
    }

    async fn stream(&self, simulate: &str) -> Reply {
        self.ask("POST", "/v1/chat/completions", &streamed(simulate)).await
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.running).await.unwrap().unwrap();
        assert_eq!(self.log.counts().connections, 0);
        assert_eq!(self.log.open(), 0);
    }
}

fn streamed(simulate: &str) -> String {
    format!(
        r#"{{"model":"any","stream":true,"messages":[{{"role":"user","content":"Hi"}}],"simulate":{{{simulate}}}}}"#
    )
}

/// Role, six tokens, finish, `[DONE]`.
const ALL: usize = 9;

#[tokio::test]
async fn same_request_same_bytes() {
    let server = Server::start().await;
    let first = server.stream("").await;
    assert!(first.head.starts_with("http/1.1 200") && first.whole);
    assert!(first.head.contains("content-type: text/event-stream; charset=utf-8"), "{}", first.head);
    assert!(first.head.contains("x-request-id: req_"), "{}", first.head);
    assert_eq!(first.events(), ALL);
    assert_eq!(first.bytes(), server.stream("").await.bytes());
    assert_ne!(first.bytes(), server.stream(r#""seed":2"#).await.bytes());
    let fast = server.stream(r#""seed":2,"tokens":20"#).await;
    let slow = server.stream(r#""seed":2,"tokens":20,"rate":400,"jitter":1,"burst":3,"split":7"#).await;
    assert_eq!(fast.bytes(), slow.bytes());
    assert!(slow.chunks.iter().all(|chunk| chunk.len() <= 7));
    server.end().await;
}

#[tokio::test]
async fn other_answers() {
    let server = Server::start().await;
    let whole = server.ask("POST", "/v1/chat/completions", r#"{"model":"any","messages":[1]}"#).await;
    assert!(whole.whole && whole.head.contains("content-type: application/json"), "{}", whole.head);
    assert_eq!((&whole.json()["object"], &whole.json()["model"]), (&"chat.completion".into(), &"any".into()));

    let models = server.ask("GET", "/v1/models", "").await;
    assert_eq!(models.json()["object"], "list");

    for (method, path, body, status) in [
        ("GET", "/v1/nothing", "", "404"),
        ("GET", "/v1/chat/completions", "", "405"),
        ("POST", "/v1/chat/completions", "{", "400"),
        ("POST", "/v1/chat/completions", r#"{"model":"m","messages":[1],"simulate":{"speed":1}}"#, "400"),
    ] {
        let reply = server.ask(method, path, body).await;
        assert!(reply.head.starts_with(&format!("http/1.1 {status}")), "{path}: {}", reply.head);
        assert_eq!(reply.json()["error"]["type"], "invalid_request_error", "{path}");
        assert!(reply.whole);
    }
    assert_eq!(server.log.received(), 6);
    assert_eq!(server.log.closed_early(), 0);
    let last = server.log.last().unwrap();
    assert_eq!((last.number, last.target.as_str()), (6, "/v1/chat/completions"));
    assert!(last.body.ends_with(br#""simulate":{"speed":1}}"#) && last.headers.contains_key("host"));
    server.end().await;
}

#[tokio::test]
async fn http_faults() {
    let server = Server::start().await;
    let limited = server.stream(r#""status":429"#).await;
    assert!(limited.head.starts_with("http/1.1 429") && limited.head.contains("retry-after: 1"));
    assert_eq!(limited.json()["error"]["code"], "rate_limit_exceeded");
    assert_eq!(server.stream(r#""status":500"#).await.json()["error"]["type"], "server_error");

    let redirect = server.stream(r#""redirect":true"#).await;
    assert!(redirect.head.starts_with("http/1.1 307") && redirect.head.contains("location: /v1/redirected"));

    let odd = server.stream(r#""gzip_header":true,"content_type":"text/html""#).await;
    assert!(odd.head.contains("content-encoding: gzip") && odd.head.contains("content-type: text/html"));
    assert_eq!(odd.events(), ALL);
    server.end().await;
}

#[tokio::test]
async fn a_cut_loses_no_event_before_it_and_has_no_last_chunk() {
    let server = Server::start().await;
    for after in [0, 1, 4, ALL] {
        let cut = server.stream(&format!(r#""cut_after":{after}"#)).await;
        assert_eq!((cut.events(), cut.whole), (after, false));
        let eof = server.stream(&format!(r#""eof_after":{after}"#)).await;
        assert_eq!((eof.events(), eof.whole), (after, true));
    }
    let cut = server.stream(r#""tokens":3000,"cut_after":2500"#).await;
    assert_eq!((cut.events(), cut.whole), (2500, false));
    server.log.until(|counts| counts.open == 0).await;
    assert!(server.log.records().iter().all(|record| record.ended == Some(Ended::AsScripted)));
    server.end().await;
}

#[tokio::test]
async fn faults_in_mid_stream() {
    let server = Server::start().await;
    let error = server.stream(r#""error_after":3"#).await;
    assert!(error.whole && error.events() == 5);
    assert!(String::from_utf8(error.bytes()).unwrap().contains(r#"data: {"error":{"#));
    let garbage = server.stream(r#""garbage_after":3"#).await;
    assert!(garbage.whole && String::from_utf8(garbage.bytes()).is_err());
    let huge = server.stream(r#""huge_line":3000000"#).await;
    assert!(huge.whole && huge.bytes().len() > 3_000_000 && huge.events() == ALL + 1);
    server.end().await;
}

#[tokio::test]
async fn a_stall_ends_when_the_client_goes() {
    let server = Server::start().await;
    let body = streamed(r#""stall_after":2"#);
    let mut socket = server.send("POST", "/v1/chat/completions", &body).await;
    let mut seen = Vec::new();
    while String::from_utf8_lossy(&seen).matches("data: ").count() < 2 {
        assert_ne!(timeout(PATIENCE, socket.read_buf(&mut seen)).await.unwrap().unwrap(), 0);
    }
    timeout(Duration::from_millis(50), socket.read_buf(&mut seen)).await.unwrap_err();
    assert_eq!((server.log.open(), server.log.closed_early()), (1, 0));
    drop(socket);
    let gone = timeout(PATIENCE, server.log.until(|counts| counts.closed_early == 1)).await.unwrap();
    assert_eq!((gone.open, gone.received), (0, 1));
    assert_eq!(server.log.last().unwrap().ended, Some(Ended::ByClient));
    server.end().await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_closed_early_too() {
    let server = Server::start().await;
    let body = streamed(r#""head_ms":60000"#);
    let socket = server.send("POST", "/v1/chat/completions", &body).await;
    timeout(PATIENCE, server.log.until(|counts| counts.open == 1)).await.unwrap();
    drop(socket);
    timeout(PATIENCE, server.log.until(|counts| counts.closed_early == 1)).await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn a_held_connection_has_said_everything() {
    let server = Server::start().await;
    let mut socket = server.send("POST", "/v1/chat/completions", &streamed(r#""hold_ms":60000"#)).await;
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("[DONE]") {
        assert_ne!(timeout(PATIENCE, socket.read_buf(&mut seen)).await.unwrap().unwrap(), 0);
    }
    assert_eq!(server.log.open(), 1);
    drop(socket);
    let gone = timeout(PATIENCE, server.log.until(|counts| counts.open == 0)).await.unwrap();
    assert_eq!(gone.closed_early, 0);
    server.end().await;
}

#[tokio::test]
async fn delays_are_kept() {
    let server = Server::start().await;
    for simulate in [
        r#""head_ms":120"#,
        r#""first_byte_ms":120"#,
        r#""stall_after":3,"stall_ms":120"#,
        r#""hold_ms":120"#,
        r#""rate":50,"jitter":0,"tokens":7"#,
    ] {
        let start = Instant::now();
        let reply = server.stream(simulate).await;
        assert!(start.elapsed() >= Duration::from_millis(115), "{simulate}: {:?}", start.elapsed());
        assert!(reply.whole && reply.events() >= ALL, "{simulate}");
    }
    server.end().await;
}

#[tokio::test]
async fn stopping_ends_its_connections_and_blames_nobody() {
    let server = Server::start().await;
    let mut socket = server.send("POST", "/v1/chat/completions", &streamed(r#""stall_after":0"#)).await;
    timeout(PATIENCE, server.log.until(|counts| counts.open == 1)).await.unwrap();
    let log = Arc::clone(&server.log);
    server.end().await;
    let mut bytes = Vec::new();
    timeout(PATIENCE, socket.read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(log.closed_early(), 0);
    assert_eq!(log.last().unwrap().ended, Some(Ended::Stopped));
}

#[tokio::test]
async fn impossible_options_are_refused_before_binding() {
    let error = Simulator::bind(Options { burst: 0, ..Options::default() }).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().starts_with("burst must be"), "{error}");
}

/// A minimal request of each dialect, which asks for a stream if it can.
const REQUESTS: [(&str, &str); 6] = [
    ("/v1/chat/completions", r#""model":"m","messages":[1],"stream":true"#),
    ("/v1/responses", r#""model":"m","input":"Hi","stream":true"#),
    ("/v1/messages", r#""model":"m","max_tokens":100,"messages":[1],"stream":true"#),
    ("/v1beta/models/m:streamGenerateContent?alt=sse", r#""contents":[1]"#),
    ("/api/chat", r#""model":"m","messages":[1]"#),
    ("/api/generate", r#""model":"m","prompt":"Hi""#),
];

#[tokio::test]
async fn every_dialect_streams_under_its_own_head() {
    let server = Server::start().await;
    for (path, members) in REQUESTS {
        let body = format!(r#"{{{members},"simulate":{{"cut_after":4}}}}"#);
        let cut = server.ask("POST", path, &body).await;
        assert!(cut.head.starts_with("http/1.1 200") && !cut.whole, "{path}: {}", cut.head);
        let whole = server.ask("POST", path, &format!("{{{members}}}")).await;
        let content_type =
            if path.starts_with("/api/") { "application/x-ndjson" } else { "text/event-stream" };
        assert!(whole.head.contains(&format!("content-type: {content_type}")), "{path}: {}", whole.head);
        assert_eq!(whole.head.contains("\r\nrequest-id: req_"), path == "/v1/messages", "{}", whole.head);
        assert!(whole.whole && whole.bytes().len() > cut.bytes().len(), "{path}");
    }
    server.end().await;
}

#[tokio::test]
async fn every_dialect_refuses_in_its_own_shape() {
    let server = Server::start().await;
    for (path, members) in REQUESTS {
        let message = |json: &Value| match path {
            "/api/chat" | "/api/generate" => json["error"].as_str().unwrap().to_owned(),
            _ => json["error"]["message"].as_str().unwrap().to_owned(),
        };
        let limited =
            server.ask("POST", path, &format!(r#"{{{members},"simulate":{{"status":429}}}}"#)).await;
        assert!(
            limited.head.starts_with("http/1.1 429") && limited.head.contains("retry-after: 1"),
            "{path}"
        );
        let json = limited.json();
        assert!(message(&json).contains("429"), "{path}: {json}");
        let kind = match path {
            "/v1/messages" => {
                (&json["type"], &json["error"]["type"]) == (&"error".into(), &"rate_limit_error".into())
            }
            "/v1/chat/completions" | "/v1/responses" => json["error"]["code"] == "rate_limit_exceeded",
            "/api/chat" | "/api/generate" => json.as_object().unwrap().len() == 1,
            _ => {
                (&json["error"]["code"], &json["error"]["status"])
                    == (&429.into(), &"RESOURCE_EXHAUSTED".into())
            }
        };
        assert!(kind, "{path}: {json}");
        for (body, part) in [("{}", "required"), (r#"{"simulate":3"#, "could not parse")] {
            let refused = server.ask("POST", path, body).await;
            assert!(refused.head.starts_with("http/1.1 400"), "{path}: {}", refused.head);
            assert!(message(&refused.json()).contains(part), "{path}");
        }
        let unknown = format!(r#"{{{members},"simulate":{{"tokns":1}}}}"#);
        assert!(
            message(&server.ask("POST", path, &unknown).await.json()).contains("simulate.tokns"),
            "{path}"
        );
        let path_only = path.split('?').next().unwrap();
        assert!(server.ask("DELETE", path_only, "").await.head.contains("http/1.1 40"), "{path}");
    }
    server.end().await;
}

#[tokio::test]
async fn lists_of_models_and_embeddings() {
    let server = Server::start().await;
    for (path, list, id) in [
        ("/v1/models", "/data/0/id", "simulated"),
        ("/v1beta/models", "/models/0/name", "models/simulated"),
        ("/api/tags", "/models/0/name", "simulated:latest"),
    ] {
        assert_eq!(server.ask("GET", path, "").await.json().pointer(list).unwrap(), id, "{path}");
    }
    for (header, list, id) in [
        ("anthropic-version: 2023-06-01", "/first_id", "simulated"),
        ("x-goog-api-key: k", "/models/0/name", "models/simulated"),
    ] {
        let mut socket = TcpStream::connect(server.addr).await.unwrap();
        let request = format!("GET /v1/models HTTP/1.1\r\nhost: x\r\n{header}\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        timeout(PATIENCE, socket.read_to_end(&mut bytes)).await.unwrap().unwrap();
        assert_eq!(Reply::read(&bytes).json().pointer(list).unwrap(), id, "{header}");
    }
    let embeddings = server.ask("POST", "/v1/embeddings", r#"{"model":"m","input":["a","b"]}"#).await.json();
    assert_eq!(embeddings["data"][1]["index"], 1);
    server.end().await;
}

#[tokio::test]
async fn a_response_can_be_asked_for_again() {
    let server = Server::start().await;
    let body = r#"{"model":"m","input":"Hi","stream":true,"simulate":{"cut_after":7}}"#;
    let cut = server.ask("POST", "/v1/responses", body).await;
    assert_eq!((cut.events(), cut.whole), (7, false));
    let said = String::from_utf8(cut.bytes()).unwrap();
    let id = said.split('"').find(|word| word.starts_with("resp_")).unwrap();
    let whole = server.ask("GET", &format!("/v1/responses/{id}"), "").await.json();
    assert_eq!((&whole["id"], &whole["status"]), (&id.into(), &"completed".into()));
    let rest = server.ask("GET", &format!("/v1/responses/{id}?stream=true&starting_after=6"), "").await;
    let rest = String::from_utf8(rest.bytes()).unwrap();
    assert!(rest.contains(r#""sequence_number":7,"#) && !rest.contains(r#""sequence_number":6,"#), "{rest}");
    let last: Value = serde_json::from_str(rest.trim().rsplit_once("data: ").unwrap().1).unwrap();
    assert_eq!(last["response"], whole);
    assert!(server.ask("GET", "/v1/responses/resp_none", "").await.head.starts_with("http/1.1 404"));
    server.end().await;
}

#[tokio::test]
async fn a_models_name_steers_where_a_body_cannot() {
    let server = Server::start().await;
    let path = "/v1beta/models/simulated;tokens=3;cut_after=2:streamGenerateContent?alt=sse";
    let cut = server.ask("POST", path, r#"{"contents":[1]}"#).await;
    assert_eq!((cut.events(), cut.whole), (2, false));
    server.end().await;
}
