//! Where WebTransport is, and by which certificates it is known: told by the endpoint, read by the HTTP surface.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use url::Url;

/// A certificate that pages trust by its hash alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin {
    /// SHA-256 over the DER of the certificate.
    pub(crate) sha256: [u8; 32],
    pub(crate) expires_at: SystemTime,
}

/// Shared by the endpoint and whoever tells where it is; clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place(Arc<Mutex<Option<Known>>>);

#[derive(Debug, Clone)]
struct Known {
    port: u16,
    public_url: Option<Url>,
    pins: Vec<Pin>,
}

impl Place {
    /// It is on this UDP port, or rather where `public_url` says.
    pub(crate) fn serves(&self, port: u16, public_url: Option<Url>) {
        *self.lock() = Some(Known { port, public_url, pins: Vec::new() });
    }

    /// From now on it is known by these, the first of which is in use.
    pub(crate) fn pin(&self, pins: Vec<Pin>) {
        if let Some(known) = &mut *self.lock() {
            known.pins = pins;
        }
    }

    pub(crate) fn pins(&self) -> Vec<Pin> {
        self.lock().as_ref().map_or_else(Vec::new, |known| known.pins.clone())
    }

    /// What URLs begin with, for who has asked under the name `host`.
    pub(crate) fn base(&self, host: &str) -> Option<String> {
        let known = self.lock();
        let Known { port, public_url, .. } = known.as_ref()?;
        Some(match public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("https://{host}:{port}"),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
