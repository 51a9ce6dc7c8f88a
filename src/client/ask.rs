//! What every way to a stream is told: what is wanted, and where.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::cast::block::Seq;

/// What is asked for on every way.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) after: Seq,
    pub(super) heartbeat: Duration,
    pub(super) credential: Option<&'a SecretString>,
}

/// Where WebTransport is, and what to trust there.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The stream's own URL there.
    pub(super) url: Url,
    /// None: an authority vouches for its certificate.
    pub(super) hashes: Vec<[u8; 32]>,
}
