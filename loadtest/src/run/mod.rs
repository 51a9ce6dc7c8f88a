//! A preset at work: streams that wait, viewers that come, one release of all, and what must be true afterwards.

mod figures;
mod proof;
mod sample;
mod server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

pub(crate) use self::sample::Sample;
pub(crate) use self::server::Against;
use self::server::Server;
use crate::clock::now_ns;
use crate::crowd::{Job, MOMENT, Watched};
use crate::fleet::Fleet;
use crate::gateway::{Gateway, address};
use crate::http::Connection;
use crate::limits::{Layout, Wanted};
use crate::machine;
use crate::preset::{Preset, Transport};
use crate::progress::Progress;
use crate::provider::Provider;
use crate::report::{Report, rounded};
use crate::script::Script;
use crate::tally::{Moment, Tally};
use crate::viewer::Wire;
use crate::{Common, Fault, json_line, say, webtransport};

/// Beyond the time that everything takes by the schedule.
const GRACE: Duration = Duration::from_secs(60);
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Until memory of the viewers' coming has come to rest.
const SETTLE: Duration = Duration::from_secs(1);
/// Between the order and the beginning, so that it reaches everybody.
const LEAD: Duration = Duration::from_millis(200);
const STARTING_MAX: usize = 32;

#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) report: Report,
    pub(crate) tally: Tally,
    pub(crate) samples: Vec<Sample>,
    /// When the schedule began, by [`crate::clock`].
    pub(crate) begin_ns: u64,
    /// Of the gateway, before anybody came, and with everybody there who comes early.
    pub(crate) memory_kib: (u64, u64),
}

pub(crate) async fn run(
    name: &str,
    preset: &Preset,
    against: &Against,
    common: &Common,
) -> Result<Outcome, Fault> {
    if preset.kills() && against.against.is_some() {
        return Err("this preset kills the gateway: leave out --against, or say --set kill_at_s=0".into());
    }
    let layout = wanted(preset, against).check()?;
    let listen = match against.against {
        Some(_) => against.provider_listen,
        None => SocketAddr::from(([127, 0, 0, 1], 0)),
    };
    let provider = Provider::start(listen).await?;
    let own = match against.against {
        Some(_) => None,
        None => Some(
            Gateway::start(provider.addr, preset.all_viewers() + preset.streams, preset.journal, common)
                .await?,
        ),
    };
    let addr = match (&own, &against.against) {
        (Some(gateway), _) => gateway.addr,
        (None, url) => address(url.as_deref().unwrap_or_default())?,
    };
    let server = Server { own, pid: against.pid, before: Duration::ZERO };
    let headers = against.key.iter().map(|key| format!("authorization: Bearer {key}\r\n")).collect();
    say(format_args!("{name}: {}", told(preset)));
    json_line(common, || json!({ "kind": "begin", "preset": name, "values": preset }));
    let mut run = Run {
        preset,
        common,
        provider,
        server,
        addr,
        headers,
        report: Report::default(),
        samples: Vec::new(),
        begin_ns: 0,
        memory_kib: (0, 0),
    };
    let watched = run.start_streams().await?;
    run.memory_kib.0 = run.server.memory().now_kib;
    let fleet = Fleet::start(&run.jobs(&watched, layout).await?).await?;
    let cpu_before = (machine::own_cpu(), run.server.cpu());
    let fleet = run.through(fleet).await?;
    let tally = run.conclude(&watched, &fleet);
    run.figures(&tally, cpu_before, fleet.cpu());
    run.afterwards(&watched).await?;
    let Run { report, samples, begin_ns, memory_kib, .. } = run;
    Ok(Outcome { report, tally, samples, begin_ns, memory_kib })
}

/// A preset in one line, as it is run.
pub(crate) fn told(preset: &Preset) -> String {
    let many = |number: u64, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let pace = if preset.rate > 0.0 { format!("at {}/s", preset.rate) } else { "at once".to_owned() };
    let over = match preset.transport {
        Transport::Sse => "SSE",
        Transport::Webtransport => "WebTransport",
    };
    format!(
        "{} × {} over {over}, {} each {pace}",
        many(preset.streams, "stream"),
        many(preset.viewers, "viewer"),
        many(preset.tokens, "token")
    )
}

fn wanted(preset: &Preset, against: &Against) -> Wanted {
    let block_bytes = preset.token_bytes + 400;
    Wanted {
        streams: preset.streams,
        viewers: preset.all_viewers(),
        silent: (preset.all_viewers() as f64 * preset.silent).ceil() as u64,
        is_webtransport: preset.transport == Transport::Webtransport,
        log_kib: (preset.streams * preset.tokens * block_bytes) >> 10,
        is_local: against
            .against
            .as_deref()
            .is_none_or(|url| address(url).is_ok_and(|addr| addr.ip().is_loopback())),
    }
}

struct Run<'a> {
    preset: &'a Preset,
    common: &'a Common,
    provider: Provider,
    server: Server,
    addr: SocketAddr,
    headers: String,
    report: Report,
    samples: Vec<Sample>,
    begin_ns: u64,
    memory_kib: (u64, u64),
}

impl Run<'_> {
    /// All streams, which say nothing yet.
    async fn start_streams(&self) -> Result<Vec<Watched>, Fault> {
        let may_start = Arc::new(Semaphore::new(STARTING_MAX));
        let mut starting: JoinSet<Result<(), String>> = JoinSet::new();
        let mut watched = Vec::new();
        for stream in 0..u32::try_from(self.preset.streams)? {
            let script = script(self.preset, stream);
            let id = format!("load-{}-{stream}", std::process::id());
            let envelope = format!(r#"{{"id":"{id}","provider":"load","request":{}}}"#, script.request());
            let (addr, headers, may_start) = (self.addr, self.headers.clone(), may_start.clone());
            let target = format!("/v1/streams/{id}");
            watched.push(Watched { target: target.clone(), script });
            starting.spawn(async move {
                let _permit = may_start.acquire().await;
                let started = async {
                    let mut connection = Connection::open(addr).await?;
                    connection.ask("POST", "/v1/streams", &headers, &envelope).await
                };
                match started.await {
                    Ok((201, _)) => Ok(()),
                    Ok((status, body)) => {
                        Err(format!("{target} is not started: {status} {}", String::from_utf8_lossy(&body)))
                    }
                    Err(error) => Err(format!("{target} is not started: {error}")),
                }
            });
        }
        while let Some(started) = starting.join_next().await {
            started??;
        }
        Ok(watched)
    }

    async fn jobs(&self, watched: &[Watched], layout: Layout) -> Result<Vec<Job>, Fault> {
        let preset = self.preset;
        let (wire, place) = match preset.transport {
            Transport::Sse => (Wire::Events, None),
            Transport::Webtransport => {
                (Wire::Session, Some(webtransport::place(self.addr, &self.headers).await?))
            }
        };
        let job = Job {
            wire,
            addr: self.addr,
            place,
            headers: self.headers.clone(),
            streams: watched.to_vec(),
            viewers: preset.viewers,
            share: 0,
            of: layout.children,
            sources: layout.sources,
            late: preset.late,
            late_within: preset.late_within_s.map(Duration::from_secs_f64),
            silent: preset.silent,
            cuts: preset.cuts,
            interruptible: preset.kills(),
            seed: preset.seed,
            within: Duration::from_secs_f64(preset.seconds().max(preset.late_within_s.unwrap_or(0.0)))
                + GRACE,
        };
        Ok((0..layout.children).map(|share| Job { share, ..job.clone() }).collect())
    }

    /// From the first viewer to the last one's end.
    async fn through(&mut self, mut fleet: Fleet) -> Result<Fleet, Fault> {
        let mut progress = Progress::new();
        let coming = async {
            while !fleet.is_ready() {
                fleet.hear().await?;
                progress.show(format_args!("{} viewers are there", fleet.moment().connected));
            }
            Ok::<_, Fault>(())
        };
        timeout(READY_WITHIN, coming).await.map_err(|_| "viewers do not come in within two minutes")??;
        progress.clear();
        sleep(SETTLE).await;
        self.memory_kib.1 = self.server.memory().now_kib;
        let begin = now_ns() + LEAD.as_nanos() as u64;
        self.begin_ns = begin;
        fleet.begin(begin).await?;
        self.provider.begin(begin);
        let cpu = self.server.cpu();
        let mut tick = interval(MOMENT);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut kill = self.preset.kills().then(|| begin + (self.preset.kill_at_s * 1e9) as u64);
        while !fleet.is_done() {
            tokio::select! {
                heard = fleet.hear() => heard?,
                _ = tick.tick() => {
                    let moment = fleet.moment();
                    progress.show(self.line(&moment));
                    self.sample(moment, cpu);
                }
                () = crate::clock::until(kill.unwrap_or(0)), if kill.is_some() => {
                    kill = None;
                    progress.clear();
                    let back = self.server.restart(Duration::from_secs_f64(self.preset.down_s)).await?;
                    say(format_args!("killed, and back {} ms after its start", back.as_millis()));
                    self.report.note("the gateway's own start, after kill -9", rounded(back.as_secs_f64() * 1e3), "ms");
                }
            }
        }
        let moment = fleet.moment();
        self.sample(moment, cpu);
        progress.clear();
        Ok(fleet)
    }

    fn line(&self, moment: &Moment) -> String {
        let p99 = moment.latency.quantile_ms(0.99).map_or("–".to_owned(), |ms| format!("{ms:.1} ms"));
        format!(
            "{} of {} viewers connected, {} done, {} events, p99 {p99}, {} violations",
            moment.connected,
            self.preset.all_viewers(),
            moment.finished,
            moment.events,
            moment.violations
        )
    }

    fn sample(&mut self, moment: Moment, cpu_before: Duration) {
        let Some(at) = now_ns().checked_sub(self.begin_ns) else { return };
        let sample = Sample {
            at_s: at as f64 / 1e9,
            moment,
            cpu: self.server.cpu().saturating_sub(cpu_before),
            memory_kib: self.server.memory().now_kib,
            tcp_kib: machine::tcp_kib(),
        };
        json_line(self.common, || sample.json());
        self.samples.push(sample);
    }
}

fn script(preset: &Preset, stream: u32) -> Script {
    let begin = preset.spread_s * f64::from(stream) / preset.streams as f64;
    Script {
        stream,
        tokens: preset.tokens,
        token_bytes: preset.token_bytes as usize,
        rate: preset.rate,
        jitter: preset.jitter,
        burst: preset.burst,
        begin_us: (begin * 1e6) as u64,
    }
}
