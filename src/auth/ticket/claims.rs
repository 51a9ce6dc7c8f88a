//! What a ticket says, and what that grants now.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use tokio::time::Instant;

use super::LEEWAY;
use crate::auth::grant::{Denied, Grant, Only};
use crate::auth::scope::{Scope, Scopes};
use crate::cast::id::Id;

/// The claims of a ticket. All others mean nothing here.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Claims {
    /// Whoever verifies the signature checks it, too: it may be one or many.
    #[serde(skip_deserializing)]
    aud: String,
    exp: u64,
    #[serde(skip_serializing, default, deserialize_with = "there")]
    nbf: Option<u64>,
    #[serde(skip_serializing, default, deserialize_with = "there")]
    iat: Option<u64>,
    #[serde(default, deserialize_with = "there")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "there")]
    stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "there")]
    streams: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "there")]
    prefix: Option<String>,
    #[serde(default, deserialize_with = "there")]
    can: Option<Vec<Capability>>,
}

/// A claim that is there says something: null is of another type than all of them.
fn there<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Capability {
    Watch,
    Stop,
}

/// Within which bounds an issuer is believed.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// The tenant whose streams its tickets open, whatever they say; any, for the gateway itself.
    pub(super) tenant: Option<Arc<str>>,
    pub(super) lifetime_max: Duration,
}

impl Claims {
    pub(super) fn new(audience: &str, tenant: &str, only: &Only, scopes: Scopes, exp: u64) -> Self {
        let mut claims = Self { aud: audience.into(), exp, tenant: Some(tenant.into()), ..Self::default() };
        match only {
            Only::Streams(ids) => match &ids[..] {
                [id] => claims.stream = Some(id.to_string()),
                ids => claims.streams = Some(ids.iter().map(ToString::to_string).collect()),
            },
            Only::Prefix(prefix) => claims.prefix = Some(prefix.to_string()),
        }
        let can = [(Scope::Read, Capability::Watch), (Scope::Stop, Capability::Stop)];
        claims.can =
            Some(can.into_iter().filter(|(scope, _)| scopes.has(*scope)).map(|(_, can)| can).collect());
        claims
    }

    /// What a ticket with these claims grants, at a time since 1970.
    pub(super) fn grant(self, bounds: &Bounds, now: Duration) -> Result<Grant, Denied> {
        let latest = now.saturating_add(LEEWAY);
        let is_after = |time: u64, other: Duration| Duration::from_secs(time) > other;
        if is_after(self.exp, latest.saturating_add(bounds.lifetime_max)) {
            return Err(Denied::BadClaims("its `exp` is further away than its key's `ttl_s_max` allows"));
        }
        let left = Duration::from_secs(self.exp).saturating_add(LEEWAY).saturating_sub(now);
        if left.is_zero() {
            return Err(Denied::Expired);
        }
        if self.nbf.is_some_and(|nbf| is_after(nbf, latest)) {
            return Err(Denied::BadClaims("it is not valid yet, as its `nbf` says"));
        }
        if self.iat.is_some_and(|iat| is_after(iat, latest)) {
            return Err(Denied::BadClaims("its `iat` is in the future: set the clock of whoever made it"));
        }
        let tenant = match (&bounds.tenant, self.tenant) {
            (None, Some(tenant)) => tenant.into(),
            (Some(own), None) => own.clone(),
            (Some(own), Some(tenant)) if **own == *tenant => own.clone(),
            (Some(_), Some(_)) => return Err(Denied::BadClaims("its `tenant` is not that of its key")),
            (None, None) => return Err(Denied::BadClaims("it lacks a `tenant`")),
        };
        if self.can.as_ref().is_some_and(Vec::is_empty) {
            return Err(Denied::BadClaims("its `can` is empty: write what it may, or leave it out"));
        }
        let can = self.can.unwrap_or_else(|| vec![Capability::Watch]);
        let scopes = can.into_iter().map(|can| match can {
            Capability::Watch => Scope::Read,
            Capability::Stop => Scope::Stop,
        });
        let only = only(self.stream, self.streams, self.prefix)?;
        let expires = Instant::now().checked_add(left);
        Ok(Grant { tenant, scopes: scopes.collect(), only: Some(only), expires })
    }
}

fn only(
    stream: Option<String>,
    streams: Option<Vec<String>>,
    prefix: Option<String>,
) -> Result<Only, Denied> {
    const BAD_ID: Denied = Denied::BadClaims(
        "its `stream`, `streams` or `prefix` has other characters than A-Z a-z 0-9 _ -, or not 1 to 64",
    );
    let id = |text: String| Id::parse(&text).map_err(|_| BAD_ID);
    match (stream, streams, prefix) {
        (Some(stream), None, None) => Ok(Only::Streams([id(stream)?].into())),
        (None, Some(streams), None) if !streams.is_empty() => {
            Ok(Only::Streams(streams.into_iter().map(id).collect::<Result<_, _>>()?))
        }
        (None, None, Some(prefix)) => Ok(Only::Prefix(id(prefix)?)),
        _ => Err(Denied::BadClaims(
            "it names no streams, or in two ways: write one of `stream`, `streams` and `prefix`",
        )),
    }
}
