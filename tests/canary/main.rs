//! Secrets stay with those whom they belong to. Everything that a gateway can be told as a secret is told to one that
//! logs as loudly as it can; then all that it has written anywhere is searched.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test is a failure of it")]

mod canaries;
mod gateway;
mod provider;

use std::path::PathBuf;

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokencast::client::{Follow, Item, Options, Target, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::canaries::{
    ANSWER, CALL, CALLER, CALLER_IN_QUERY, ERROR, IDEMPOTENCY, KEY_A, KEY_B, METADATA, PROMPT, PROVIDER,
    PURGED, TICKET, TOOL, UNKNOWN,
};
use crate::gateway::Gateway;
use crate::provider::Provider;

/// Who reads what a gateway writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// Of logs and of what commands print.
    Operator,
    /// Of the metrics.
    Metrics,
    /// Of the files.
    Disk,
    /// Of the files, once the gateway has ended.
    DiskAfterwards,
    /// Tenant A, whose secrets these are.
    Owner,
    /// Everybody else, on any listener.
    Others,
}
use Reader::{Disk, DiskAfterwards, Metrics, Operator, Others, Owner};

/// Everything that each reader has read.
#[derive(Debug, Default)]
struct Read(Vec<(Reader, Vec<u8>)>);

impl Read {
    fn note(&mut self, reader: Reader, bytes: impl Into<Vec<u8>>) {
        self.0.push((reader, bytes.into()));
    }

    /// What stands around the secret where this reader has it.
    fn find(&self, reader: Reader, secret: &str) -> Option<String> {
        const AROUND: usize = 300;
        self.0.iter().filter(|(by, _)| *by == reader).find_map(|(_, bytes)| {
            let at = memchr::memmem::find(bytes, secret.as_bytes())?;
            let around = &bytes[at.saturating_sub(AROUND)..bytes.len().min(at + secret.len() + AROUND)];
            Some(String::from_utf8_lossy(around).into_owned())
        })
    }
}

/// A directory that is gone with the test.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = tokencast::crypto::hex(&tokencast::crypto::random::<8>());
        let path = std::env::temp_dir().join(format!("tokencast-canary-{name}"));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Requests as one caller makes them.
#[derive(Debug, Clone)]
struct Caller {
    http: Client,
    base: String,
}

impl Caller {
    fn new(gateway: &Gateway) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().no_proxy().http1_only().build().unwrap();
        Self { http, base: format!("http://{}", gateway.http) }
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base))
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.base)).json(body)
    }

    fn delete(&self, path: &str) -> RequestBuilder {
        self.http.delete(format!("{}{path}", self.base))
    }
}

/// Status line, head and body of an answer, as far as it comes.
async fn whole(request: RequestBuilder) -> Vec<u8> {
    let mut response = request.send().await.unwrap();
    let mut read = format!("{} {:?}\n", response.status(), response.headers()).into_bytes();
    for (name, value) in response.headers() {
        read.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
    }
    while let Ok(Some(chunk)) = response.chunk().await {
        read.extend_from_slice(&chunk);
    }
    read
}

fn request(model: &str) -> Value {
    json!({
        "model": model,
        "messages": [{ "role": "user", "content": PROMPT }],
        "tools": [{ "type": "function", "function": { "name": TOOL } }],
        "stream": true,
    })
}

/// Tenant A uses everything. Gives the tickets that it got.
async fn use_it(caller: &Caller, read: &mut Read) -> Vec<String> {
    let mut tickets = Vec::new();
    for (id, model) in
        [("said", "says"), ("refused", "refuses"), ("broken", "breaks"), ("purged", "forgotten")]
    {
        let envelope = json!({ "id": id, "request": request(model), "metadata": { "note": METADATA } });
        for _ in 0..2 {
            let start = caller.post("/v1/streams", &envelope).bearer_auth(KEY_A);
            let answer = start.header("idempotency-key", format!("{IDEMPOTENCY}-{id}")).send().await.unwrap();
            let answer = answer.bytes().await.unwrap();
            read.note(Owner, answer.clone());
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            tickets.push(answer["ticket"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned());
        }
        let ticket = tickets.last().unwrap();
        for view in ["/events", "/raw", "/text", "/ui", ""] {
            let path = format!("/v1/streams/{id}{view}");
            read.note(Owner, whole(caller.get(&format!("{path}?ticket={ticket}"))).await);
            read.note(Owner, whole(caller.get(&path).bearer_auth(ticket)).await);
            read.note(Owner, whole(caller.get(&path).bearer_auth(KEY_A)).await);
        }
        let poll = caller.get(&format!("/v1/streams/{id}/events?ticket={ticket}&after=0"));
        read.note(Owner, whole(poll.header("accept", "application/json")).await);
        read.note(Owner, over_webtransport(caller, id, ticket).await);

        let door = caller.post("/v1/chat/completions", &request(model));
        read.note(Owner, whole(door.bearer_auth(KEY_A)).await);
        let brings_a_key = caller.post("/v1/messages", &request(&format!("theirs-{model}")));
        let brings_a_key = brings_a_key.header("tokencast-key", KEY_A).header("x-api-key", CALLER);
        read.note(Owner, whole(brings_a_key).await);
        let path = format!("/v1beta/models/{model}:streamGenerateContent?alt=sse&key={CALLER_IN_QUERY}");
        let in_query = caller.post(&path, &request(model)).header("tokencast-key", KEY_A);
        read.note(Owner, whole(in_query).await);
        if model != "breaks" {
            let handed_on = caller.post("/v1/embeddings", &json!({ "model": model, "input": PROMPT }));
            read.note(Owner, whole(handed_on.bearer_auth(KEY_A)).await);
        }
        let chat = json!({
            "id": "chat", "trigger": "submit-message", "model": model,
            "messages": [{ "id": "1", "role": "user", "parts": [{ "type": "text", "text": PROMPT }] }],
        });
        read.note(Owner, whole(caller.post("/api/chat", &chat).bearer_auth(KEY_A)).await);
    }
    let ticket = caller.post("/v1/tickets", &json!({ "stream": "said" })).bearer_auth(KEY_A);
    let ticket = ticket.send().await.unwrap().bytes().await.unwrap();
    read.note(Owner, ticket.clone());
    let ticket: Value = serde_json::from_slice(&ticket).unwrap();
    tickets.push(ticket["ticket"].as_str().unwrap().to_owned());
    read.note(Owner, whole(caller.get("/v1/streams").bearer_auth(KEY_A)).await);
    // What the doors have started says the same again.
    let listed = caller.get("/v1/streams?limit=100").bearer_auth(KEY_A).send().await.unwrap();
    let listed: Value = serde_json::from_slice(&listed.bytes().await.unwrap()).unwrap();
    for stream in listed["streams"].as_array().unwrap() {
        let id = stream["id"].as_str().unwrap();
        let raw = whole(caller.get(&format!("/v1/streams/{id}/raw")).bearer_auth(KEY_A)).await;
        if memchr::memmem::find(&raw, PURGED.as_bytes()).is_some() {
            read.note(
                Owner,
                whole(caller.delete(&format!("/v1/streams/{id}?purge=1")).bearer_auth(KEY_A)).await,
            );
        }
    }
    tickets
}

/// The stream as a page follows it, whose ticket stands in the URL of the session.
async fn over_webtransport(caller: &Caller, id: &str, ticket: &str) -> Vec<u8> {
    let target = Target::parse(&format!("{}/v1/streams/{id}?ticket={ticket}", caller.base)).unwrap();
    let options = Options { transport: Transport::WebTransport, ..Options::default() };
    let mut following = Follow::new(target, options);
    let mut read = Vec::new();
    loop {
        let item = following.next().await;
        read.extend(format!("{item:?}").into_bytes());
        match item.unwrap() {
            Some(Item::End(_) | Item::Over) | None => return read,
            Some(_) => {}
        }
    }
}

/// Others try what they can think of.
async fn pry(gateway: &Gateway, caller: &Caller, read: &mut Read) {
    let paths =
        ["/v1/streams/said", "/v1/streams/refused", "/v1/streams/purged", "/v1/streams", "/v1/models"];
    for path in paths {
        for view in ["", "/events", "/raw", "/text", "/ui", "?limit=100"] {
            let path = format!("{path}{view}");
            read.note(Others, whole(caller.get(&path).bearer_auth(KEY_B)).await);
            read.note(Others, whole(caller.get(&path).bearer_auth(UNKNOWN)).await);
            read.note(Others, whole(caller.get(&path)).await);
            let and = if path.contains('?') { '&' } else { '?' };
            read.note(Others, whole(caller.get(&format!("{path}{and}ticket={TICKET}"))).await);
        }
    }
    let envelope = json!({ "id": "said", "request": request("says"), "metadata": { "a": 1 } });
    let same = caller.post("/v1/streams", &envelope).bearer_auth(UNKNOWN);
    read.note(Others, whole(same.header("idempotency-key", format!("{IDEMPOTENCY}-said"))).await);
    for path in ["/v1/streams", "/v1/chat/completions", "/v1/messages", "/api/chat", "/v1/tickets"] {
        let cut = format!("{{\"request\":{{\"model\":\"says\",\"messages\":[\"{PROMPT}\"");
        let broken = caller.post(path, &json!({})).bearer_auth(KEY_B).body(cut);
        read.note(Others, whole(broken).await);
        let unknown = json!({ "request": { "messages": [PROMPT] }, "model": "nobody's", "input": PROMPT });
        read.note(Others, whole(caller.post(path, &unknown).bearer_auth(KEY_B)).await);
    }
    for address in [gateway.http, gateway.ops] {
        for line in [
            format!(
                "GET /metrics?ticket={TICKET}&key={CALLER_IN_QUERY} HTTP/1.1\r\nauthorization: Bearer {UNKNOWN}"
            ),
            format!(
                "GET /v1/streams/said?ticket={TICKET} HTTP/1.1\r\nhost: evil.example\r\ncookie: {UNKNOWN}"
            ),
            format!("GET  /broken?ticket={TICKET}\r\nauthorization: Bearer {UNKNOWN}"),
            format!(
                "POST /v1/streams HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY_A}\r\ncontent-length: x"
            ),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(format!("{line}\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            read.note(Others, answer);
        }
    }
    let target = Target::parse(&format!("{}/v1/streams/said?ticket={TICKET}", caller.base)).unwrap();
    let options = Options { transport: Transport::WebTransport, attempts_max: 1, ..Options::default() };
    read.note(Others, format!("{:?}", Follow::new(target, options).next().await));
}

async fn metrics(gateway: &Gateway, caller: &Caller, read: &mut Read) {
    for path in ["/metrics", "/readyz", "/healthz"] {
        read.note(Metrics, whole(caller.http.get(format!("http://{}{path}", gateway.ops))).await);
    }
}

/// A key where its hash belongs, and other ways to be told off.
fn mistakes(directory: &Directory, read: &mut Read) {
    let file = |text: &str| std::fs::write(directory.0.join("wrong.toml"), text).unwrap();
    for text in [
        format!("[[auth.keys]]\nname = \"a\"\nsha256 = \"{KEY_A}\"\n"),
        format!(
            "[[providers]]\nname = \"a\"\ndialect = \"openai\"\nbase_url = \"http://x\"\napi_key = \"{PROVIDER}\"\n"
        ),
        format!("[[providers]]\nname = \"a\"\ndialect = \"openai\"\nbase_url = \"{PROVIDER}\"\n"),
        format!("[retention]\nttl_s = \"{PROVIDER}\"\n"),
    ] {
        file(&text);
        read.note(Operator, gateway::command(&directory.0, &["check", "--config", "wrong.toml"], &[]));
    }
    for (name, value) in [
        ("TOKENCAST_API_KEY", PROVIDER.to_owned()),
        ("TOKENCAST_AUTH__KEYS", format!("[{{name=\"a\",sha256=\"{KEY_A}\"}}]")),
    ] {
        read.note(Operator, gateway::command(&directory.0, &["check"], &[(name, &value)]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_stay_where_they_belong() {
    let (provider, directory, mut read) = (Provider::start().await, Directory::new(), Read::default());
    let key = |key: &str, tenant: &str| {
        let sha256 = tokencast::crypto::hex(&tokencast::crypto::sha256(key.as_bytes()));
        format!("[[auth.keys]]\nname = \"{tenant}\"\nsha256 = \"{sha256}\"\ntenant = \"{tenant}\"\n")
    };
    let asks = |name: &str, dialect: &str, more: &str| {
        let url = &provider.url;
        format!("[[providers]]\nname = \"{name}\"\ndialect = \"{dialect}\"\nbase_url = \"{url}\"\n{more}\n")
    };
    let ours = "api_key_env = \"PROVIDER_KEY\"\nmodels = [\"*\"]";
    let theirs = "credentials = \"caller\"";
    let settings = [
        key(KEY_A, "a"),
        key(KEY_B, "b"),
        asks("ours", "openai", ours),
        asks("theirs", "anthropic", theirs),
        asks("google", "gemini", theirs),
    ]
    .concat();
    let variables = [("PROVIDER_KEY", PROVIDER)];

    let gateway = Gateway::start(&directory.0, &settings, &variables).await;
    let caller = Caller::new(&gateway);
    let tickets = use_it(&caller, &mut read).await;
    pry(&gateway, &caller, &mut read).await;
    metrics(&gateway, &caller, &mut read).await;
    read.note(Disk, gateway.disk());
    gateway.kill();
    // What is known again is nobody else's either.
    let gateway = Gateway::start(&directory.0, &settings, &variables).await;
    let caller = Caller::new(&gateway);
    pry(&gateway, &caller, &mut read).await;
    read.note(Owner, whole(caller.get("/v1/streams/said").bearer_auth(KEY_A)).await);
    metrics(&gateway, &caller, &mut read).await;
    read.note(Disk, gateway.disk());
    gateway.terminate().await;
    read.note(DiskAfterwards, gateway::disk(&directory.0));
    mistakes(&directory, &mut read);
    let said = gateway::said(&directory.0);
    assert!(said.contains("\"level\":\"TRACE\"") || said.contains("\"level\":\"DEBUG\""), "it was not loud");
    read.note(Operator, said);

    // Each with those who may read it.
    let nobody: &[Reader] = &[];
    let content: &[Reader] = &[Owner, Disk, DiskAfterwards];
    let mut canaries = vec![
        (KEY_A, nobody),
        (KEY_B, nobody),
        (UNKNOWN, nobody),
        (PROVIDER, nobody),
        (CALLER, nobody),
        (CALLER_IN_QUERY, nobody),
        (PROMPT, nobody),
        (TOOL, nobody),
        (IDEMPOTENCY, &[Disk, DiskAfterwards]),
        (METADATA, content),
        (ANSWER, content),
        (CALL, content),
        (ERROR, content),
        (PURGED, &[Owner]),
    ];
    let parts = TICKET.split('.').chain(tickets.iter().flat_map(|ticket| ticket.split('.').skip(1)));
    let issued: Vec<&str> = parts.collect();
    canaries.extend(issued.iter().take(3).map(|part| (*part, nobody)));
    canaries.extend(issued.iter().skip(3).map(|part| (*part, &[Owner][..])));
    let mut leaks = Vec::new();
    for (canary, may_read) in canaries {
        for reader in [Operator, Metrics, Disk, DiskAfterwards, Owner, Others] {
            match read.find(reader, canary) {
                Some(around) if !may_read.contains(&reader) => leaks.push((canary, reader, around)),
                // What nobody was ever told proves nothing.
                None if reader == Owner && may_read.contains(&Owner) => {
                    panic!("{canary} was not even read by its owner")
                }
                _ => {}
            }
        }
    }
    assert!(leaks.is_empty(), "{} leaks: {leaks:#?}", leaks.len());
    let heard = provider.heard();
    for told in [PROVIDER, CALLER, CALLER_IN_QUERY, PROMPT, TOOL] {
        assert!(memchr::memmem::find(&heard, told.as_bytes()).is_some(), "the provider was not told {told}");
    }
}
