//! Many viewers, attached at random times, perhaps cut at random bytes, each checked. This is the test of "gapless".

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use crate::gateway::{self, Gateway};
use crate::http::Connection;
use crate::provider::{Provider, request};
use crate::report::{Report, rounded};
use crate::tap::{self, Passed};
use crate::viewer::{Counts, Viewer, Watched};
use crate::{Common, Fault, limits, say};

/// Beyond the time that everything takes by the schedule.
const GRACE: Duration = Duration::from_secs(60);
/// Bytes of one event on the native wire beside its text, roughly.
const EVENT_BYTES: usize = 60;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Viewers of each stream
    #[arg(long, default_value_t = 1000)]
    viewers: u64,
    #[arg(long, default_value_t = 1)]
    streams: usize,
    /// Tokens of each stream
    #[arg(long, default_value_t = 600)]
    tokens: u64,
    /// Tokens per second of each stream; 0 is as fast as possible
    #[arg(long, default_value_t = 60.0)]
    rate: f64,
    /// How far a token may be early or late, in intervals, 0 to 1
    #[arg(long, default_value_t = 0.3)]
    jitter: f64,
    /// Tokens per write of the provider
    #[arg(long, default_value_t = 1)]
    burst: u64,
    /// Exactly so many bytes of text per token, instead of prose
    #[arg(long)]
    token_bytes: Option<u64>,
    /// Viewers come at random within so many seconds; otherwise as long as a stream takes. 0 is all at once
    #[arg(long, value_name = "S")]
    attach: Option<f64>,
    /// Streams start at random within so many seconds
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    spread: f64,
    /// Cut connections at random bytes, and come back to the last id
    #[arg(long)]
    cut: bool,
    /// Same seed, same streams
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A gateway that runs already, with a provider called `load` at --provider-listen
    #[arg(long, value_name = "URL")]
    against: Option<String>,
    /// Where that gateway finds the provider
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9199")]
    provider_listen: SocketAddr,
    /// Key of that gateway
    #[arg(long)]
    key: Option<String>,
}

impl Options {
    fn simulate(&self, number: usize) -> Value {
        let mut simulate = json!({
            "seed": self.seed.wrapping_add(number as u64),
            "tokens": self.tokens,
            "rate": self.rate,
            "jitter": self.jitter,
            "burst": self.burst,
        });
        if let Some(bytes) = self.token_bytes {
            simulate["token_bytes"] = json!(bytes);
        }
        simulate
    }

    fn stream_takes(&self) -> Duration {
        Duration::from_secs_f64(if self.rate > 0.0 { self.tokens as f64 / self.rate } else { 0.5 })
    }
}

pub(crate) async fn run(options: Options, common: &Common) -> Result<Report, Fault> {
    let viewers = options.viewers * options.streams as u64;
    limits::check(viewers, options.streams as u64)?;
    fastrand::seed(options.seed);
    let provider = Provider::start().await?;
    let listener = match &options.against {
        Some(_) => TcpListener::bind(options.provider_listen).await?,
        None => TcpListener::bind(("127.0.0.1", 0)).await?,
    };
    let tapped = listener.local_addr()?;
    let own = match options.against {
        Some(_) => None,
        None => Some(Gateway::start(tapped, viewers, common).await?),
    };
    let addr = match (&own, &options.against) {
        (Some(gateway), _) => gateway.addr,
        (None, url) => address(url.as_deref().unwrap_or_default())?,
    };

    let began = Instant::now();
    let mut watched = Vec::new();
    for number in 0..options.streams {
        let expected = provider.expect(number, &options.simulate(number)).await?;
        watched.push(Arc::new(Watched {
            gateway: addr,
            id: format!("load-{}-{number}", std::process::id()),
            headers: options.key.iter().map(|key| format!("authorization: Bearer {key}\r\n")).collect(),
            passed: Passed::new(expected.blocks, began),
            expected,
        }));
    }
    let mut background = JoinSet::new();
    background.spawn(tap::run(listener, provider.addr, watched.iter().map(|w| w.passed.clone()).collect()));

    say(format_args!(
        "{} streams × {} viewers, {} tokens each at {}/s{}",
        options.streams,
        options.viewers,
        options.tokens,
        options.rate,
        if options.cut { ", cut at random bytes" } else { "" }
    ));
    let mut report = Report::default();
    let counts = Counts::new();
    let before = Before::now(own.as_ref());
    load(&options, &watched, &counts, &mut report).await?;
    before.note(own.as_ref(), &counts, &mut report);
    afterwards(&watched, &mut report).await?;
    Ok(report)
}

/// Starts all streams, attaches all viewers, and waits for all of them.
async fn load(
    options: &Options,
    watched: &[Arc<Watched>],
    counts: &Arc<Counts>,
    report: &mut Report,
) -> Result<(), Fault> {
    let takes = options.stream_takes();
    let attach = options.attach.map_or(takes, Duration::from_secs_f64);
    let mut streams: JoinSet<Result<Vec<String>, String>> = JoinSet::new();
    for (number, watched) in watched.iter().enumerate() {
        let (watched, counts) = (watched.clone(), counts.clone());
        let bytes = watched.expected.text.len() + watched.expected.blocks as usize * EVENT_BYTES;
        let cut = options.cut.then_some(bytes / 2);
        let envelope = format!(
            r#"{{"id":"{}","provider":"load","request":{}}}"#,
            watched.id,
            request(number, &options.simulate(number))
        );
        let delay = Duration::from_secs_f64(options.spread * fastrand::f64());
        let viewers = options.viewers;
        streams.spawn(async move {
            sleep(if number == 0 { Duration::ZERO } else { delay }).await;
            let started = async {
                let mut connection = Connection::open(watched.gateway).await?;
                connection.ask("POST", "/v1/streams", &watched.headers, &envelope).await
            };
            match started.await {
                Ok((201, _)) => {}
                Ok((status, body)) => {
                    return Err(format!(
                        "{} is not started: {status} {}",
                        watched.id,
                        String::from_utf8_lossy(&body)
                    ));
                }
                Err(error) => return Err(format!("{} is not started: {error}", watched.id)),
            }
            let mut viewing = JoinSet::new();
            for _ in 0..viewers {
                let viewer = Viewer::new(watched.clone(), counts.clone(), cut);
                let at = attach.mul_f64(fastrand::f64());
                viewing.spawn(async move {
                    sleep(at).await;
                    viewer.watch().await
                });
            }
            let all = timeout(takes + attach + GRACE, async {
                let mut violations = Vec::new();
                while let Some(viewed) = viewing.join_next().await {
                    violations
                        .extend(viewed.map_err(|error| error.to_string()).and_then(|viewed| viewed).err());
                }
                violations
            });
            match all.await {
                Ok(violations) => Ok(violations),
                Err(_) => Ok(vec![format!("stream {}: {} viewers got no end", watched.id, viewing.len())]),
            }
        });
    }
    let mut tick = interval(Duration::from_secs(5));
    tick.tick().await;
    loop {
        tokio::select! {
            stream = streams.join_next() => match stream {
                Some(Ok(Ok(violations))) => report.violations.extend(violations),
                Some(Ok(Err(fault))) => return Err(fault.into()),
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
            _ = tick.tick() => say(format_args!(
                "{} streams to go, {} events seen, {} violations",
                streams.len(),
                counts.events.load(Ordering::Relaxed),
                report.violations.len()
            )),
        }
    }
}

/// What must be true of every stream when all viewers are gone.
async fn afterwards(watched: &[Arc<Watched>], report: &mut Report) -> Result<(), Fault> {
    let Some(first) = watched.first() else { return Ok(()) };
    let mut connection = Connection::open(first.gateway).await?;
    for watched in watched {
        let path = format!("/v1/streams/{}", watched.id);
        let (status, raw) = connection.ask("GET", &format!("{path}/raw"), &watched.headers, "").await?;
        if status != 200 || raw != watched.expected.body {
            report
                .violations
                .push(format!("{path}/raw is not what the provider said ({status}, {} bytes)", raw.len()));
        }
        let after = watched.expected.blocks + 1;
        let over = format!("{path}/events?after={after}");
        let (status, _) = connection.ask("GET", &over, &watched.headers, "").await?;
        if status != 204 {
            report.violations.push(format!("{over} answers {status} and not 204"));
        }
        let (_, state) = connection.ask("GET", &path, &watched.headers, "").await?;
        let state: Value = serde_json::from_slice(&state)?;
        if state["status"] != "completed" || state["choices"][0]["text"] != watched.expected.text {
            report.violations.push(format!("{path} folds to something else"));
        }
        // A viewer's connection is noticed as closed a moment later.
        if watched.id == first.id {
            report.note("viewers still counted", state["viewers"].clone(), "");
        }
    }
    Ok(())
}

/// What was used before it began.
struct Before {
    at: Instant,
    server: Duration,
    own: Duration,
    memory_kib: u64,
}

impl Before {
    fn now(gateway: Option<&Gateway>) -> Self {
        let (server, memory_kib) =
            gateway.map(|gateway| (gateway.cpu(), gateway.memory_kib().0)).unwrap_or_default();
        Self { at: Instant::now(), server, own: gateway::cpu(Path::new("/proc/self")), memory_kib }
    }

    fn note(&self, gateway: Option<&Gateway>, counts: &Counts, report: &mut Report) {
        let wall = self.at.elapsed();
        let events = counts.events.load(Ordering::Relaxed);
        report.note("deliveries (events)", events, "");
        report.note("bytes", counts.bytes.load(Ordering::Relaxed), "");
        report.note("cuts", counts.cuts.load(Ordering::Relaxed), "");
        report.note("wall", rounded(wall.as_secs_f64()), "s");
        report.note("deliveries per second", rounded(events as f64 / wall.as_secs_f64()), "");
        let latency = &counts.latency;
        report.note("latency, live events measured", latency.len(), "");
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
            let ms = latency.quantile(quantile).map(rounded);
            report.note(format!("latency {name}, an event's oldest byte → viewer"), ms, "ms");
        }
        if let Some(gateway) = gateway {
            let cpu = gateway.cpu() - self.server;
            let (now, most) = gateway.memory_kib();
            report.note("gateway CPU", rounded(cpu.as_secs_f64()), "s");
            report.note("gateway CPU per delivery", rounded(cpu.as_secs_f64() * 1e6 / events as f64), "µs");
            report.note("gateway memory before", self.memory_kib, "KiB");
            report.note("gateway memory after", now, "KiB");
            report.note("gateway memory peak", most, "KiB");
            let complaints = gateway.complaints();
            report.note("gateway log lines above info", complaints.len(), "");
            complaints.iter().for_each(say);
            report.note("gateway", gateway.binary.display().to_string(), "");
        }
        let own = gateway::cpu(Path::new("/proc/self")) - self.own;
        report.note("load generator CPU, provider included", rounded(own.as_secs_f64()), "s");
    }
}

fn address(url: &str) -> Result<SocketAddr, Fault> {
    let host = url.strip_prefix("http://").unwrap_or(url).split('/').next().unwrap_or_default();
    let mut found = host
        .to_socket_addrs()
        .map_err(|error| format!("--against {url}: {error}: write http://HOST:PORT"))?;
    found.next().ok_or_else(|| format!("--against {url}: there is no such host").into())
}
