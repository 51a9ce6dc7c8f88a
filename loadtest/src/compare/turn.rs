//! One server at one point, once.

use std::time::Duration;

use serde_json::json;
use tokio::time::{sleep, timeout};

use super::Options;
use super::peer::Peer;
use super::point::{Point, Shape};
use super::publish;
use crate::clock::now_ns;
use crate::crowd::{Job, Watched};
use crate::fleet::Fleet;
use crate::gateway::Journal;
use crate::limits::Wanted;
use crate::preset::{Preset, Transport};
use crate::report::{Report, rounded};
use crate::run::{self, Against, Outcome};
use crate::script::Script;
use crate::tally::Tally;
use crate::viewer::Wire;
use crate::{Common, Fault, say};

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

/// What one turn has shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// CPU of the server per token that was delivered.
    pub(super) cost_us: f64,
    pub(super) tokens_per_s: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) bytes: f64,
    pub(super) idle_kib: f64,
    pub(super) lost_percent: f64,
}

impl Turn {
    pub(super) fn json(&self, point: Point, peer: Peer, round: usize) -> serde_json::Value {
        json!({
            "kind": "turn", "point": point.name(), "peer": peer.name(), "round": round + 1,
            "cpu_us_per_event": rounded(self.cost_us), "events_per_s": self.tokens_per_s.round(),
            "p50_ms": rounded(self.p50_ms), "p99_ms": rounded(self.p99_ms),
            "bytes_per_event": rounded(self.bytes), "idle_kib_per_viewer": rounded(self.idle_kib),
            "lost_percent": rounded(self.lost_percent),
        })
    }
}

pub(super) async fn turn(
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
    let expected = shape.all_viewers() * shape.tokens;
    Ok(measured.turn(expected, shape.all_viewers()))
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
        spread_s: shape.spread_s(),
        late: 0.0,
        late_within_s: None,
        silent: 0.0,
        cuts: 0.0,
        kill_at_s: 0.0,
        down_s: 0.0,
        journal: Journal::Memory,
        seed: 1,
    }
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
    let viewers = shape.all_viewers();
    let wanted = Wanted { streams: u64::from(shape.streams), viewers, is_local: true, ..Wanted::default() };
    let layout = wanted.check()?;
    let running = peer.start(common.pin, shape.streams, viewers).await?;
    let tree = running.tree();
    let before = tree.memory().now_kib;
    let scripts: Vec<Script> = (0..shape.streams)
        .map(|stream| Script {
            stream,
            tokens: shape.tokens,
            token_bytes,
            rate: shape.rate,
            jitter: 0.0,
            burst: 1,
            begin_us: (shape.spread_s() * 1e6 * f64::from(stream) / f64::from(shape.streams)) as u64,
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
