//! What makes an endpoint the same after a restart: its secret, and the certificates that pages know by hash. One file
//! in the data directory, readable by its owner alone.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::hkdf;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::certificate::{own, pin};
use crate::crypto::random;
use crate::edge::certificate::{Certificate, CertificateError};
use crate::edge::place::Pin;

const FILE: &str = "webtransport.keys";
/// A certificate that expires within this time is not taken into use.
const EXPIRY_MARGIN: Duration = Duration::from_secs(3600);

/// The secret, and the certificate in use with the one that comes next.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    names: Vec<String>,
    secret: [u8; 32],
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    current: Certificate,
    next: Certificate,
    /// When the current one came into use.
    since: SystemTime,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct Stored {
    secret: [u8; 32],
    own: Option<StoredOwn>,
}

#[derive(Serialize, Deserialize)]
struct StoredOwn {
    names: Vec<String>,
    since_s: u64,
    current: StoredCertificate,
    next: StoredCertificate,
}

#[derive(Serialize, Deserialize)]
struct StoredCertificate {
    chain: Vec<Vec<u8>>,
    key: Vec<u8>,
}

impl Kept {
    /// What the directory has. What it does not have is made; where it cannot be kept, it lives as long as the process.
    pub(super) fn open(directory: &Path, names: Vec<String>) -> Self {
        let path = directory.join(FILE);
        let fresh = || Stored { secret: random(), own: None };
        let stored = match fs::read(&path) {
            Ok(bytes) => rmp_serde::from_slice(&bytes).unwrap_or_else(|error| {
                warn!(path = %path.display(), %error, "this cannot be read, and is made anew");
                fresh()
            }),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    warn!(path = %path.display(), %error, "this cannot be read, and is made anew");
                }
                fresh()
            }
        };
        let own = stored.own.filter(|own| own.names == names).and_then(|own| {
            let since = UNIX_EPOCH + Duration::from_secs(own.since_s);
            let read = |stored: StoredCertificate| Certificate::of(stored.chain, stored.key).ok();
            Some(Own { current: read(own.current)?, next: read(own.next)?, since })
        });
        let kept = Self { path, names, secret: stored.secret, own };
        kept.store();
        kept
    }

    /// A key for one purpose, the same after a restart.
    pub(super) fn derive(&self, purpose: &[u8]) -> [u8; 32] {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tokencast webtransport").extract(&self.secret);
        let (mut key, info) = ([0; 32], [purpose]);
        let okm = prk.expand(&info, hkdf::HKDF_SHA256).expect("one block is not too long");
        okm.fill(&mut key).expect("one block is not too long");
        key
    }

    /// Takes another certificate into use when it is time, and gives whether it did. A page that was told of the two at
    /// any time finds one of them in use for as long as each lives: the next one is made when it becomes next.
    pub(super) fn rotate(&mut self, every: Duration) -> Result<bool, CertificateError> {
        let now = SystemTime::now();
        let is_valid = |certificate: &Certificate| certificate.expires_at > now + EXPIRY_MARGIN;
        // A clock that was set back makes nothing live for ever.
        let is_young = |own: &Own| now.duration_since(own.since).is_ok_and(|age| age < every);
        if self.own.as_ref().is_some_and(|own| is_young(own) && is_valid(&own.current)) {
            return Ok(false);
        }
        let current = match self.own.take() {
            Some(own) if is_valid(&own.next) => {
                info!("the next certificate comes into use");
                own.next
            }
            _ => own(&self.names)?,
        };
        self.own = Some(Own { current, next: own(&self.names)?, since: now });
        self.store();
        Ok(true)
    }

    /// The certificate in use.
    pub(super) fn current(&self) -> Option<&Certificate> {
        self.own.as_ref().map(|own| &own.current)
    }

    /// What pages may trust: the certificate in use, and the next one.
    pub(super) fn pins(&self) -> Vec<Pin> {
        self.own.as_ref().map_or_else(Vec::new, |own| vec![pin(&own.current), pin(&own.next)])
    }

    fn store(&self) {
        let keep = |certificate: &Certificate| StoredCertificate {
            chain: certificate.chain.iter().map(|one| one.to_vec()).collect(),
            key: certificate.key.secret_der().to_vec(),
        };
        let own = self.own.as_ref().map(|own| StoredOwn {
            names: self.names.clone(),
            since_s: own.since.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            current: keep(&own.current),
            next: keep(&own.next),
        });
        let stored = rmp_serde::to_vec_named(&Stored { secret: self.secret, own }).expect("plain data");
        if let Err(error) = write(&self.path, &stored) {
            warn!(path = %self.path.display(), %error, "this cannot be kept: after a restart pages need to reload");
        }
    }
}

/// Whole, or not at all.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let beside = path.with_extension("new");
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hex;

    #[test]
    fn it_is_the_same_after_a_restart_and_rotates() {
        const DAY: Duration = Duration::from_secs(86_400);
        let directory = std::env::temp_dir().join(format!("tokencast-{}", hex(&random::<8>())));
        let open = || Kept::open(&directory, vec!["localhost".into()]);
        let mut kept = open();
        kept.rotate(DAY).unwrap();
        let (secret, pins) = (kept.derive(b"a"), kept.pins());
        assert_eq!(pins.len(), 2);

        let mut kept = open();
        assert!(!kept.rotate(DAY).unwrap());
        assert_eq!((kept.derive(b"a"), kept.pins()), (secret, pins.clone()));
        assert_ne!(kept.derive(b"b"), secret, "each purpose has its own");

        kept.rotate(Duration::ZERO).unwrap();
        assert_eq!(kept.pins()[0], pins[1], "what was next is in use");
        assert_ne!(kept.pins()[1], pins[0]);
        assert_eq!(open().pins(), kept.pins());

        let mut renamed = Kept::open(&directory, vec!["elsewhere".into()]);
        renamed.rotate(DAY).unwrap();
        assert!(!renamed.pins().contains(&kept.pins()[0]), "another name needs another certificate");
        assert_eq!(renamed.derive(b"a"), secret);

        fs::write(directory.join(FILE), b"garbage").unwrap();
        assert_ne!(open().derive(b"a"), secret);
        fs::remove_dir_all(directory).unwrap();
    }
}
