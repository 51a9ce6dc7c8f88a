//! What goes between a child and its parent, as lines of JSON.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::script::Script;
use crate::tally::{Moment, Tally};
use crate::viewer::Wire;
use crate::webtransport;

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
