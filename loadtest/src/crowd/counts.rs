//! What the viewers of one process count together.

use std::collections::HashMap;
use std::time::Duration;

use super::job::Done;
use crate::tally::{Moment, Tally, Times};
use crate::token::Token;
use crate::viewer::check::End;

/// Violations that are told one by one; all are counted.
const TOLD_MAX: usize = 100;

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) tally: Tally,
    recent: Times,
    silence: Duration,
    pub(super) connected: u64,
    pub(super) finished: u64,
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

    pub(super) fn violation(&mut self, what: String) {
        self.violations += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(what);
        }
    }

    /// Those who are still watching when nobody waits any more.
    pub(super) fn unfinished(&mut self, viewers: u64) {
        self.violation(format!("{viewers} viewers got no end"));
        self.violations += viewers - 1;
    }

    /// What there is to say at the end.
    pub(super) fn done(&mut self) -> Done {
        Done {
            tally: std::mem::take(&mut self.tally),
            ends: self.ends.drain().collect(),
            violations: self.violations,
            told: std::mem::take(&mut self.told),
        }
    }

    pub(super) fn moment(&mut self) -> Moment {
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

#[cfg(test)]
mod tests {
    use super::*;

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
