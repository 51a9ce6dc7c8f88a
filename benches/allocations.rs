//! Isolates what a token allocates on its way from the provider's socket to one viewer's bytes: all of it that the
//! gateway does on that way, on the thread that does it, with the journal in memory. Wall time differs from machine to
//! machine, and this does not: a way that allocates more than it is allowed here fails, and `cargo test` runs it.
//!
//! `meaning` is splitter and dialect alone, by family. `way` is everything: reqwest reads a socket, the upstream task
//! cuts, understands, gathers and appends, and a viewer takes a view of it; with one block in each read of the socket,
//! which is a frame and a delivery for each token, and with 16 of them.
//!
//! What grows with the log (its bytes, its index, a fold of what was said) is allocated by doubling, so that a
//! fraction is left for each token: the figures are no whole numbers.

mod material;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokencast::cast::coalesce;
use tokencast::cast::hub::order::{Ask, Origin};
use tokencast::tasks::Tasks;
use tokencast::upstream::provider::{self, Registry};
use tokencast::upstream::split::Splitter;
use tokencast::upstream::{self, Limits};
use tokencast::view::View;
use tokencast::viewer::{Step, Viewer};
use tokio_util::sync::CancellationToken;

use self::material::{TONGUES, Tongue, cast, openai_chat};

/// Tokens before those that count: whatever is set up once is there then.
const BEFORE: usize = 512;
const TOKENS: usize = 4096;

#[expect(clippy::print_stdout, reason = "the table is the result")]
fn main() -> ExitCode {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut all_well = true;
    let mut row = |name: String, allowed: f64, measure: &dyn Fn() -> f64| {
        if name.contains(&wanted) {
            let measured = measure();
            let verdict = if measured <= allowed { "" } else { "  TOO MANY" };
            all_well &= measured <= allowed;
            println!("{name:36} {measured:8.3} allocations per token, {allowed:.3} allowed{verdict}");
        }
    };
    for tongue in TONGUES {
        row(format!("meaning/{}", tongue.name), 0.0, &|| meaning(tongue));
    }
    let [chat, ..] = TONGUES;
    let call = openai_chat(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"wonder"}}]}"#);
    // It has escapes, whose decoder needs memory.
    row("meaning/openai_chat/tool_call".into(), 3.0, &|| meaning_of(chat, &call));
    for tongue in TONGUES {
        row(format!("way/{}", tongue.name), 0.2, &|| way(tongue, View::Events, 1));
    }
    for view in [View::Raw, View::Text, View::Packed, View::Lines, View::Poll, View::Ui] {
        row(format!("way/openai_chat/{}", view.name()), 0.2, &|| way(chat, view, 1));
    }
    // A frame of many blocks has its lists elsewhere.
    row("way/openai_chat/16_at_a_time".into(), 0.6, &|| way(chat, View::Events, 16));
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What blocks cost from bytes to events.
fn meaning(tongue: Tongue) -> f64 {
    meaning_of(tongue, &tongue.token())
}

fn meaning_of(tongue: Tongue, block: &[u8]) -> f64 {
    let mut splitter = Splitter::new(tongue.family.framing(), 1024 * 1024);
    let mut dialect = tongue.family.dialect(tongue.path);
    let (mut pieces, mut events) = (Vec::new(), Vec::new());
    let token = Bytes::copy_from_slice(block);
    let mut read = |tokens: usize| {
        for _ in 0..tokens {
            splitter.push(token.clone(), &mut pieces).expect("no block is too large");
            for piece in pieces.drain(..) {
                dialect.read(&piece.bytes, &mut events);
            }
            assert!(!events.is_empty(), "a token is an event");
            events.clear();
        }
    };
    read(BEFORE);
    per_token(|| read(TOKENS))
}

/// What a token costs from the socket to a viewer's bytes.
fn way(tongue: Tongue, view: View, together: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let provider = Provider::start(tongue, together);
    let registry = registry(tongue, provider.address);
    let (cast, producer) = cast();
    let mut viewer = Viewer::new(cast.attach(), view, 0, "bench", CancellationToken::new());
    let mut follow = async |tokens: usize| {
        let upto = viewer.cursor() + tokens as u64;
        while viewer.cursor() < upto {
            provider.say();
            let next = viewer.cursor() + together as u64;
            while viewer.cursor() < next {
                assert!(matches!(viewer.next().await, Step::Batch { .. }), "the stream goes on");
            }
        }
    };
    runtime.block_on(async {
        registry.admit(ask(tongue)).expect("it is configured").launch(producer);
        follow(BEFORE).await;
    });
    per_token(|| runtime.block_on(follow(TOKENS)))
}

fn per_token(work: impl FnOnce()) -> f64 {
    allocation_counter::measure(work).count_total as f64 / TOKENS as f64
}

fn registry(tongue: Tongue, address: SocketAddr) -> Registry {
    let provider = provider::Config {
        name: "provider".into(),
        dialect: tongue.family,
        base_url: format!("http://{address}").parse().expect("a URL"),
        api_key_env: None,
        credentials: provider::Credentials::default(),
        models: vec!["*".into()],
        paths: Vec::new(),
        proxy_paths: None,
    };
    let limits = Limits { config: upstream::Config::default(), stream_bytes_max: u64::MAX };
    let client = upstream::client(&limits.config, |builder| builder);
    // Each read of the socket is a frame: the most that a token can cost.
    let coalesce = coalesce::Config { frame_interval_ms: 0, ..coalesce::Config::default() };
    Registry::new(&[provider], |_| None, client, limits, coalesce, Tasks::default())
}

fn ask(tongue: Tongue) -> Ask {
    Ask {
        provider: Some("provider".into()),
        path: Some(tongue.path.into()),
        request: serde_json::from_str(r#"{"model":"m"}"#).expect("JSON"),
        ask_usage: false,
        passed: Vec::new(),
        dialect: None,
        query: None,
        wants_head: false,
    }
}

/// A provider on a thread of its own, which says some tokens at a time when it is told to.
struct Provider {
    address: SocketAddr,
    cue: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Provider {
    fn start(tongue: Tongue, together: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let (cue, cues) = sync_channel(1);
        let thread = std::thread::spawn(move || answer(&listener, tongue, together, &cues));
        Self { address, cue: Some(cue), thread: Some(thread) }
    }

    fn say(&self) {
        self.cue.as_ref().expect("it lives").send(()).expect("it listens");
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.cue = None;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ends well");
        }
    }
}

fn answer(listener: &TcpListener, tongue: Tongue, together: usize, cues: &Receiver<()>) {
    let (mut socket, _) = listener.accept().expect("the gateway comes");
    socket.set_nodelay(true).expect("a socket");
    hear(&mut socket);
    let content_type = tongue.family.content_type();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n");
    socket.write_all(head.as_bytes()).expect("it is read");
    let tokens = tongue.token().repeat(together);
    let mut chunk = format!("{:x}\r\n", tokens.len()).into_bytes();
    chunk.extend_from_slice(&tokens);
    chunk.extend_from_slice(b"\r\n");
    while cues.recv().is_ok() {
        socket.write_all(&chunk).expect("it is read");
    }
}

/// Reads a request to the end of its body, which is a JSON object.
fn hear(socket: &mut TcpStream) {
    let (mut heard, mut bytes) = (Vec::new(), [0; 4096]);
    while !heard.ends_with(b"}") {
        let len = socket.read(&mut bytes).expect("the gateway asks");
        assert!(len > 0, "a request has a body");
        heard.extend_from_slice(&bytes[..len]);
    }
}
