//! The keys that are in use, of callers and of apps that sign tickets: those of the configuration, and those of a file,
//! which is read again when it changes.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::clock::Clock;
use super::grant::Denied;
use super::key::Digest;
use super::scope::Scopes;
use super::ticket::issuer::{self, Issuer};
use super::{Config, key};
use crate::files::{self, Watched};
use crate::telemetry;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// `auth.keys_file`
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    #[serde(default)]
    pub keys: Vec<key::Config>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ticket_keys: Vec<issuer::Config>,
}

impl Contents {
    pub fn read(path: &Path) -> Result<Self, String> {
        let bytes = files::secret(path).map_err(|error| error.to_string())?;
        toml::from_slice(&bytes).map_err(|error| {
            // Where, and not what stands there: it may be a key that was not meant to.
            let before = error.span().and_then(|span| bytes.get(..span.start)).unwrap_or_default();
            let line = before.split(|byte| *byte == b'\n').count();
            format!("line {line}: {}", error.message())
        })
    }
}

/// What a key opens.
#[derive(Debug, Clone)]
pub(super) struct Opens {
    pub(super) tenant: Arc<str>,
    pub(super) scopes: Scopes,
}

/// What opens a gateway, but for the tickets that it has made itself.
#[derive(Debug)]
pub struct Keys {
    config: Config,
    /// The apps of the configuration, by `kid`. Their secrets are read once.
    issuers: HashMap<String, Arc<Issuer>>,
    watched: Option<Mutex<Watched<1>>>,
    in_use: RwLock<InUse>,
}

#[derive(Debug, Default)]
struct InUse {
    keys: HashMap<Digest, Opens>,
    issuers: HashMap<String, Arc<Issuer>>,
}

impl Keys {
    /// Those of the configuration, and of the file that it names, which has to be there. `variable` looks up environment
    /// variables.
    pub(super) fn open(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut issuers = HashMap::new();
        add_issuers(&mut issuers, &config.ticket_keys, &config.audience, variable)?;
        let watched = config.keys_file.as_ref().map(|path| Mutex::new(Watched::new([path.clone()])));
        let keys = Self { config: config.clone(), issuers, watched, in_use: RwLock::default() };
        keys.look()?;
        Ok(keys)
    }

    /// Whether there are none, and will be none: then nobody is asked for one. A file may be empty for a while.
    pub(super) fn is_open(&self) -> bool {
        !self.config.wants_keys()
    }

    pub(super) fn opens(&self, key: &str) -> Option<Opens> {
        self.in_use().keys.get(&Digest::of(key)).cloned()
    }

    /// The app that signs tickets under this name.
    pub(super) fn issuer(&self, kid: &str) -> Option<Arc<Issuer>> {
        self.in_use().issuers.get(kid).cloned()
    }

    pub(super) fn has_several_tenants(&self) -> bool {
        let in_use = self.in_use();
        let mut tenants = in_use.keys.values().map(|opens| &opens.tenant);
        tenants.next().is_some_and(|first| tenants.any(|other| other != first))
    }

    /// How many callers have one.
    pub fn len(&self) -> usize {
        self.in_use().keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn in_use(&self) -> std::sync::RwLockReadGuard<'_, InUse> {
        self.in_use.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file again when it has changed, and on every SIGHUP since the call, until `stop`.
    pub fn keep_current(self: Arc<Self>, stop: CancellationToken) -> impl Future<Output = ()> {
        // Where there is nothing to read, a SIGHUP means what it always does.
        let hangup = self.watched.as_ref().and_then(|_| signal(SignalKind::hangup()).ok());
        self.watch(stop, hangup)
    }

    async fn watch(self: Arc<Self>, stop: CancellationToken, mut hangup: Option<Signal>) {
        let Some(path) = &self.config.keys_file else { return };
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
        let lock = |watched: &Mutex<Watched<1>>| {
            watched.lock().unwrap_or_else(PoisonError::into_inner).have_changed()
        };
        let has_changed = self.watched.as_ref().is_none_or(lock);
        if has_changed {
            self.read()?;
        }
        Ok(has_changed)
    }

    /// Takes what the file says now, all of it or nothing.
    fn read(&self) -> Result<(), String> {
        let Config { keys_file, keys, audience, .. } = &self.config;
        let mut in_use = InUse { issuers: self.issuers.clone(), ..InUse::default() };
        add_keys(&mut in_use.keys, keys).map_err(|problem| format!("auth.keys: {problem}"))?;
        if let Some(path) = keys_file {
            let named = |problem| format!("auth.keys_file = {}: {problem}", files::shown(path));
            let contents = Contents::read(path).map_err(named)?;
            add_keys(&mut in_use.keys, &contents.keys).map_err(named)?;
            one_name_each(&contents.keys).map_err(named)?;
            // A variable of a process that runs does not change.
            add_issuers(&mut in_use.issuers, &contents.ticket_keys, audience, |_| None).map_err(named)?;
        }
        *self.in_use.write().unwrap_or_else(PoisonError::into_inner) = in_use;
        Ok(())
    }
}

fn add_keys(all: &mut HashMap<Digest, Opens>, keys: &[key::Config]) -> Result<(), String> {
    for key in keys {
        key.check()?;
        let key::Config { name, sha256, tenant, scopes } = key;
        let opens = Opens { tenant: tenant.as_str().into(), scopes: *scopes };
        // Nobody could tell which of the two a caller means.
        if all.insert(*sha256, opens).is_some() {
            return Err(format!("{name:?} has the sha256 of another key: leave one of them out"));
        }
    }
    Ok(())
}

/// Keys of a file are revoked by their name.
fn one_name_each(keys: &[key::Config]) -> Result<(), String> {
    let mut names = HashSet::new();
    match keys.iter().find(|key| !names.insert(&key.name)) {
        None => Ok(()),
        Some(key::Config { name, .. }) => {
            Err(format!("two keys have the name {name:?}: choose another one for one of them"))
        }
    }
}

fn add_issuers(
    all: &mut HashMap<String, Arc<Issuer>>,
    configs: &[issuer::Config],
    audience: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), String> {
    for config in configs {
        // What cannot be a kid may be the key itself.
        let kid = if issuer::is_kid(&config.kid) { &*config.kid } else { "…" };
        let problem = |what: String| format!("ticket_keys, kid = {kid:?}: {what}");
        let issuer = Issuer::of(config, audience, &variable).map_err(problem)?;
        if all.insert(config.kid.clone(), issuer.into()).is_some() {
            return Err(problem("another key has this kid, too: choose another one".into()));
        }
    }
    Ok(())
}

/// Whether a gateway with this configuration believes what the app `kid` has signed.
pub fn believes(
    config: &Config,
    kid: &str,
    ticket: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), String> {
    let mut apps = config.ticket_keys.clone();
    if let Some(path) = &config.keys_file {
        let named = |problem| format!("auth.keys_file = {}: {problem}", files::shown(path));
        apps.extend(Contents::read(path).map_err(named)?.ticket_keys);
    }
    let app = apps.iter().find(|app| app.kid == kid);
    let app =
        app.ok_or("auth.ticket_keys has no such kid, and the gateway would refuse the ticket: add it there")?;
    match Issuer::of(app, &config.audience, variable)?.check(ticket, Clock::default().now()) {
        Ok(_) => Ok(()),
        Err(Denied::BadTicket) => Err(
            "auth.ticket_keys has another key, or another algorithm, for this kid: the two belong together"
                .into(),
        ),
        Err(denied) => Err(denied.to_string()),
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

    fn open(configured: &[&str], file: Option<&Path>) -> Result<Keys, String> {
        let keys = configured.iter().map(|key| key::Config {
            name: (*key).into(),
            sha256: Digest::of(key),
            tenant: "t".into(),
            scopes: Scopes::ALL,
        });
        let config = Config { keys: keys.collect(), keys_file: file.map(Into::into), ..Config::default() };
        Keys::open(&config, |_| None)
    }

    #[test]
    fn a_file_is_taken_whole_or_not_at_all() {
        let path = std::env::temp_dir().join(format!("tokencast-{}", hex(&random::<8>())));
        assert!(open(&["fixed"], Some(&path)).unwrap_err().contains("auth.keys_file"), "it is not there");
        write(&path, &["one", "two"], 0o600);
        let keys = open(&["fixed"], Some(&path)).unwrap();
        let known = || ["fixed", "one", "two", "three"].map(|key| keys.opens(key).is_some());
        assert_eq!(known(), [true, true, true, false]);
        assert_eq!(keys.look(), Ok(false), "nothing has changed");

        write(&path, &["two", "three"], 0o600);
        assert_eq!((keys.look(), known()), (Ok(true), [true, false, true, true]));
        let app = "[[ticket_keys]]\nkid = \"app\"\nalgorithm = \"HS256\"\n";
        for (bad, problem) in [
            ("[[keys]]\nname = 7", "line 2"),
            ("\n[[keys]]\nname = \"a\"\nsha256 = \"tck_secret\"", "line 4: expected 64 hexadecimal digits"),
            ("[[keys]]\nname = \"a\"\nrole = \"root\"", "role"),
            ("[[keys]]\nname = \"a\\u001b[2J\"\nsha256 = \"HASH\"", "can be seen"),
            ("[[keys]]\nname = \"\"\nsha256 = \"HASH\"", "name = \"\": write 1 to 100"),
            ("[[keys]]\nname = \"a\"\ntenant = \"a\\nb\"\nsha256 = \"HASH\"", "tenant"),
            ("[[ticket_keys]]\nkid = \"tck/secret\"", "kid = \"…\": kid: write"),
            (app, "kid = \"app\": algorithm HS256"),
            (&format!("{app}secret_env = \"HOME\""), "HOME is not set"),
        ] {
            fs::write(&path, bad.replace("HASH", &Digest::of("a").hex())).unwrap();
            let refused = keys.look().unwrap_err();
            assert!(refused.contains(problem) && refused.contains("auth.keys_file"), "{refused}");
            assert!(!refused.contains("tck_secret"), "it goes into the log");
            assert_eq!((keys.look(), known()), (Ok(false), [true, false, true, true]), "told once");
        }
        write(&path, &["one", "one"], 0o600);
        assert!(keys.look().unwrap_err().contains("the sha256 of another key"));
        write(&path, &["one", "fixed"], 0o600);
        assert!(keys.look().unwrap_err().contains("the sha256 of another key"));
        write(&path, &["one", "two"], 0o600);
        let same = fs::read_to_string(&path).unwrap().replace("\"two\"", "\"one\"");
        fs::write(&path, same).unwrap();
        assert!(keys.look().unwrap_err().contains("two keys have the name \"one\""));
        write(&path, &["one"], 0o644);
        assert!(keys.look().unwrap_err().contains("chmod "));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!((keys.look(), known()), (Ok(true), [true, true, false, false]));

        fs::write(&path, "").unwrap();
        assert_eq!((keys.look(), known()), (Ok(true), [true, false, false, false]));
        let none = open(&[], Some(&path)).unwrap();
        assert!(none.is_empty() && !none.is_open(), "the last key was revoked");
        fs::remove_file(&path).unwrap();
        assert_eq!(keys.look(), Ok(false), "it may come back");
        assert!(open(&[], None).unwrap().is_open());
        assert!(open(&["one", "one"], None).unwrap_err().contains("auth.keys"));
    }

    #[test]
    fn apps_come_and_go_with_the_file() {
        let path = std::env::temp_dir().join(format!("tokencast-{}", hex(&random::<8>())));
        let app = |kid: &str| {
            let public_key = "6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw";
            format!("[[ticket_keys]]\nkid = \"{kid}\"\npublic_key = \"{public_key}\"\n")
        };
        write(&path, &["one"], 0o600);
        let keys = open(&[], Some(&path)).unwrap();
        let known = || ["a", "b"].map(|kid| keys.issuer(kid).is_some());
        assert_eq!(known(), [false, false]);
        fs::write(&path, app("a") + &app("b")).unwrap();
        assert_eq!((keys.look(), known()), (Ok(true), [true, true]));
        fs::write(&path, app("b") + &app("b")).unwrap();
        assert!(keys.look().unwrap_err().contains("another key has this kid"));
        fs::write(&path, app("b")).unwrap();
        assert_eq!((keys.look(), known()), (Ok(true), [false, true]));
        fs::remove_file(path).unwrap();
    }
}
