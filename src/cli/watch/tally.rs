//! What was counted while watching, and named as what it is: events are what the gateway sends, each a frame's
//! worth of deltas; tokens are what the provider says at the end.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Item, Said};

#[derive(Debug)]
pub(super) struct Tally {
    began: Instant,
    /// The stream's length when we came, and whether it was running.
    joined: Option<(u64, bool)>,
    first: Option<Instant>,
    last: Option<Instant>,
    events: u64,
    seq: u64,
    reconnects: u64,
    opened: bool,
    tokens: Option<u64>,
    transport: &'static str,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            joined: None,
            first: None,
            last: None,
            events: 0,
            seq: 0,
            reconnects: 0,
            opened: false,
            tokens: None,
            transport: "",
        }
    }

    pub(super) fn count(&mut self, item: &Item) {
        match item {
            Item::Open(open) => {
                self.reconnects += u64::from(std::mem::replace(&mut self.opened, true));
                self.joined.get_or_insert((open.tail, open.status == "running"));
                self.seq = self.seq.max(open.after);
                self.transport = open.transport;
            }
            Item::Event(event) => {
                self.seq = event.id.unwrap_or(self.seq);
                match &event.said {
                    Said::Text { .. }
                    | Said::Reasoning { .. }
                    | Said::Refusal { .. }
                    | Said::ToolCall { .. } => {
                        let now = Instant::now();
                        self.first.get_or_insert(now);
                        self.last = Some(now);
                        self.events += 1;
                    }
                    Said::Usage(usage) => self.tokens = usage.output,
                    _ => {}
                }
            }
            Item::End(end) => {
                self.seq = end.blocks + 1;
                self.tokens = end.usage.and_then(|usage| usage.output).or(self.tokens);
            }
            Item::Bye(_) | Item::Cut(_) | Item::Over => {}
        }
    }

    pub(super) fn status(&self) -> String {
        let mut parts = vec![self.first_said()];
        parts.push(format!("{} events", self.events));
        if let Some(rate) = rate(self.events, self.speaking(Instant::now())) {
            parts.push(format!("{rate:.0}/s"));
        }
        parts.extend([format!("block {}", self.seq), self.reconnected()]);
        parts.join(" · ")
    }

    /// The last line, which begins with how it ended.
    pub(super) fn summary(&self, outcome: &str) -> String {
        let mut parts = vec![outcome.to_owned(), self.first_said(), format!("{} events", self.events)];
        if let Some(tokens) = self.tokens {
            // The speed of a replay would be that of the network.
            let speaking =
                self.last.map(|last| self.speaking(last)).filter(|_| self.joined == Some((0, true)));
            match speaking.and_then(|speaking| rate(tokens, speaking)) {
                Some(rate) => parts.push(format!("{tokens} tokens, {rate:.1}/s")),
                None => parts.push(format!("{tokens} tokens")),
            }
        }
        parts.push(format!("block {}", self.seq));
        parts.push(format!("{:.1} s", self.began.elapsed().as_secs_f64()));
        parts.push(self.reconnected());
        parts.join(" · ")
    }

    fn first_said(&self) -> String {
        match (self.first, self.joined) {
            (Some(first), Some((0, true))) => {
                format!("first token after {:.2} s", (first - self.began).as_secs_f64())
            }
            (_, Some((tail, true))) if tail > 0 => format!("joined at block {tail}"),
            (_, Some((_, false))) => "replay".into(),
            _ => "nothing said yet".into(),
        }
    }

    fn reconnected(&self) -> String {
        let reconnects = match self.reconnects {
            1 => "1 reconnect".into(),
            n => format!("{n} reconnects"),
        };
        match self.transport {
            "" => reconnects,
            transport => format!("{reconnects} · over {transport}"),
        }
    }

    fn speaking(&self, until: Instant) -> Duration {
        self.first.map_or(Duration::ZERO, |first| until - first)
    }
}

/// Per second; too short a time says nothing.
fn rate(count: u64, time: Duration) -> Option<f64> {
    (time > Duration::from_millis(100)).then(|| count as f64 / time.as_secs_f64())
}
