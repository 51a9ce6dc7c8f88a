//! What a frame costs over WebTransport: the gateway against a bare loop over the same library that writes as many
//! frames of the same size, by turns, in one run. The difference is what the gateway itself adds.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use wtransport::endpoint::endpoint_side::Client;
use wtransport::{Connection, Endpoint, RecvStream};

use crate::clock::now_ns;
use crate::gateway::{Gateway, Journal};
use crate::hex::unhex;
use crate::machine::{self, Tree};
use crate::provider::Provider;
use crate::report::{Report, median, rounded};
use crate::script::Script;
use crate::{Common, Fault, http, say, webtransport};

const WITHIN: Duration = Duration::from_secs(30);
const SETTLE: Duration = Duration::from_secs(2);
/// Sockets that the sessions share: one alone loses packets.
const SOCKETS: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[arg(long, default_value_t = 300)]
    sessions: usize,
    /// Streams that every session follows
    #[arg(long, default_value_t = 1)]
    streams: u32,
    /// Frames per second of each stream
    #[arg(long, default_value_t = 60.0)]
    rate: f64,
    /// Bytes of text per frame
    #[arg(long, default_value_t = 64)]
    text: usize,
    /// How long to measure, per turn
    #[arg(long, value_name = "S", default_value_t = 8.0)]
    seconds: f64,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// Who is measured, and what to follow there.
struct Server {
    url: String,
    hashes: Vec<[u8; 32]>,
    /// Streams that have to be asked for.
    names: Vec<String>,
    /// Streams that come.
    streams: u32,
}

/// What one turn has shown.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// CPU of the server per frame, in microseconds.
    cost: f64,
    record_bytes: f64,
    session_kib: f64,
    lost: bool,
}

pub(crate) async fn run(options: &Options, common: &Common) -> Result<Report, Fault> {
    let (mut ours, mut bare, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        let turn = Box::pin(of_the_gateway(options, common)).await?;
        let floor = Box::pin(of_the_bare_loop(options, common, options.streams, turn.record_bytes)).await?;
        say(format_args!("round {round}: {:.2} µs a frame, the bare loop {:.2} µs", turn.cost, floor.cost));
        ours.push(turn);
        bare.push(floor);
        if options.streams > 1 {
            alone.push(Box::pin(of_the_bare_loop(options, common, 1, turn.record_bytes)).await?);
        }
    }
    let mut report = Report::default();
    report.note("sessions", options.sessions, "");
    report.note("streams per session", options.streams, "");
    report.note("frames per second and stream", options.rate, "");
    let of = |turns: &[Turn], figure: fn(&Turn) -> f64| median(turns.iter().map(figure));
    let (cost, floor) = (of(&ours, |turn| turn.cost), of(&bare, |turn| turn.cost));
    report.note("bytes of a frame", rounded(of(&ours, |turn| turn.record_bytes)), "");
    report.note("CPU per frame, gateway", rounded(cost), "µs");
    report.note("CPU per frame, bare loop", rounded(floor), "µs");
    report.note("ratio", rounded(cost / floor), "");
    if !alone.is_empty() {
        let floor = of(&alone, |turn| turn.cost);
        report.note("CPU per frame, bare loop with one stream per session", rounded(floor), "µs");
        report.note("ratio to that", rounded(cost / floor), "");
    }
    report.note("memory per session, gateway", rounded(of(&ours, |turn| turn.session_kib)), "KiB");
    report.note("memory per session, bare loop", rounded(of(&bare, |turn| turn.session_kib)), "KiB");
    if ours.iter().any(|turn| turn.lost) {
        report.violation("a session broke off, or a stream ended without END");
    }
    Ok(report)
}

/// The gateway with its streams, provider and journal in memory.
async fn of_the_gateway(options: &Options, common: &Common) -> Result<Turn, Fault> {
    // One of its own: it is released once.
    let provider = Provider::start(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let gateway = Gateway::start(provider.addr, options.sessions as u64, Journal::Memory, common).await?;
    let before = gateway.tree().memory().now_kib;
    let webtransport::Place { base, hashes } = webtransport::place(gateway.addr, "").await?;
    // Long enough for everybody to come, and for the measurement.
    let tokens = ((options.seconds + 10.0 + options.sessions as f64 / 100.0) * options.rate) as u64;
    let names: Vec<String> = (0..options.streams).map(|number| format!("s{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let script = Script {
            stream: u32::try_from(number)?,
            tokens,
            token_bytes: options.text,
            rate: options.rate,
            jitter: 0.0,
            burst: 1,
            begin_us: 0,
        };
        let envelope = format!(r#"{{"id":"{name}","request":{}}}"#, script.request());
        let mut connection = http::Connection::open(gateway.addr).await?;
        let (status, _) = connection.ask("POST", "/v1/streams", "", &envelope).await?;
        if status != 201 {
            return Err(format!("a stream is not started: {status}").into());
        }
    }
    provider.begin(now_ns());
    let server = Server { url: format!("{base}/v1/session"), hashes, names, streams: options.streams };
    let turn = measure(options, &server, before, &gateway.tree()).await?;
    let complaints = gateway.complaints();
    complaints.iter().for_each(say);
    Ok(turn)
}

/// This program once more, as a server that does nothing but write.
async fn of_the_bare_loop(
    options: &Options,
    common: &Common,
    streams: u32,
    record_bytes: f64,
) -> Result<Turn, Fault> {
    let own = std::env::current_exe()?;
    let mut child = machine::command(&own, common.pin)
        .args(["bare", "--streams", &streams.to_string()])
        .args(["--rate", &options.rate.to_string(), "--bytes", &(record_bytes as u64).to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().ok_or("the bare loop says nothing")?;
    let mut said = String::new();
    timeout(WITHIN, BufReader::new(stdout).read_line(&mut said)).await??;
    let (addr, hash) = said.trim().split_once(' ').ok_or("the bare loop does not start")?;
    let addr: SocketAddr = addr.parse()?;
    let tree = Tree::of(child.id());
    let before = tree.memory().now_kib;
    let server =
        Server { url: format!("https://{addr}/"), hashes: vec![unhex(hash)?], names: Vec::new(), streams };
    measure(options, &server, before, &tree).await
}

/// Opens the sessions, waits until all of them get frames, and counts for a while.
async fn measure(options: &Options, server: &Server, before_kib: u64, tree: &Tree) -> Result<Turn, Fault> {
    let counts = Arc::new(Counts::default());
    let endpoints: Vec<Endpoint<Client>> =
        (0..SOCKETS).map(|_| webtransport::endpoint(&server.hashes)).collect::<Result<_, _>>()?;
    let mut sessions = JoinSet::new();
    let mut readers = JoinSet::new();
    for number in 0..options.sessions {
        let connection = timeout(WITHIN, endpoints[number % SOCKETS].connect(&server.url)).await??;
        let (streams, counts, wanted) = (server.names.clone(), counts.clone(), server.streams);
        sessions.spawn(async move {
            let control = subscribe(&connection, &streams).await?;
            let mut opened = Vec::new();
            for _ in 0..wanted {
                opened.push(timeout(WITHIN, connection.accept_uni()).await??);
            }
            Ok::<_, Fault>((connection, control, opened, counts))
        });
    }
    let mut kept = Vec::new();
    while let Some(session) = sessions.join_next().await {
        let (connection, control, opened, counts) = session??;
        for stream in opened {
            readers.spawn(counts.clone().read(stream));
        }
        kept.push((connection, control));
    }
    sleep(SETTLE).await;
    let session_kib = tree.memory().now_kib.saturating_sub(before_kib) as f64 / options.sessions as f64;
    let (cpu, frames, bytes) = (tree.cpu(), counts.frames(), counts.bytes());
    sleep(Duration::from_secs_f64(options.seconds)).await;
    let (cpu, frames, bytes) = (tree.cpu() - cpu, counts.frames() - frames, counts.bytes() - bytes);
    let wanted = options.sessions as f64 * f64::from(server.streams) * options.rate * options.seconds;
    if (frames as f64) < wanted * 0.9 {
        say(format_args!("only {frames} of {wanted} frames came: this machine is too slow for that"));
    }
    Ok(Turn {
        cost: cpu.as_secs_f64() * 1e6 / frames as f64,
        record_bytes: bytes as f64 / frames as f64,
        session_kib,
        lost: counts.lost.load(Ordering::Relaxed),
    })
}

/// Follows the streams, if there are any to be named.
async fn subscribe(
    connection: &Connection,
    streams: &[String],
) -> Result<Option<(wtransport::SendStream, RecvStream)>, Fault> {
    if streams.is_empty() {
        return Ok(None);
    }
    let (mut send, receive) = connection.open_bi().await?.await?;
    let mut said = framed(&json!({ "type": "hello", "version": 1 }))?;
    for (number, stream) in streams.iter().enumerate() {
        said.extend(framed(&json!({
            "type": "subscribe", "subscription": number, "stream": stream, "from": "live",
        }))?);
    }
    send.write_all(&said).await?;
    Ok(Some((send, receive)))
}

fn framed(message: &Value) -> Result<Vec<u8>, Fault> {
    let message = rmp_serde::to_vec_named(message)?;
    Ok([&u32::try_from(message.len())?.to_be_bytes(), &*message].concat())
}

/// What all sessions have read.
#[derive(Debug, Default)]
struct Counts {
    frames: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicBool,
}

impl Counts {
    fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts records until the stream ends, or is not wanted any more.
    async fn read(self: Arc<Self>, mut stream: RecvStream) {
        let (mut chunk, mut arrived) = ([0; 16 * 1024], Vec::new());
        loop {
            match stream.read(&mut chunk).await {
                Ok(Some(read)) => arrived.extend_from_slice(&chunk[..read]),
                Ok(None) => return,
                Err(_) => return self.lost.store(true, Ordering::Relaxed),
            }
            let mut rest = &arrived[..];
            while let Some((len, more)) = rest.split_first_chunk()
                && let Some((_, more)) = more.split_at_checked(u32::from_be_bytes(*len) as usize)
            {
                self.frames.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add((rest.len() - more.len()) as u64, Ordering::Relaxed);
                rest = more;
            }
            let used = arrived.len() - rest.len();
            arrived.drain(..used);
        }
    }
}
