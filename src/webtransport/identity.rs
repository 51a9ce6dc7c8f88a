//! Which certificate is in use: our own, which is kept and rotated, or that of the files, which is read again when they
//! change.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Config;
use super::certificate::{Certificate, CertificateError};
use super::kept::Kept;
use crate::edge::place::Pin;

#[derive(Debug)]
pub(super) enum Identity {
    Own { kept: Kept, rotate: Duration, used: bool },
    Files { chain: PathBuf, key: PathBuf, changed: Option<[SystemTime; 2]> },
}

impl Identity {
    pub(super) fn of(config: &Config, kept: Kept) -> Self {
        match (&config.certificate, &config.key) {
            (Some(chain), Some(key)) => Self::Files { chain: chain.clone(), key: key.clone(), changed: None },
            _ => Self::Own { kept, rotate: Duration::from_secs(config.rotate_s), used: false },
        }
    }

    /// The certificate to use from now on, if it is another one than before. An error is told once.
    pub(super) fn renewed(&mut self) -> Result<Option<Certificate>, CertificateError> {
        match self {
            Self::Own { kept, rotate, used } => {
                let is_new = kept.rotate(*rotate)? || !std::mem::replace(used, true);
                Ok(kept.current().filter(|_| is_new).map(Certificate::again))
            }
            Self::Files { chain, key, changed } => {
                let now = changed_at(chain).zip(changed_at(key)).map(|(chain, key)| [chain, key]);
                // A file that is being replaced may not be there for a moment.
                if changed.is_some() && (now.is_none() || now == *changed) {
                    return Ok(None);
                }
                *changed = now;
                Certificate::from_files(chain, key).map(Some)
            }
        }
    }

    /// What pages may trust by its hash: nothing, where an authority vouches for the certificate.
    pub(super) fn pins(&self) -> Vec<Pin> {
        match self {
            Self::Own { kept, .. } => kept.pins(),
            Self::Files { .. } => Vec::new(),
        }
    }
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
