//! The same events over WebTransport: one session per page, one server-opened unidirectional stream per subscription.
//! docs/protocol.md is its specification.
//!
//! In the order in which to read: `endpoint` (the socket and its accept loop), `handshake` (who may come in),
//! `session` (everything that can happen to one), `inbound`, `control` and `answers` (what its client says, and is
//! told), `opening` and `subscription` (a viewer and the stream that it fills), `gap` and `pace` (how often, and how far
//! ahead of a slow client), `identity`, `certificate` and `kept` (by what the endpoint is known, also after a restart),
//! `codes`, `meter`.

mod answers;
mod certificate;
mod codes;
pub(crate) mod control;
mod endpoint;
mod gap;
mod handshake;
mod identity;
mod inbound;
mod kept;
mod meter;
mod opening;
mod pace;
mod session;
mod subscription;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

pub(crate) use self::endpoint::{Endpoint, OpenError};
pub use crate::edge::certificate::CertificateError;
use crate::edge::certificate::Files;

/// `[webtransport]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub enabled: bool,
    pub listen: SocketAddr,
    /// Where pages find it; urls in answers begin with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<Url>,
    /// A certificate chain and its key, PEM. Without them the gateway makes its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// How long a certificate of our own is in use; it is known for as long before that.
    pub rotate_s: u64,
    pub sessions_max: usize,
    pub stalled_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 4433)),
            public_url: None,
            certificate: None,
            key: None,
            rotate_s: 6 * 86_400,
            sessions_max: 4096,
            stalled_s: 30,
        }
    }
}

impl Config {
    /// Where its certificate is, if that is in files.
    fn files(&self) -> Option<Files> {
        let (chain, key) = self.certificate.clone().zip(self.key.clone())?;
        Some(Files::new("webtransport", chain, key))
    }
}

/// Whether the certificate that is configured can be used, if one is.
pub fn check(config: &Config) -> Result<(), CertificateError> {
    let files = config.files().filter(|_| config.enabled);
    files.map_or(Ok(()), |files| files.read().map(drop))
}
