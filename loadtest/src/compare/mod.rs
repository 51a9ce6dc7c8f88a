//! The gateway beside other servers: on one machine, in one run, taking turns, with as many bytes per event. What counts is
//! the ratios; the floor says how much of each figure nobody can avoid.

pub(crate) mod floor;
pub(crate) mod naive;
mod peer;
mod publish;
mod table;

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::time::{sleep, timeout};

use self::peer::Peer;
pub(crate) use self::table::{Figure, Kind, Table};
use crate::clock::now_ns;
use crate::crowd::{Job, Watched};
use crate::fleet::Fleet;
use crate::gateway::Journal;
use crate::limits::Wanted;
use crate::machine::Tree;
use crate::preset::{Preset, Transport};
use crate::progress::Progress;
use crate::report::{Report, rounded};
use crate::run::{Against, Outcome};
use crate::script::Script;
use crate::tally::Tally;
use crate::viewer::Wire;
use crate::{Common, Fault, json_line, page, run, say, write};

const READY_WITHIN: Duration = Duration::from_secs(120);
/// Until memory and CPU of the viewers' coming are over.
const SETTLE: Duration = Duration::from_secs(1);
const LEAD: Duration = Duration::from_millis(200);
/// How long a server may be behind the schedule before what is missing counts as lost.
const GRACE: Duration = Duration::from_secs(20);
/// What the gateway's native view adds to a token: id, name, `from`.
const NATIVE_BYTES: usize = 50;
/// `data: ` and the blank line.
const SSE_BYTES: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What to do; all of them if none is named
    #[arg(long, value_delimiter = ',')]
    point: Vec<Point>,
    /// Whom to ask
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "floor,tokencast,nchan,durable-streams,naive-axum,node-redis"
    )]
    peers: Vec<Peer>,
    /// Turns of everybody, in another order each
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long everybody delivers, per turn
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    seconds: f64,
    /// Bytes of an event on the wire
    #[arg(long, default_value_t = 114)]
    event_bytes: usize,
    /// As many viewers as that part of them
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    scale: f64,
}

/// What is done to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Point {
    /// One stream × 1,000 viewers, 60 events/s
    Room,
    /// One stream × 5,000 viewers, 20 events/s
    Hall,
    /// 500 streams × 4 viewers, 10 events/s
    Many,
    /// 500 viewers, 4,000 events at once
    Burst,
    /// 5,000 viewers who wait
    Idle,
}

/// A point in figures.
#[derive(Debug, Clone, Copy)]
struct Shape {
    streams: u32,
    viewers: u64,
    rate: f64,
    tokens: u64,
}

impl Point {
    fn name(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }

    fn about(self) -> String {
        self.to_possible_value()
            .and_then(|value| value.get_help().map(ToString::to_string))
            .unwrap_or_default()
    }

    fn kind(self) -> Kind {
        match self {
            Self::Idle => Kind::Memory,
            Self::Burst => Kind::Burst,
            Self::Room | Self::Hall | Self::Many => Kind::Paced,
        }
    }

    fn shape(self, options: &Options) -> Shape {
        let scaled = |number: u64| ((number as f64 * options.scale).round() as u64).max(1);
        let lasting = |rate: f64| ((rate * options.seconds).ceil() as u64).max(1);
        match self {
            Self::Room => Shape { streams: 1, viewers: scaled(1000), rate: 60.0, tokens: lasting(60.0) },
            Self::Hall => Shape { streams: 1, viewers: scaled(5000), rate: 20.0, tokens: lasting(20.0) },
            Self::Many => {
                Shape { streams: scaled(500) as u32, viewers: 4, rate: 10.0, tokens: lasting(10.0) }
            }
            Self::Burst => Shape { streams: 1, viewers: scaled(500), rate: 0.0, tokens: 4000 },
            Self::Idle => Shape { streams: 1, viewers: scaled(5000), rate: 1.0, tokens: 1 },
        }
    }
}

/// What one turn has shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// CPU of the server per token that was delivered.
    cost_us: f64,
    tokens_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    bytes: f64,
    idle_kib: f64,
    lost_percent: f64,
}

pub(crate) async fn run(options: &Options, common: &Common) -> Result<Report, Fault> {
    if options.rounds == 0 || options.peers.is_empty() {
        return Err("there is nobody to measure: --rounds and --peers want at least one each".into());
    }
    let missing: Vec<String> = options.peers.iter().filter_map(|peer| peer.missing()).collect();
    if !missing.is_empty() {
        return Err(format!("{}\nor leave them out with --peers", missing.join("\n")).into());
    }
    let points = if options.point.is_empty() { Point::value_variants() } else { &options.point };
    let mut report = Report::default();
    let mut tables = Vec::new();
    for point in points {
        let mut turns: Vec<Vec<Turn>> = vec![Vec::new(); options.peers.len()];
        let mut progress = Progress::new();
        for round in 0..options.rounds {
            for at in 0..options.peers.len() {
                // Nobody always comes first, or always behind the same one.
                let at = (at + round) % options.peers.len();
                let peer = options.peers[at];
                progress.show(format_args!(
                    "{}, round {} of {}: {}",
                    point.name(),
                    round + 1,
                    options.rounds,
                    peer.name()
                ));
                let turn = Box::pin(turn(peer, point.shape(options), options, common, &mut report)).await?;
                json_line(common, || turn.json(*point, peer, round));
                turns[at].push(turn);
            }
        }
        progress.clear();
        let rows = options.peers.iter().map(|peer| peer.name()).zip(turns).collect();
        tables.push(Table::new(point.name(), point.about(), point.kind(), rows));
    }
    for table in &tables {
        if !common.json {
            table.print();
        }
        table.note(&mut report);
    }
    if let Some(file) = &common.html {
        write(file, &page::of_comparison(options.rounds, &tables, &report))?;
    }
    Ok(report)
}

async fn turn(
    peer: Peer,
    shape: Shape,
    options: &Options,
    common: &Common,
    report: &mut Report,
) -> Result<Turn, Fault> {
    let beside = if peer == Peer::Tokencast { NATIVE_BYTES } else { SSE_BYTES + peer.framing_bytes() };
    let token_bytes = options.event_bytes.saturating_sub(beside).max(crate::token::BYTES_MIN);
    let measured = if peer == Peer::Tokencast {
        let preset = gateway(shape, token_bytes);
        preset.check()?;
        let outcome = run::run(&peer.name(), &preset, &Against::default(), common).await?;
        let (told, violations) = outcome.report.told();
        report.violations(violations, told.iter().cloned());
        Measured::of_the_gateway(&outcome)
    } else {
        of_a_peer(peer, shape, token_bytes, common).await?
    };
    let expected = u64::from(shape.streams) * shape.viewers * shape.tokens;
    Ok(measured.turn(expected, u64::from(shape.streams) * shape.viewers))
}

fn gateway(shape: Shape, token_bytes: usize) -> Preset {
    Preset {
        about: String::new(),
        streams: u64::from(shape.streams),
        viewers: shape.viewers,
        rate: shape.rate,
        tokens: shape.tokens,
        token_bytes: token_bytes as u64,
        jitter: 0.0,
        burst: 1,
        transport: Transport::Sse,
        spread_s: spread_s(shape),
        late: 0.0,
        late_within_s: None,
        silent: 0.0,
        cuts: 0.0,
        kill_at_s: None,
        down_s: 0.0,
        journal: Journal::Memory,
        seed: 1,
    }
}

/// Streams take turns within one interval.
fn spread_s(shape: Shape) -> f64 {
    if shape.rate > 0.0 && shape.streams > 1 { 1.0 / shape.rate } else { 0.0 }
}

/// What was seen of one server in one turn.
struct Measured {
    tally: Tally,
    cpu: Duration,
    begin_ns: u64,
    /// Before anybody came, and with everybody there.
    memory_kib: (u64, u64),
}

impl Measured {
    fn of_the_gateway(outcome: &Outcome) -> Self {
        Self {
            tally: outcome.tally.clone(),
            cpu: outcome.samples.last().map_or(Duration::ZERO, |sample| sample.cpu),
            begin_ns: outcome.begin_ns,
            memory_kib: outcome.memory_kib,
        }
    }

    fn turn(&self, expected: u64, viewers: u64) -> Turn {
        let Self { tally, cpu, begin_ns, memory_kib } = self;
        let tokens = tally.tokens as f64;
        let ms = |quantile| tally.latency.quantile_ms(quantile).unwrap_or(f64::NAN);
        Turn {
            cost_us: cpu.as_secs_f64() * 1e6 / tokens,
            tokens_per_s: tokens * 1e9 / tally.last_ns.saturating_sub(*begin_ns) as f64,
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            bytes: tally.bytes as f64 / tokens,
            idle_kib: memory_kib.1.saturating_sub(memory_kib.0) as f64 / viewers as f64,
            lost_percent: expected.saturating_sub(tally.tokens) as f64 * 100.0 / expected as f64,
        }
    }
}

async fn of_a_peer(peer: Peer, shape: Shape, token_bytes: usize, common: &Common) -> Result<Measured, Fault> {
    let viewers = u64::from(shape.streams) * shape.viewers;
    let wanted = Wanted { streams: u64::from(shape.streams), viewers, is_local: true, ..Wanted::default() };
    let layout = wanted.check()?;
    let running = peer.start(common.pin, shape.streams, viewers).await?;
    let tree: Tree = running.tree();
    let before = tree.memory().now_kib;
    let scripts: Vec<Script> = (0..shape.streams)
        .map(|stream| Script {
            stream,
            tokens: shape.tokens,
            token_bytes,
            rate: shape.rate,
            jitter: 0.0,
            burst: 1,
            begin_us: (spread_s(shape) * 1e6 * f64::from(stream) / f64::from(shape.streams)) as u64,
        })
        .collect();
    let takes = scripts.iter().map(Script::takes).max().unwrap_or_default();
    let job = Job {
        wire: Wire::Tokens,
        addr: running.addr,
        place: None,
        headers: String::new(),
        streams: scripts
            .iter()
            .map(|script| Watched { target: peer.listen_path(script.stream), script: *script })
            .collect(),
        viewers: shape.viewers,
        share: 0,
        of: layout.children,
        sources: layout.sources,
        late: 0.0,
        late_within: None,
        silent: 0.0,
        cuts: 0.0,
        interruptible: false,
        seed: 1,
        within: takes + GRACE,
    };
    let jobs: Vec<Job> = (0..layout.children).map(|share| Job { share, ..job.clone() }).collect();
    let mut fleet = Fleet::start(&jobs).await?;
    let coming = async {
        while !fleet.is_ready() {
            fleet.hear().await?;
        }
        Ok::<_, Fault>(())
    };
    timeout(READY_WITHIN, coming)
        .await
        .map_err(|_| format!("{}: viewers do not come in within two minutes", peer.name()))??;
    sleep(SETTLE).await;
    let memory_kib = (before, tree.memory().now_kib);
    let cpu = tree.cpu();
    let begin_ns = now_ns() + LEAD.as_nanos() as u64;
    fleet.begin(begin_ns).await?;
    let mut publishing = publish::publish(peer, running.publish, &scripts, begin_ns);
    while !fleet.is_done() {
        tokio::select! {
            heard = fleet.hear() => heard?,
            Some(published) = publishing.join_next() => published??,
        }
    }
    let cpu = tree.cpu().saturating_sub(cpu);
    let mut tally = Tally::default();
    for done in &fleet.done {
        tally.merge(&done.tally);
        done.told.iter().take(3).for_each(|what| say(format_args!("{}: {what}", peer.name())));
    }
    running.stop().await;
    Ok(Measured { tally, cpu, begin_ns, memory_kib })
}

impl Turn {
    fn json(&self, point: Point, peer: Peer, round: usize) -> serde_json::Value {
        json!({
            "kind": "turn", "point": point.name(), "peer": peer.name(), "round": round + 1,
            "cpu_us_per_event": rounded(self.cost_us), "events_per_s": self.tokens_per_s.round(),
            "p50_ms": rounded(self.p50_ms), "p99_ms": rounded(self.p99_ms),
            "bytes_per_event": rounded(self.bytes), "idle_kib_per_viewer": rounded(self.idle_kib),
            "lost_percent": rounded(self.lost_percent),
        })
    }
}
