//! What happens to whom, and when: everything that a seed decides beforehand.

use std::time::Duration;

use fastrand::Rng;

use crate::plan::Plan;
use crate::wire::Pace;

#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) plans: Vec<Plan>,
    pub(crate) streams: Vec<Stream>,
    /// Begin and end of what goes wrong, in milliseconds.
    pub(crate) faults: Vec<(u64, Fault)>,
}

/// Something that begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The gateway's process dies.
    Crash,
    Restart,
    DiskFull,
    DiskFree,
    /// The provider cannot be connected to.
    Outage,
    Back,
}

/// One stream that somebody starts, and those who watch it.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) late: Duration,
    pub(crate) id: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) ttl_s: Option<u64>,
    pub(crate) cancel_after_s: Option<u64>,
    pub(crate) viewers: Vec<Habits>,
    /// So long after the start somebody interferes.
    pub(crate) meddling: Option<(Duration, Meddling)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meddling {
    Stop,
    Purge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Events,
    Lines,
    Poll,
    Raw,
    Text,
    Ui,
}

/// Where a viewer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    First,
    Middle,
    Live,
    Snapshot,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    pub(crate) view: View,
    pub(crate) begin: Begin,
    pub(crate) late: Duration,
    pub(crate) pace: Pace,
    /// A connection of it breaks after up to so many bytes, in so many of eight cases.
    pub(crate) cut_bytes: usize,
    pub(crate) cuts_of_eight: u8,
    /// It watches by tickets that are good for about so many seconds.
    pub(crate) ticket_s: Option<u64>,
    pub(crate) seed: u64,
}

impl Script {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let count = rng.usize(1..5);
        let plans: Vec<Plan> = (0..count).map(|number| Plan::new(number, rng)).collect();
        let viewers = rng.usize(6..21);
        let mut streams: Vec<Stream> = (0..count).map(|number| stream(number, rng)).collect();
        for _ in 0..viewers {
            let habits = habits(rng);
            streams[rng.usize(..count)].viewers.push(habits);
        }
        Self { plans, streams, faults: faults(rng) }
    }

    /// Whether something of the kind goes wrong at all.
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.iter().any(|(_, found)| *found == fault)
    }
}

fn stream(number: usize, rng: &mut Rng) -> Stream {
    let key = rng.bool().then(|| format!("key {number}"));
    // It has a name by which it can be asked for again.
    let id = (key.is_none() || rng.bool()).then(|| format!("stream-{number}"));
    let meddling = match rng.u8(..10) {
        0 | 1 => Some(Meddling::Stop),
        2 => Some(Meddling::Purge),
        _ => None,
    };
    Stream {
        late: Duration::from_millis(rng.u64(..500)),
        id,
        key,
        ttl_s: (rng.u8(..8) == 0).then(|| rng.u64(1..4)),
        cancel_after_s: (rng.u8(..8) == 0).then(|| rng.u64(1..3)),
        viewers: Vec::new(),
        meddling: meddling.map(|meddling| (Duration::from_millis(rng.u64(..3000)), meddling)),
    }
}

fn habits(rng: &mut Rng) -> Habits {
    let views =
        [View::Events, View::Events, View::Events, View::Lines, View::Poll, View::Raw, View::Text, View::Ui];
    let view = views[rng.usize(..views.len())];
    let begin = match rng.u8(..8) {
        0 => Begin::Live,
        1 | 2 => Begin::Middle,
        3 => Begin::Snapshot,
        _ => Begin::First,
    };
    let is_slow = rng.u8(..4) == 0;
    let slow = Pace {
        bytes: rng.usize(200..3000),
        pause: Duration::from_millis(rng.u64(1..40)),
        buffer_bytes: 4096,
    };
    Habits {
        view,
        begin,
        late: Duration::from_millis(if rng.bool() { rng.u64(..100) } else { rng.u64(..6000) }),
        pace: if is_slow { slow } else { Pace::QUICK },
        cut_bytes: if rng.bool() { rng.usize(1..300) } else { rng.usize(1..20_000) },
        cuts_of_eight: [0, 0, 2, 5, 7][rng.usize(..5)],
        ticket_s: (rng.u8(..4) == 0).then(|| rng.u64(1..5)),
        seed: rng.u64(..),
    }
}

fn faults(rng: &mut Rng) -> Vec<(u64, Fault)> {
    let mut faults = Vec::new();
    for _ in 0..[0, 1, 1, 2, 3][rng.usize(..5)] {
        let at = rng.u64(..5000);
        faults.extend([(at, Fault::Crash), (at + rng.u64(1..1500), Fault::Restart)]);
    }
    if rng.u8(..4) == 0 {
        let at = rng.u64(..3000);
        faults.extend([(at, Fault::DiskFull), (at + rng.u64(1..2000), Fault::DiskFree)]);
    }
    if rng.u8(..6) == 0 {
        let at = rng.u64(..800);
        faults.extend([(at, Fault::Outage), (at + rng.u64(1..1500), Fault::Back)]);
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}
