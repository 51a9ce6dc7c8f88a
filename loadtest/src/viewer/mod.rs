//! One viewer, from its first connection to the end of its stream: over whichever wire, cut and resumed as often as it
//! is asked to, checked at every event.

pub(crate) mod check;
mod record;
mod session;
mod silent;
mod sse;
mod tokens;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use self::check::{Checker, Event};
use crate::clock::now_ns;
use crate::crowd::Crowd;
use crate::script::Script;
use crate::token::Token;

/// The longest pause before coming back.
const PAUSE_MS_MAX: u64 = 50;
/// How long connections in a row may bring nothing new.
const FRUITLESS_MAX: Duration = Duration::from_secs(30);

/// How events come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wire {
    /// The native view of tokencast over SSE.
    Events,
    /// The same over WebTransport.
    Session,
    /// Tokens, in any body whatsoever: what other servers send.
    Tokens,
}

/// Who sits where in the crowd.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    /// In the job's list.
    pub(crate) stream: usize,
    pub(crate) number: u64,
    /// One of our addresses; unspecified leaves it to the system.
    pub(crate) source: IpAddr,
    /// Never reads.
    pub(crate) is_silent: bool,
    /// Comes so long after the beginning.
    pub(crate) late: Option<Duration>,
    /// The connection is cut after at most so many bytes, again and again.
    pub(crate) cut_bytes_max: Option<usize>,
}

/// Why a connection is over, if not by the end of the stream.
enum Wrong {
    Violation(String),
    /// There was no connection yet: whoever comes again may get one.
    Unopened(io::Error),
    Io(io::Error),
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self::Violation(what)
    }
}

/// Watches to the end. The error is a violation.
pub(crate) async fn watch(crowd: &Crowd, seat: Seat) -> Result<(), String> {
    let job = crowd.job();
    let of = job.streams[seat.stream].target.clone();
    if seat.is_silent {
        return silent::connection(crowd, &seat)
            .await
            .map_err(|error| format!("{of}: a silent viewer: {error}"));
    }
    let mut viewing = Viewing {
        crowd,
        checker: Checker::new(job.streams[seat.stream].script, job.interruptible),
        began_ns: now_ns(),
        lost_ns: None,
        heard_ns: None,
        connections: 0,
        seat,
    };
    if job.wire == Wire::Tokens {
        return tokens::connection(&mut viewing).await.map_err(|wrong| match wrong {
            Wrong::Violation(what) => format!("{of}: {what}"),
            Wrong::Unopened(error) | Wrong::Io(error) => format!("{of}: the connection broke: {error}"),
        });
    }
    // Since when nothing new has come, over all attempts.
    let mut fruitless: Option<Instant> = None;
    loop {
        let before = viewing.checker.cursor();
        viewing.checker.connect();
        viewing.connections += 1;
        let result = match job.wire {
            Wire::Session => session::connection(&mut viewing).await,
            _ => sse::connection(&mut viewing).await,
        };
        let told = |what: &str| format!("{of}: after {}: {what}", viewing.checker.cursor());
        match result {
            Ok(()) => {}
            Err(Wrong::Violation(what)) => return Err(told(&what)),
            Err(Wrong::Unopened(error)) => {
                if fruitless.get_or_insert_with(Instant::now).elapsed() > FRUITLESS_MAX {
                    return Err(told(&format!("there is no connection to be had: {error}")));
                }
                viewing.connections -= 1;
                crowd.count(|counts| counts.tally.unopened += 1);
                pause().await;
                continue;
            }
            Err(Wrong::Io(_)) if job.interruptible => {}
            Err(Wrong::Io(error)) => return Err(told(&format!("the connection broke: {error}"))),
        }
        if viewing.checker.end().is_some() {
            return Ok(());
        }
        if viewing.checker.cursor() > before {
            fruitless = None;
        } else {
            if fruitless.get_or_insert_with(Instant::now).elapsed() > FRUITLESS_MAX {
                return Err(told("connections bring nothing new"));
            }
            // One event may be larger than that: then nobody could ever come past it.
            viewing.seat.cut_bytes_max =
                viewing.seat.cut_bytes_max.map(|max| max.saturating_add(max / 4 + 100));
        }
        // Before the stream has begun there is nothing to come back to.
        if viewing.checker.cursor() > 0 {
            viewing.lost_ns.get_or_insert_with(now_ns);
        }
        viewing.heard_ns = None;
        crowd.count(|counts| counts.tally.resumes += 1);
        pause().await;
    }
}

async fn pause() {
    sleep(Duration::from_millis(fastrand::u64(..PAUSE_MS_MAX))).await;
}

/// A viewer at work.
struct Viewing<'a> {
    crowd: &'a Crowd,
    seat: Seat,
    checker: Checker,
    /// Its first connect.
    began_ns: u64,
    /// When the connection was lost whose place has not been taken yet.
    lost_ns: Option<u64>,
    /// Its last event on this connection.
    heard_ns: Option<u64>,
    connections: u64,
}

impl Viewing<'_> {
    fn script(&self) -> &Script {
        &self.crowd.job().streams[self.seat.stream].script
    }

    fn target(&self) -> &str {
        &self.crowd.job().streams[self.seat.stream].target
    }

    /// Bytes after which this connection is cut.
    fn budget(&self) -> Option<usize> {
        self.seat.cut_bytes_max.map(|max| fastrand::usize(1..=max.max(1)))
    }

    fn hear(&mut self, event: &Event<'_>, now_ns: u64) -> Result<(), String> {
        let crowd = self.crowd;
        let was_behind = !self.checker.has_caught_up();
        crowd.count(|counts| {
            self.checker.hear(event, |token, is_live| counts.arrived(token, is_live, now_ns))?;
            if self.seat.late.is_some() && self.connections == 1 && was_behind && self.checker.has_caught_up()
            {
                counts.tally.late_join.add_between(self.began_ns, now_ns);
            }
            if matches!(event, Event::Open { .. }) {
                return Ok(());
            }
            counts.tally.events += 1;
            if let Some(lost) = self.lost_ns.take() {
                counts.tally.recovery.add_between(lost, now_ns);
            }
            counts.heard(self.heard_ns.replace(now_ns), now_ns);
            match self.checker.end() {
                Some(end) => counts.ended(self.script().stream, end),
                None => Ok(()),
            }
        })
    }

    /// A token outside of tokencast's own wire.
    fn token(&mut self, token: Token, now_ns: u64) {
        self.crowd.count(|counts| {
            counts.tally.events += 1;
            counts.arrived(token, true, now_ns);
            counts.heard(self.heard_ns.replace(now_ns), now_ns);
        });
    }
}
