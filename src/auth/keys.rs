//! The keys that are in use: those of the configuration, and those of a file, which is read again when it changes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::key::{Config, Digest};
use super::scope::Scopes;
use crate::files::{self, Watched};
use crate::telemetry;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// `auth.keys_file`
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    #[serde(default)]
    pub keys: Vec<Config>,
}

impl Contents {
    pub fn read(path: &Path) -> Result<Self, String> {
        let bytes = files::secret(path).map_err(|error| error.to_string())?;
        let contents: Self = toml::from_slice(&bytes).map_err(|error| error.to_string())?;
        unique(&contents.keys)?;
        Ok(contents)
    }
}

/// Nobody can tell which of two entries a key means.
pub(super) fn unique<'a>(keys: impl IntoIterator<Item = &'a Config>) -> Result<(), String> {
    let mut names = HashMap::new();
    for key in keys {
        if let Some(other) = names.insert(key.sha256, &key.name) {
            return Err(format!("{other:?} and {:?} have the same sha256: leave one of them out", key.name));
        }
    }
    Ok(())
}

/// What a key opens.
#[derive(Debug, Clone)]
pub(super) struct Opens {
    pub(super) tenant: Arc<str>,
    pub(super) scopes: Scopes,
}

/// All keys of a gateway.
#[derive(Debug)]
pub struct Keys {
    configured: Vec<Config>,
    file: Option<(PathBuf, Mutex<Watched<1>>)>,
    in_use: RwLock<HashMap<Digest, Opens>>,
}

impl Keys {
    /// Those of the configuration, and of the file that it names, which has to be there.
    pub(super) fn open(configured: &[Config], file: Option<&Path>) -> Result<Self, String> {
        let keys = Self {
            configured: configured.to_vec(),
            file: file.map(|path| (path.to_owned(), Mutex::new(Watched::new([path.to_owned()])))),
            in_use: RwLock::default(),
        };
        keys.look()?;
        Ok(keys)
    }

    /// Whether there are none, and will be none: then nobody is asked for one. A file may be empty for a while.
    pub(super) fn is_open(&self) -> bool {
        self.configured.is_empty() && self.file.is_none()
    }

    pub(super) fn opens(&self, key: &str) -> Option<Opens> {
        self.in_use.read().unwrap_or_else(PoisonError::into_inner).get(&Digest::of(key)).cloned()
    }

    pub(super) fn has_several_tenants(&self) -> bool {
        let in_use = self.in_use.read().unwrap_or_else(PoisonError::into_inner);
        let mut tenants = in_use.values().map(|opens| &opens.tenant);
        tenants.next().is_some_and(|first| tenants.any(|other| other != first))
    }

    /// How many are in use.
    pub fn len(&self) -> usize {
        self.in_use.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the file again when it has changed, and on every SIGHUP since the call, until `stop`.
    pub fn keep_current(self: Arc<Self>, stop: CancellationToken) -> impl Future<Output = ()> {
        // Where there is nothing to read, a SIGHUP means what it always does.
        let hangup = self.file.as_ref().and_then(|_| signal(SignalKind::hangup()).ok());
        self.watch(stop, hangup)
    }

    async fn watch(self: Arc<Self>, stop: CancellationToken, mut hangup: Option<Signal>) {
        let Some((path, _)) = &self.file else { return };
        let mut tick = interval(LOOK);
        loop {
            let told = async {
                match &mut hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => self.look(),
                _ = told => self.read().map(|()| true),
            };
            match looked {
                Ok(false) => {}
                Ok(true) => {
                    telemetry::keys_read(true);
                    info!(path = %path.display(), keys = self.len(), "the keys were read again");
                }
                Err(problem) => {
                    telemetry::keys_read(false);
                    error!(%problem, "the keys are those of before");
                }
            }
        }
    }

    /// Reads the file if it has changed, and gives whether it had.
    fn look(&self) -> Result<bool, String> {
        let has_changed = self
            .file
            .as_ref()
            .is_none_or(|(_, watched)| watched.lock().unwrap_or_else(PoisonError::into_inner).have_changed());
        if has_changed {
            self.read()?;
        }
        Ok(has_changed)
    }

    /// Takes what the file says now, all of it or nothing.
    fn read(&self) -> Result<(), String> {
        let contents = match &self.file {
            Some((path, _)) => {
                let named = |problem| format!("auth.keys_file = {path:?}: {problem}");
                Contents::read(path).map_err(named)?
            }
            None => Contents::default(),
        };
        unique(self.configured.iter().chain(&contents.keys))
            .map_err(|problem| format!("auth.keys: {problem}"))?;
        let opens = |key: &Config| Opens { tenant: key.tenant.as_str().into(), scopes: key.scopes };
        let all = self.configured.iter().chain(&contents.keys);
        let in_use = all.map(|key| (key.sha256, opens(key))).collect();
        *self.in_use.write().unwrap_or_else(PoisonError::into_inner) = in_use;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::crypto::{hex, random};

    /// A file with these keys, as `mode` says.
    fn write(path: &Path, keys: &[&str], mode: u32) {
        let entry =
            |key: &&str| format!("[[keys]]\nname = \"{key}\"\nsha256 = \"{}\"\n", Digest::of(key).hex());
        fs::write(path, keys.iter().map(entry).collect::<String>()).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_is_taken_whole_or_not_at_all() {
        let path = std::env::temp_dir().join(format!("tokencast-{}", hex(&random::<8>())));
        let configured = [Config {
            name: "fixed".into(),
            sha256: Digest::of("fixed"),
            tenant: "t".into(),
            scopes: Scopes::ALL,
        }];
        assert!(
            Keys::open(&configured, Some(&path)).unwrap_err().contains("auth.keys_file"),
            "it is not there"
        );
        write(&path, &["one", "two"], 0o600);
        let keys = Keys::open(&configured, Some(&path)).unwrap();
        let known = || ["fixed", "one", "two", "three"].map(|key| keys.opens(key).is_some());
        assert_eq!(known(), [true, true, true, false]);
        assert_eq!(keys.look(), Ok(false), "nothing has changed");

        write(&path, &["two", "three"], 0o600);
        assert_eq!((keys.look(), known()), (Ok(true), [true, false, true, true]));
        for (bad, problem) in [
            ("[[keys]]\nname = 7", "name = 7"),
            ("[[keys]]\nname = \"a\"\nsha256 = \"00\"", "64 hexadecimal digits"),
            ("[[keys]]\nname = \"a\"\nrole = \"root\"", "role"),
        ] {
            fs::write(&path, bad).unwrap();
            let refused = keys.look().unwrap_err();
            assert!(refused.contains(problem) && refused.contains("auth.keys_file"), "{refused}");
            assert_eq!((keys.look(), known()), (Ok(false), [true, false, true, true]), "told once");
        }
        write(&path, &["one", "one"], 0o600);
        assert!(keys.look().unwrap_err().contains("the same sha256"));
        write(&path, &["one", "fixed"], 0o600);
        assert!(keys.look().unwrap_err().contains("the same sha256"));
        write(&path, &["one"], 0o644);
        assert!(keys.look().unwrap_err().contains("chmod "));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!((keys.look(), known()), (Ok(true), [true, true, false, false]));

        fs::write(&path, "").unwrap();
        assert_eq!((keys.look(), known()), (Ok(true), [true, false, false, false]));
        let none = Keys::open(&[], Some(&path)).unwrap();
        assert!(none.is_empty() && !none.is_open(), "the last key was revoked");
        fs::remove_file(&path).unwrap();
        assert_eq!(keys.look(), Ok(false), "it may come back");
        assert!(Keys::open(&[], None).unwrap().is_open());
    }
}
