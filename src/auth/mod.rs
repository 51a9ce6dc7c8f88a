//! Who may: a key or a ticket becomes a [`Grant`], a value that handlers take.
//!
//! In the order in which to read: `scope` and `grant` (what there is to be granted), `key` and `keys` (what a key is, and
//! which ones are in use), `clock` and `ticket` (made here or by an app, and what it says now), and the [`Gate`] below.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod clock;
pub mod grant;
pub mod key;
pub mod keys;
pub mod scope;
pub mod ticket;

use std::path::PathBuf;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use self::clock::Clock;
pub use self::grant::{Denied, Grant, Only};
use self::keys::Keys;
use self::scope::Scopes;
use self::ticket::Tickets;
use self::ticket::issuer::{self, Algorithm};
use crate::crypto::Veil;

/// The tenant of a gateway without keys.
pub const OPEN_TENANT: &str = "default";

fn default_tenant() -> String {
    OPEN_TENANT.into()
}

/// `[auth]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Listen beyond loopback although there are no keys.
    pub insecure_open: bool,
    /// Further keys, of both kinds, in a file that `tokencast key` edits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_file: Option<PathBuf>,
    pub keys: Vec<key::Config>,
    /// For whom tickets are: what they have to say as `aud`.
    pub audience: String,
    /// How the gateway signs the tickets that it makes.
    pub ticket_algorithm: Algorithm,
    pub ticket_keys: Vec<issuer::Config>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            insecure_open: false,
            keys_file: None,
            keys: Vec::new(),
            audience: "tokencast".into(),
            ticket_algorithm: Algorithm::EdDsa,
            ticket_keys: Vec::new(),
        }
    }
}

impl Config {
    /// Whether there is anybody to be told apart from everybody.
    pub fn wants_keys(&self) -> bool {
        !self.keys.is_empty() || self.keys_file.is_some()
    }
}

/// A key, or a file with some, that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}", key::without_keys(.0))]
pub struct Problem(String);

/// What a caller shows: each at most once, and as received.
#[derive(Debug, Clone, Default)]
pub struct Credential {
    /// `tokencast-key`
    pub key: Option<SecretString>,
    /// `Authorization: Bearer`
    pub bearer: Option<SecretString>,
    /// `?ticket=`, or one that came with a message.
    pub ticket: Option<SecretString>,
}

impl Credential {
    /// What an `Authorization` says behind `Bearer`.
    pub fn bearer_of(authorization: &str) -> Option<&str> {
        let (scheme, credential) = authorization.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim())
    }
}

/// A gate whose own tickets are not signed yet.
#[derive(Debug)]
pub struct Keyring {
    keys: Keys,
    audience: String,
    algorithm: Algorithm,
    clock: Clock,
}

impl Keyring {
    /// Reads what the configuration and the files that it names say. `variable` looks up environment variables.
    pub fn open(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Problem> {
        if config.audience.is_empty() {
            return Err(Problem("auth.audience: write a name for this gateway, as in \"tokencast\"".into()));
        }
        let keys = Keys::open(config, variable).map_err(Problem)?;
        let (audience, algorithm) = (config.audience.clone(), config.ticket_algorithm);
        Ok(Self { keys, audience, algorithm, clock: Clock::default() })
    }

    /// Tells tickets another time.
    pub fn by(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// How many keys there are now.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }
}

/// Turns credentials into grants.
#[derive(Debug)]
pub struct Gate {
    keys: Arc<Keys>,
    tickets: Tickets,
    pages: Veil,
}

impl Gate {
    /// The gateway's own tickets are signed by what comes of `secret`.
    pub fn new(keyring: Keyring, secret: &[u8; 32]) -> Self {
        let Keyring { keys, audience, algorithm, clock } = keyring;
        let keys = Arc::new(keys);
        let tickets = Tickets::new(keys.clone(), &audience, algorithm, secret, clock);
        Self { keys, tickets, pages: Veil::of(secret, b"tokencast pages") }
    }

    /// Whether everybody who reaches the listener may do everything.
    pub fn is_open(&self) -> bool {
        self.keys.is_open()
    }

    /// Whether a credential opens this gateway, or has done so, whatever else it may be.
    pub fn is_ours(&self, credential: &str) -> bool {
        self.keys.opens(credential).is_some()
            || !matches!(self.tickets.check(credential), Err(Denied::BadTicket))
    }

    /// Whether there is anybody to be kept apart.
    pub fn has_several_tenants(&self) -> bool {
        self.keys.has_several_tenants()
    }

    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    pub fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// Marks of where a tenant's list goes on: numbers of starts would tell each how many the others make.
    pub fn pages(&self) -> &Veil {
        &self.pages
    }

    /// What a caller may do.
    pub fn grant_to(&self, credential: &Credential) -> Result<Grant, Denied> {
        let Credential { key, bearer, ticket } = credential;
        let [key, bearer, ticket] =
            [key, bearer, ticket].map(|secret| secret.as_ref().map(ExposeSecret::expose_secret));
        match (key, bearer, ticket) {
            (Some(key), ..) => self.grant(Some(key)),
            // A page that follows a link has no header to set: its ticket counts.
            (None, _, Some(ticket)) if self.is_open() => self.grant(Some(ticket)),
            (None, Some(bearer), _) => self.grant_by_authorization(bearer),
            (None, None, ticket) => self.grant(ticket),
        }
    }

    /// What a credential grants that was sent to us alone. A ticket counts even where the gateway is open, so that it
    /// means the same everywhere.
    pub fn grant(&self, credential: Option<&str>) -> Result<Grant, Denied> {
        match credential {
            Some(ticket) if ticket::looks_like_one(ticket) => self.tickets.check(ticket),
            _ if self.is_open() => {
                Ok(Grant { tenant: OPEN_TENANT.into(), scopes: Scopes::ALL, only: None, expires: None })
            }
            Some(key) => {
                let opens = self.keys.opens(key).ok_or(Denied::UnknownKey)?;
                Ok(Grant { tenant: opens.tenant, scopes: opens.scopes, only: None, expires: None })
            }
            None => Err(Denied::Nothing),
        }
    }

    /// What an `Authorization` grants. On an open gateway it may be meant for the provider.
    fn grant_by_authorization(&self, credential: &str) -> Result<Grant, Denied> {
        match self.grant(Some(credential)) {
            Err(Denied::BadTicket) if self.is_open() => self.grant(None),
            granted => granted,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::key::Digest;
    use super::scope::Scope;
    use super::*;
    use crate::cast::id::Id;

    fn gate(keys: &[(&str, &[Scope])]) -> Gate {
        let keys = keys.iter().map(|(key, scopes)| key::Config {
            name: (*key).into(),
            sha256: Digest::of(key),
            tenant: format!("tenant of {key}"),
            scopes: scopes.iter().copied().collect(),
        });
        let config = Config { keys: keys.collect(), ..Config::default() };
        Gate::new(Keyring::open(&config, |_| None).unwrap(), &crate::crypto::random())
    }

    #[test]
    fn a_gateway_without_keys_is_open() {
        let gate = gate(&[]);
        for credential in [None, Some("whatever")] {
            let grant = gate.grant(credential).unwrap();
            for granted in [grant.start(), grant.read(), grant.stop(), grant.purge(), grant.list()] {
                assert_eq!(granted, Ok(()));
            }
            assert_eq!(&*grant.tenant, OPEN_TENANT);
        }
    }

    #[test]
    fn a_key_opens_its_tenant() {
        let gate = gate(&[("one", &Scope::ALL), ("two", &Scope::ALL)]);
        assert_eq!(&*gate.grant(Some("two")).unwrap().tenant, "tenant of two");
        assert_eq!(gate.grant(Some("three")).unwrap_err(), Denied::UnknownKey);
        assert_eq!(gate.grant(None).unwrap_err(), Denied::Nothing);
    }

    #[test]
    fn a_key_does_what_its_scopes_say() {
        for scope in Scope::ALL {
            let gate = gate(&[("key", &[scope])]);
            let grant = gate.grant(Some("key")).unwrap();
            let may = |granted: Result<(), Denied>| granted.is_ok();
            assert_eq!(may(grant.start()), scope == Scope::Start);
            assert_eq!(may(grant.read()), scope == Scope::Read);
            assert_eq!(may(grant.stop()), scope == Scope::Stop);
            assert_eq!(may(grant.purge()), scope == Scope::Admin);
            assert_eq!(may(grant.list()), matches!(scope, Scope::Read | Scope::Admin));
            let watching = [Scope::Read].into_iter().collect();
            assert_eq!(
                may(grant.issue(watching)),
                scope == Scope::Read,
                "nobody hands on what is not theirs"
            );
        }
    }

    #[test]
    fn a_ticket_opens_its_streams() {
        let (gate, id) = (gate(&[("key", &Scope::ALL)]), Id::random());
        let only = Only::Streams([id.clone()].into());
        let issue = |scopes: &[Scope]| {
            let scopes = scopes.iter().copied().collect();
            gate.tickets().issue("tenant", &only, scopes, Duration::from_secs(60)).0
        };
        let grant = gate.grant(Some(&issue(&[Scope::Read, Scope::Stop]))).unwrap();
        assert!(grant.reaches(&id) && !grant.reaches(&Id::random()));
        assert_eq!((grant.read(), grant.stop()), (Ok(()), Ok(())));
        for denied in
            [grant.start(), grant.purge(), grant.list(), grant.issue([Scope::Read].into_iter().collect())]
        {
            assert_eq!(denied, Err(Denied::NotByTicket));
        }
        assert_eq!(gate.grant(Some(&issue(&[Scope::Read]))).unwrap().stop(), Err(Denied::NoStop));
        assert_eq!(gate.grant(Some(&issue(&[Scope::Stop]))).unwrap().read(), Err(Denied::NoWatch));
    }

    #[test]
    fn what_is_ours_stays_ours() {
        let gate = gate(&[("key", &Scope::ALL)]);
        let only = Only::Streams([Id::random()].into());
        let (old, _) = gate.tickets().issue("t", &only, Scopes::ALL, Duration::ZERO);
        assert!(gate.is_ours("key") && gate.is_ours(&old) && !gate.is_ours("a.b.c") && !gate.is_ours("sk-1"));
    }
}
