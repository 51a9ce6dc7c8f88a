//! The viewers of one process. It is started by `fleet`, is told its job on standard input and later when all begins, and
//! tells what it sees on standard output, as lines of JSON. One process has one thread and a limited number of open
//! files: large crowds are several of these.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};
use wtransport::Endpoint;
use wtransport::endpoint::endpoint_side::Client;

use crate::script::Script;
use crate::tally::{Moment, Tally, Times};
use crate::token::Token;
use crate::viewer::check::End;
use crate::viewer::{self, Seat, Wire};
use crate::{Fault, clock, webtransport};

/// Connections that are opened side by side.
const OPENING_MAX: usize = 64;
/// UDP sockets that sessions share: one alone loses packets.
const SOCKETS: u64 = 8;
pub(crate) const MOMENT: Duration = Duration::from_millis(500);
/// Violations that are told one by one; all are counted.
const TOLD_MAX: usize = 100;
/// Bytes of one event on the native wire beside its text, roughly.
const EVENT_BYTES: usize = 50;

/// What a child has to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) wire: Wire,
    pub(crate) addr: SocketAddr,
    /// Where WebTransport is.
    pub(crate) place: Option<webtransport::Place>,
    /// Further headers of every request, each with its line end.
    pub(crate) headers: String,
    pub(crate) streams: Vec<Watched>,
    /// Of each stream, over all children.
    pub(crate) viewers: u64,
    /// This child has every `of`th viewer.
    pub(crate) share: u64,
    pub(crate) of: u64,
    /// Our addresses; several where one has too few ports.
    pub(crate) sources: u8,
    /// Parts of the viewers that come at random while their stream runs, and that never read.
    pub(crate) late: f64,
    /// Those come within that time instead.
    pub(crate) late_within: Option<Duration>,
    pub(crate) silent: f64,
    /// How often each connection is cut at a random byte.
    pub(crate) cuts: f64,
    /// Whether streams may end `interrupted`, and connections break.
    pub(crate) interruptible: bool,
    pub(crate) seed: u64,
    /// When whoever is still watching has waited long enough, after the beginning.
    pub(crate) within: Duration,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Watched {
    /// Its path.
    pub(crate) target: String,
    pub(crate) script: Script,
}

/// What a child says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// All who come at the beginning are there.
    Ready,
    Moment(Moment),
    Done(Box<Done>),
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) tally: Tally,
    /// How each stream ended, as every viewer of it has seen it.
    pub(crate) ends: Vec<(u32, String)>,
    pub(crate) violations: u64,
    pub(crate) told: Vec<String>,
}

/// What all viewers of a process share.
pub(crate) struct Crowd {
    job: Job,
    counts: Mutex<Counts>,
    /// Viewers that have been connected once, or have failed.
    arrived: AtomicU64,
    opening: Semaphore,
    endpoints: Vec<Endpoint<Client>>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) tally: Tally,
    recent: Times,
    silence: Duration,
    connected: u64,
    finished: u64,
    ends: HashMap<u32, String>,
    violations: u64,
    told: Vec<String>,
}

impl Counts {
    pub(crate) fn arrived(&mut self, token: Token, is_live: bool, now_ns: u64) {
        self.tally.tokens += 1;
        self.tally.last_ns = self.tally.last_ns.max(now_ns);
        if is_live {
            self.tally.latency.add_between(token.due_ns, now_ns);
            self.tally.since_sent.add_between(token.sent_ns(), now_ns);
            self.recent.add_between(token.due_ns, now_ns);
            if token.number == 0 {
                self.tally.first_token.add_between(token.due_ns, now_ns);
            }
        }
    }

    pub(crate) fn heard(&mut self, last_ns: Option<u64>, now_ns: u64) {
        if let Some(last) = last_ns {
            self.silence = self.silence.max(Duration::from_nanos(now_ns.saturating_sub(last)));
        }
    }

    /// All viewers of a stream must see the same end.
    pub(crate) fn ended(&mut self, stream: u32, end: &End) -> Result<(), String> {
        let said = said(&end.reason, end.blocks, end.bytes, &end.hash);
        match self.ends.insert(stream, said.clone()) {
            Some(other) if other != said => Err(format!("another viewer saw {other}, and this one {said}")),
            _ => Ok(()),
        }
    }

    fn violation(&mut self, what: String) {
        self.violations += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(what);
        }
    }

    fn moment(&mut self) -> Moment {
        let latency = std::mem::take(&mut self.recent);
        let silence = std::mem::take(&mut self.silence);
        Moment {
            events: self.tally.events,
            tokens: self.tally.tokens,
            bytes: self.tally.bytes,
            connected: self.connected,
            finished: self.finished,
            violations: self.violations,
            latency,
            silence_ms: silence.as_secs_f64() * 1e3,
        }
    }
}

/// An end in one line, to be compared.
pub(crate) fn said(reason: &str, blocks: u64, bytes: u64, hash: &str) -> String {
    format!("{reason}: {blocks} blocks, {bytes} bytes, {hash}")
}

/// An open connection, counted for as long as it lives.
pub(crate) struct Connected<'a>(&'a Crowd);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.count(|counts| counts.connected -= 1);
    }
}

impl Crowd {
    pub(crate) fn job(&self) -> &Job {
        &self.job
    }

    pub(crate) fn count<T>(&self, counting: impl FnOnce(&mut Counts) -> T) -> T {
        counting(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) async fn may_open(&self) -> Option<SemaphorePermit<'_>> {
        self.opening.acquire().await.ok()
    }

    pub(crate) fn connected(&self, seat: &Seat) -> Connected<'_> {
        self.count(|counts| counts.connected += 1);
        if seat.late.is_none() {
            self.arrived.fetch_add(1, Ordering::Relaxed);
        }
        Connected(self)
    }

    /// A socket for that viewer, and what URLs begin with.
    pub(crate) fn endpoint(&self, number: u64) -> (&Endpoint<Client>, &str) {
        let base = self.job.place.as_ref().map_or("", |place| place.base.as_str());
        (&self.endpoints[number as usize % self.endpoints.len()], base)
    }

    fn seats(&self) -> Vec<Seat> {
        let job = &self.job;
        let all = job.streams.len() as u64 * job.viewers;
        (job.share..all).step_by(job.of.max(1) as usize).map(|number| self.seat(number)).collect()
    }

    /// Who sits there is the same for the same seed.
    fn seat(&self, number: u64) -> Seat {
        let job = &self.job;
        let stream = (number / job.viewers) as usize;
        let script = &job.streams[stream].script;
        let mut dice = fastrand::Rng::with_seed(job.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let is_silent = dice.f64() < job.silent;
        let is_late = dice.f64() < job.late && !is_silent;
        let begin = Duration::from_micros(script.begin_us);
        let within = job.late_within.unwrap_or(script.takes() - begin);
        let late = is_late.then(|| begin + within.mul_f64(dice.f64()));
        let bytes = script.tokens as usize * (script.token_bytes + EVENT_BYTES);
        Seat {
            stream,
            number,
            source: match job.sources {
                0 | 1 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                sources => IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1 + (number % u64::from(sources)) as u8)),
            },
            is_silent,
            late,
            // Half of the most on average, and one more connection than cuts.
            cut_bytes_max: (job.cuts > 0.0).then(|| (2.0 * bytes as f64 / (job.cuts + 1.0)) as usize),
        }
    }
}

/// The child.
pub(crate) async fn run() -> Result<(), Fault> {
    let mut orders = orders();
    let job: Job = serde_json::from_str(&orders.recv().await.ok_or("there is no job")?)?;
    fastrand::seed(job.seed ^ job.share);
    let endpoints = match &job.place {
        Some(place) => {
            (0..SOCKETS).map(|_| webtransport::endpoint(&place.hashes)).collect::<Result<_, _>>()?
        }
        None => Vec::new(),
    };
    let within = job.within;
    let crowd = Arc::new(Crowd {
        job,
        counts: Mutex::default(),
        arrived: AtomicU64::new(0),
        opening: Semaphore::new(OPENING_MAX),
        endpoints,
    });
    let (begin, begun) = watch::channel(None);
    let mut viewing = JoinSet::new();
    let (mut early, mut watching) = (0, 0);
    for seat in crowd.seats() {
        early += u64::from(seat.late.is_none());
        watching += u64::from(!seat.is_silent);
        viewing.spawn(view(crowd.clone(), seat, begun.clone()));
    }
    let mut ready = false;
    let mut deadline = None;
    let mut moment = interval(MOMENT);
    while watching > 0 {
        tokio::select! {
            Some(ended) = viewing.join_next() => {
                let ended = ended.unwrap_or_else(|error| Err(error.to_string()));
                watching -= 1;
                crowd.count(|counts| match ended {
                    Ok(()) => counts.finished += 1,
                    Err(what) => counts.violation(what),
                });
            }
            _ = moment.tick() => say(&Line::Moment(crowd.count(Counts::moment)))?,
            order = orders.recv() => match order {
                Some(at_ns) => {
                    deadline = Some(Instant::now() + within);
                    begin.send_replace(Some(at_ns.parse()?));
                }
                // That is the end of the parent.
                None => break,
            },
            () = async { sleep_until(deadline.unwrap_or_else(Instant::now)).await }, if deadline.is_some() => break,
        }
        if !ready && (crowd.arrived.load(Ordering::Relaxed) >= early || viewing.is_empty()) {
            ready = true;
            say(&Line::Ready)?;
        }
    }
    viewing.abort_all();
    crowd.count(|counts| {
        if watching > 0 && crowd.job.wire != Wire::Tokens {
            counts.violation(format!("{watching} viewers got no end"));
            counts.violations += watching - 1;
        }
        say(&Line::Moment(counts.moment()))?;
        say(&Line::Done(Box::new(Done {
            tally: std::mem::take(&mut counts.tally),
            ends: counts.ends.drain().collect(),
            violations: counts.violations,
            told: std::mem::take(&mut counts.told),
        })))
    })
}

/// Lines of standard input: the job, then when all begins, in nanoseconds of [`crate::clock`].
fn orders() -> mpsc::Receiver<String> {
    let (sender, orders) = mpsc::channel(1);
    // A read of standard input cannot be cancelled, so it has a thread that nobody waits for.
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| sender.blocking_send(line))
    });
    orders
}

async fn view(crowd: Arc<Crowd>, seat: Seat, mut begun: watch::Receiver<Option<u64>>) -> Result<(), String> {
    if let Some(late) = seat.late {
        let begin = *begun.wait_for(Option::is_some).await.map_err(|error| error.to_string())?;
        clock::until(begin.unwrap_or(0) + late.as_nanos() as u64).await;
    }
    let is_early = seat.late.is_none();
    let result = viewer::watch(&crowd, seat).await;
    if is_early && result.is_err() {
        // Nobody waits for it any more.
        crowd.arrived.fetch_add(1, Ordering::Relaxed);
    }
    result
}

fn say(line: &Line) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(share: u64) -> Crowd {
        let script = |stream| Script {
            stream,
            tokens: 100,
            token_bytes: 64,
            rate: 10.0,
            jitter: 0.0,
            burst: 1,
            begin_us: 500_000,
        };
        let job = Job {
            wire: Wire::Events,
            addr: SocketAddr::from(([127, 0, 0, 1], 1)),
            place: None,
            headers: String::new(),
            streams: (0..4)
                .map(|stream| Watched { target: format!("/{stream}"), script: script(stream) })
                .collect(),
            viewers: 250,
            share,
            of: 2,
            sources: 3,
            late: 0.2,
            late_within: None,
            silent: 0.1,
            cuts: 3.0,
            interruptible: false,
            seed: 1,
            within: Duration::ZERO,
        };
        let opening = Semaphore::new(1);
        Crowd { job, counts: Mutex::default(), arrived: AtomicU64::new(0), opening, endpoints: Vec::new() }
    }

    #[test]
    fn children_share_the_seats() {
        let (even, odd) = (crowd(0).seats(), crowd(1).seats());
        assert_eq!((even.len(), odd.len()), (500, 500));
        let mut numbers: Vec<u64> = even.iter().chain(&odd).map(|seat| seat.number).collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..1000));
        let all: Vec<&Seat> = even.iter().chain(&odd).collect();
        let part = |of: fn(&Seat) -> bool| all.iter().filter(|seat| of(seat)).count();
        assert!((70..130).contains(&part(|seat| seat.is_silent)));
        assert!((140..230).contains(&part(|seat| seat.late.is_some())));
        assert_eq!(part(|seat| seat.stream == 3), 250);
        let late: Vec<Duration> = all.iter().filter_map(|seat| seat.late).collect();
        assert!(late.iter().all(|late| (0.5..10.5).contains(&late.as_secs_f64())));
    }

    #[test]
    fn two_viewers_of_a_stream_see_one_end() {
        let mut counts = Counts::default();
        let end = End { reason: "completed".into(), blocks: 7, bytes: 9, hash: "a".into() };
        counts.ended(1, &end).unwrap();
        counts.ended(1, &end).unwrap();
        counts.ended(2, &End { hash: "b".into(), ..end.clone() }).unwrap();
        assert!(counts.ended(1, &End { hash: "b".into(), ..end }).is_err());
    }
}
