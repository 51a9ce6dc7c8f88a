//! What the gateway adds to the first token, and what any process between would. The ways take turns in random order within one run,
//! on connections that are open already, as a client library has them; the gateway's own connection to the provider is
//! its business. The provider says all text at once, or, if asked, its first block (which has no text) before the text,
//! as real ones do.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::gateway::{Gateway, Journal};
use crate::http::{Connection, Progress};
use crate::instant::Instantly;
use crate::machine;
use crate::report::Report;
use crate::script::Script;
use crate::token::{self, Token};
use crate::{Common, Fault, sse};

/// Rounds that are not counted: connections, caches, branch predictors.
const WARM_UP: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[arg(long, default_value_t = 500)]
    rounds: usize,
    #[arg(long, default_value_t = 20)]
    tokens: u64,
    /// Between the provider's first block, which has no text, and the text
    #[arg(long, value_name = "MS", default_value_t = 0.0)]
    text_after: f64,
    /// New connections for every round, on both ways
    #[arg(long)]
    fresh: bool,
}

/// One way to the first token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    /// Through a process that hands on bytes.
    Relay,
    /// Attach when the POST is answered.
    Then,
    /// Attach while the POST is under way.
    Beside,
}

const WAYS: [Way; 4] = [Way::Direct, Way::Relay, Way::Then, Way::Beside];

/// When things happened, since the POST began.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    /// The first byte of any event.
    byte: Duration,
    /// The first event with text.
    text: Duration,
    /// The answer to the POST.
    created: Duration,
}

/// Where to ask, on connections that stay.
struct Client {
    addr: SocketAddr,
    post: Connection,
    events: Connection,
}

impl Client {
    async fn open(addr: SocketAddr) -> Result<Self, Fault> {
        Ok(Self { addr, post: Connection::open(addr).await?, events: Connection::open(addr).await? })
    }

    /// A connection that has carried events is over with them; the next one is open before it is needed.
    async fn renew_events(&mut self) -> Result<(), Fault> {
        self.events = Connection::open(self.addr).await?;
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), Fault> {
        *self = Self::open(self.addr).await?;
        Ok(())
    }
}

pub(crate) async fn run(options: &Options, common: &Common) -> Result<Report, Fault> {
    let script = Script {
        stream: 0,
        tokens: options.tokens,
        token_bytes: token::BYTES_MIN,
        rate: 0.0,
        jitter: 0.0,
        burst: 1,
        begin_us: 0,
    };
    let mut body = Vec::new();
    script.opening(&mut body);
    for number in 0..options.tokens {
        script.say(Token { stream: 0, number, due_ns: 0, late_us: 0 }, &mut body);
    }
    script.closing(&mut body);
    let pause = Duration::from_secs_f64(options.text_after / 1e3);
    let provider = Instantly::start(std::str::from_utf8(&body)?, pause).await?;
    let gateway = Gateway::start(provider.addr, 8, Journal::Memory, common).await?;
    let mut direct = Client::open(provider.addr).await?;
    let (relay_addr, _relay) = relay(provider.addr, common).await?;
    let mut relayed = Client::open(relay_addr).await?;
    let mut through = Client::open(gateway.addr).await?;
    let mut times: [Vec<Times>; 4] = Default::default();
    let mut early = 0;
    for round in 0..options.rounds + WARM_UP {
        let mut order = WAYS;
        fastrand::shuffle(&mut order);
        for way in order {
            let request = script.request();
            let client = match way {
                Way::Direct => &mut direct,
                Way::Relay => &mut relayed,
                Way::Then | Way::Beside => &mut through,
            };
            if options.fresh {
                client.renew().await?;
            } else if matches!(way, Way::Then | Way::Beside) {
                client.renew_events().await?;
            }
            let id = format!("ttft-{round}-{way:?}");
            let taken = match way {
                Way::Direct | Way::Relay => call(client, &request).await?,
                Way::Then => start_then_watch(client, &id, &request).await?,
                Way::Beside => start_and_watch(client, &id, &request, &mut early).await?,
            };
            if round >= WARM_UP {
                times[way as usize].push(taken);
            }
        }
    }
    Ok(report(options, &times, early))
}

/// This program once more, as a process that hands on bytes.
async fn relay(provider: SocketAddr, common: &Common) -> Result<(SocketAddr, Child), Fault> {
    let mut command = machine::command(&std::env::current_exe()?, common.pin);
    command.args(["relay", "--provider", &provider.to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().ok_or("the relay says nothing")?;
    let mut said = String::new();
    BufReader::new(stdout).read_line(&mut said).await?;
    Ok((said.trim().parse()?, child))
}

async fn call(client: &mut Client, request: &str) -> Result<Times, Fault> {
    let began = Instant::now();
    client.post.send("POST", "/v1/chat/completions", "", request).await?;
    client.post.head().await?;
    let has_text = |block: &[u8]| memchr::memmem::find(block, b"\"delta\":{\"content\":\"").is_some();
    let (byte, text) = first_text(&mut client.post, began, has_text).await?;
    Ok(Times { byte, text, created: Duration::ZERO })
}

async fn start_then_watch(client: &mut Client, id: &str, request: &str) -> Result<Times, Fault> {
    let envelope = envelope(id, request);
    let began = Instant::now();
    let (status, answer) = client.post.ask("POST", "/v1/streams", "", &envelope).await?;
    let created = began.elapsed();
    if status != 201 {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&answer)).into());
    }
    client.events.send("GET", &format!("/v1/streams/{id}/events"), "", "").await?;
    client.events.head().await?;
    let (byte, text) = first_text(&mut client.events, began, is_text).await?;
    Ok(Times { byte, text, created })
}

async fn start_and_watch(
    client: &mut Client,
    id: &str,
    request: &str,
    early: &mut u64,
) -> Result<Times, Fault> {
    let (envelope, target) = (envelope(id, request), format!("/v1/streams/{id}/events"));
    let Client { post, events, .. } = client;
    let began = Instant::now();
    post.send("POST", "/v1/streams", "", &envelope).await?;
    loop {
        events.send("GET", &target, "", "").await?;
        match events.head().await?.map(|head| head.status) {
            Some(200) => break,
            // There before its stream.
            _ => {
                *early += 1;
                events.rest().await?;
            }
        }
    }
    let (byte, text) = first_text(events, began, is_text).await?;
    post.head().await?;
    post.rest().await?;
    Ok(Times { byte, text, created: Duration::ZERO })
}

fn envelope(id: &str, request: &str) -> String {
    format!(r#"{{"id":"{id}","ttl_s":5,"request":{request}}}"#)
}

fn is_text(block: &[u8]) -> bool {
    matches!(sse::event(block), Ok(Some(event)) if event.name == "text")
}

/// Reads the whole body, and says when its first byte and its first text came.
async fn first_text(
    connection: &mut Connection,
    began: Instant,
    is_text: impl Fn(&[u8]) -> bool,
) -> Result<(Duration, Duration), Fault> {
    let (mut bytes, mut byte, mut text) = (Vec::new(), None, None);
    loop {
        let progress = connection.body(&mut bytes).await?;
        let now = began.elapsed();
        if !bytes.is_empty() {
            byte.get_or_insert(now);
        }
        let mut taken = 0;
        while text.is_none()
            && let Some((block, len)) = sse::block(&bytes[taken..])
        {
            if is_text(block) {
                text = Some(now);
            }
            taken += len;
        }
        bytes.drain(..taken);
        if progress == Progress::Over {
            break;
        }
    }
    Ok((byte.ok_or("an answer without a byte")?, text.ok_or("an answer without text")?))
}

fn report(options: &Options, times: &[Vec<Times>; 4], early: u64) -> Report {
    let mut report = Report::default();
    let mut figure = |name: &str, way: Way, time: fn(&Times) -> Duration| {
        let mut ms: Vec<f64> =
            times[way as usize].iter().map(|times| time(times).as_secs_f64() * 1e3).collect();
        ms.sort_by(f64::total_cmp);
        let quantiles = [0.5, 0.9, 0.99].map(|q| quantile(&ms, q));
        for (of, value) in ["p50", "p90", "p99"].into_iter().zip(quantiles) {
            report.note(format!("{name} {of}"), thousandths(value), "ms");
        }
        quantiles
    };
    let direct = figure("direct, first text", Way::Direct, |times| times.text);
    figure("direct, first byte", Way::Direct, |times| times.byte);
    let relay = figure("through a relay, first text", Way::Relay, |times| times.text);
    let then = figure("POST, then GET: first text", Way::Then, |times| times.text);
    figure("POST, then GET: 201", Way::Then, |times| times.created);
    figure("POST, then GET: open", Way::Then, |times| times.byte);
    let beside = figure("POST beside GET: first text", Way::Beside, |times| times.text);
    let ways = [
        ("a bare relay", Way::Relay, relay),
        ("the gateway, POST, then GET", Way::Then, then),
        ("the gateway, POST beside GET", Way::Beside, beside),
    ];
    for (name, way, through) in ways {
        for (of, (through, direct)) in ["p50", "p90", "p99"].into_iter().zip(through.into_iter().zip(direct))
        {
            report.note(format!("ADDED by {name}: {of}"), thousandths(through - direct), "ms");
        }
        let mut paired: Vec<f64> = times[way as usize]
            .iter()
            .zip(&times[Way::Direct as usize])
            .map(|(through, direct)| (through.text.as_secs_f64() - direct.text.as_secs_f64()) * 1e3)
            .collect();
        paired.sort_by(f64::total_cmp);
        report.note(
            format!("ADDED by {name}: median of the pairs"),
            thousandths(quantile(&paired, 0.5)),
            "ms",
        );
    }
    report.note("rounds", options.rounds, "");
    report.note("viewers that were there before their stream", early, "");
    report
}

fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    let at = (sorted.len() as f64 * quantile) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
