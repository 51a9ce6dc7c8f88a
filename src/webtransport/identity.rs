//! Which certificate is in use: our own, which is kept and rotated, or that of the files, which is read again when they
//! change.

use std::time::Duration;

use super::Config;
use super::kept::Kept;
use crate::edge::certificate::{Certificate, CertificateError, Files};
use crate::edge::place::Pin;

#[derive(Debug)]
pub(super) enum Identity {
    Own { kept: Kept, rotate: Duration, used: bool },
    Files(Files),
}

impl Identity {
    pub(super) fn of(config: &Config, kept: Kept) -> Self {
        match config.files() {
            Some(files) => Self::Files(files),
            None => Self::Own { kept, rotate: Duration::from_secs(config.rotate_s), used: false },
        }
    }

    /// The certificate to use from now on, if it is another one than before. An error is told once.
    pub(super) fn renewed(&mut self) -> Result<Option<Certificate>, CertificateError> {
        match self {
            Self::Own { kept, rotate, used } => {
                let is_new = kept.rotate(*rotate)? || !std::mem::replace(used, true);
                Ok(kept.current().filter(|_| is_new).map(Certificate::again))
            }
            Self::Files(files) => files.renewed(),
        }
    }

    /// What pages may trust by its hash: nothing, where an authority vouches for the certificate.
    pub(super) fn pins(&self) -> Vec<Pin> {
        match self {
            Self::Own { kept, .. } => kept.pins(),
            Self::Files(_) => Vec::new(),
        }
    }
}
