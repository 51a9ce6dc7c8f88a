//! Who may: a key or a ticket becomes a [`Grant`], a value that handlers take.

mod jwt;
pub mod key;
pub mod ticket;

use std::collections::HashMap;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use self::key::Digest;
use self::ticket::Tickets;
use crate::cast::id::Id;

/// The tenant of a gateway without keys.
pub const OPEN_TENANT: &str = "default";

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Listen beyond loopback although there are no keys.
    pub insecure_open: bool,
    pub keys: Vec<key::Config>,
}

/// What the bearer of a credential may do.
#[derive(Debug, Clone)]
pub struct Grant {
    pub tenant: Arc<str>,
    pub can: Can,
    /// Only this stream.
    only: Option<Id>,
    /// When a viewing under this grant is over.
    pub expires: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Can {
    /// Start streams and list them.
    pub start: bool,
    /// Stop a stream.
    pub stop: bool,
}

/// Why there is no grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error(
        "send a key or a ticket: `authorization: Bearer …`, or `?ticket=…` for a viewer that cannot set headers"
    )]
    Nothing,
    #[error("this key is not known")]
    UnknownKey,
    #[error("this ticket is not valid here: get a fresh one from POST /v1/streams")]
    BadTicket,
    #[error("this ticket has expired: get a fresh one by repeating the POST with its Idempotency-Key or id")]
    Expired,
    #[error("a ticket cannot do this: use a key")]
    NotByTicket,
    #[error("this ticket may only watch: use a key, or a ticket that says `stop`")]
    NoStop,
}

impl Grant {
    /// Whether this grant reaches the stream at all. What it does not reach does not exist for its bearer.
    pub fn reaches(&self, id: &Id) -> bool {
        self.only.as_ref().is_none_or(|only| only == id)
    }

    pub fn start(&self) -> Result<(), Denied> {
        if self.can.start { Ok(()) } else { Err(Denied::NotByTicket) }
    }

    pub fn stop(&self) -> Result<(), Denied> {
        if self.can.stop { Ok(()) } else { Err(Denied::NoStop) }
    }
}

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

/// Turns credentials into grants.
#[derive(Debug)]
pub struct Gate {
    keys: HashMap<Digest, Arc<str>>,
    tickets: Tickets,
}

impl Gate {
    /// Tickets are signed under `secret`.
    pub fn new(config: &Config, secret: &[u8; 32]) -> Self {
        let keys = config.keys.iter().map(|key| (key.sha256, key.tenant.as_str().into())).collect();
        Self { keys, tickets: Tickets::new(secret) }
    }

    /// Whether everybody who reaches the listener may do everything.
    pub fn is_open(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a credential opens this gateway, whatever else it may be.
    pub fn is_ours(&self, credential: &str) -> bool {
        self.keys.contains_key(&Digest::of(credential)) || self.tickets.check(credential).is_ok()
    }

    /// Whether there is anybody to be kept apart.
    pub fn has_several_tenants(&self) -> bool {
        let mut tenants = self.keys.values();
        tenants.next().is_some_and(|first| tenants.any(|other| other != first))
    }

    pub fn tickets(&self) -> &Tickets {
        &self.tickets
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
            _ if self.is_open() => Ok(Self::everything(OPEN_TENANT.into())),
            Some(key) => {
                let tenant = self.keys.get(&Digest::of(key)).ok_or(Denied::UnknownKey)?;
                Ok(Self::everything(tenant.clone()))
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

    fn everything(tenant: Arc<str>) -> Grant {
        Grant { tenant, can: Can { start: true, stop: true }, only: None, expires: None }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn gate(keys: &[&str]) -> Gate {
        let keys = keys
            .iter()
            .map(|key| key::Config {
                name: "test".into(),
                sha256: Digest::of(key),
                tenant: format!("tenant of {key}"),
            })
            .collect();
        Gate::new(&Config { keys, ..Config::default() }, &crate::crypto::random())
    }

    #[test]
    fn a_gateway_without_keys_is_open() {
        let gate = gate(&[]);
        for credential in [None, Some("whatever")] {
            let grant = gate.grant(credential).unwrap();
            assert!(grant.start().is_ok() && grant.stop().is_ok());
            assert_eq!(&*grant.tenant, OPEN_TENANT);
        }
    }

    #[test]
    fn a_key_opens_its_tenant() {
        let gate = gate(&["one", "two"]);
        assert_eq!(&*gate.grant(Some("two")).unwrap().tenant, "tenant of two");
        assert_eq!(gate.grant(Some("three")).unwrap_err(), Denied::UnknownKey);
        assert_eq!(gate.grant(None).unwrap_err(), Denied::Nothing);
    }

    #[test]
    fn a_ticket_opens_one_stream() {
        let (gate, id) = (gate(&["key"]), Id::random());
        let (ticket, _) = gate.tickets().issue("tenant", &id, true, Duration::from_secs(60));
        let grant = gate.grant(Some(&ticket)).unwrap();
        assert!(grant.reaches(&id) && !grant.reaches(&Id::random()));
        assert_eq!((grant.start(), grant.stop()), (Err(Denied::NotByTicket), Ok(())));
        let (ticket, _) = gate.tickets().issue("tenant", &id, false, Duration::from_secs(60));
        assert_eq!(gate.grant(Some(&ticket)).unwrap().stop(), Err(Denied::NoStop));
    }

    #[test]
    fn a_forged_ticket_opens_nothing() {
        let (gate, id) = (gate(&[]), Id::random());
        let (ticket, _) =
            super::tests::gate(&[]).tickets().issue("tenant", &id, true, Duration::from_secs(60));
        assert_eq!(gate.grant(Some(&ticket)).unwrap_err(), Denied::BadTicket, "another gateway's secret");
        let (ticket, _) = gate.tickets().issue("tenant", &id, true, Duration::from_secs(60));
        let body = ticket.split('.').nth(1).unwrap();
        let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.");
        for forged in [unsigned.as_str(), "a.b.c", "..", &format!("{ticket}x")] {
            assert_eq!(gate.grant(Some(forged)).unwrap_err(), Denied::BadTicket, "{forged}");
        }
    }
}
