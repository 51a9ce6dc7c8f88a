//! The viewers of one process. It is started by `fleet`, is told its job on standard input and later when all begins, and
//! tells what it sees on standard output, as lines of JSON. One process has one thread and a limited number of open
//! files: large crowds are several of these.

mod counts;
mod job;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};
use wtransport::Endpoint;
use wtransport::endpoint::endpoint_side::Client;

use self::counts::Counts;
pub(crate) use self::counts::said;
pub(crate) use self::job::{Done, Job, Line, Watched};
use crate::viewer::{self, Seat, Wire};
use crate::{Fault, clock, webtransport};

/// Connections that are opened side by side.
const OPENING_MAX: usize = 64;
/// UDP sockets that sessions share: one alone loses packets.
const SOCKETS: u64 = 8;
pub(crate) const MOMENT: Duration = Duration::from_millis(500);
/// Bytes of one event on the native wire beside its text, roughly.
const EVENT_BYTES: usize = 50;

/// What all viewers of a process share.
pub(crate) struct Crowd {
    job: Job,
    counts: Mutex<Counts>,
    /// Viewers that have been connected once, or have failed.
    arrived: AtomicU64,
    opening: Semaphore,
    endpoints: Vec<Endpoint<Client>>,
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
            counts.unfinished(watching);
        }
        say(&Line::Moment(counts.moment()))?;
        say(&Line::Done(Box::new(counts.done())))
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
    use std::net::SocketAddr;

    use super::*;
    use crate::script::Script;

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
}
