//! Files that somebody else writes: read again when they change, and refused where others can read a secret in them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often files are looked at.
pub(crate) const LOOK: Duration = Duration::from_secs(1);
/// Looks in a row without a file: then it is not being replaced, it is gone.
const MISSED_MAX: u32 = 3;

/// Files that belong together.
#[derive(Debug)]
pub(crate) struct Watched<const N: usize> {
    paths: [PathBuf; N],
    seen: Option<[Stamp; N]>,
    missed: u32,
}

/// What another content under the same name does not share.
type Stamp = (i64, i64, u64, u64);

impl<const N: usize> Watched<N> {
    pub(crate) fn new(paths: [PathBuf; N]) -> Self {
        Self { paths, seen: None, missed: 0 }
    }

    pub(crate) fn paths(&self) -> &[PathBuf; N] {
        &self.paths
    }

    /// Whether they are others than at the last look; at the first one they are. A file that is being replaced may not
    /// be there for a moment, which is no change; one that stays away is one.
    pub(crate) fn have_changed(&mut self) -> bool {
        let mut now = [(0, 0, 0, 0); N];
        for (stamp, path) in now.iter_mut().zip(&self.paths) {
            match stamp_of(path) {
                Ok(found) => *stamp = found,
                Err(_) => {
                    self.missed = self.missed.saturating_add(1);
                    return self.seen.is_none() || self.missed == MISSED_MAX;
                }
            }
        }
        self.missed = 0;
        self.seen.replace(now) != Some(now)
    }
}

fn stamp_of(path: &Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    // That time changes with the permissions, too.
    Ok((metadata.ctime(), metadata.ctime_nsec(), metadata.ino(), metadata.len()))
}

/// Why a file with a secret is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("others can read or change it: run `chmod g-w,o= {0}`")]
    Exposed(String),
}

/// Reads a file with a secret, which only its owner and group may be able to read, and its owner alone to change.
pub(crate) fn secret(path: &Path) -> Result<Vec<u8>, SecretError> {
    const OTHERS: u32 = 0o027;
    let mut file = File::open(path)?;
    if file.metadata()?.mode() & OTHERS != 0 {
        return Err(SecretError::Exposed(path.display().to_string()));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A path for people, as far as it leads, and a name where that is missing: what leads nowhere may be the secret itself, and
/// no path.
pub(crate) fn shown(path: &Path) -> String {
    let there = path.ancestors().find(|path| path.symlink_metadata().is_ok());
    let there = there.unwrap_or(Path::new(""));
    let is_named = path.parent() == Some(there) && there.parent().is_some();
    if there == path || is_named { format!("{path:?}") } else { format!("{:?}", there.join("…")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::crypto::{hex, random};

    fn file() -> PathBuf {
        std::env::temp_dir().join(format!("tokencast-{}", hex(&random::<8>())))
    }

    #[test]
    fn a_change_is_seen_once() {
        let path = file();
        let mut watched = Watched::new([path.clone()]);
        assert!(watched.have_changed(), "who has not looked yet has to read");
        fs::write(&path, "a").unwrap();
        assert!(watched.have_changed());
        assert!(!watched.have_changed());
        fs::remove_file(&path).unwrap();
        assert!(!watched.have_changed(), "it may be on its way");
        let told: Vec<bool> = (0..4).map(|_| watched.have_changed()).collect();
        assert_eq!(told, [false, true, false, false], "it is gone, which is said once");
        fs::write(&path, "ab").unwrap();
        assert!(watched.have_changed());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_path_is_shown_as_far_as_it_leads() {
        let path = file();
        fs::write(&path, "").unwrap();
        assert_eq!(shown(&path), format!("{path:?}"));
        fs::remove_file(&path).unwrap();
        assert_eq!(shown(&path), format!("{path:?}"), "a name in a directory");
        assert_eq!(shown(&path.join("below")), format!("{:?}", std::env::temp_dir().join("…")));
        assert_eq!(shown(Path::new("c2VjcmV0/c2VjcmV0+c2VjcmV0")), "\"…\"");
        assert_eq!(shown(Path::new("/c2VjcmV0+c2VjcmV0")), "\"/…\"");
        assert_eq!(shown(Path::new("c2VjcmV0+c2VjcmV0")), "\"…\"");
    }

    #[test]
    fn what_others_can_read_is_no_secret() {
        let path = file();
        fs::write(&path, "s").unwrap();
        for (mode, is_secret) in
            [(0o600, true), (0o400, true), (0o640, true), (0o644, false), (0o602, false), (0o660, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let read = secret(&path);
            assert_eq!(read.is_ok(), is_secret, "{mode:o}");
            if let Err(error) = read {
                assert!(error.to_string().contains(&format!("chmod g-w,o= {}", path.display())), "{error}");
            }
        }
        fs::remove_file(path).unwrap();
    }
}
