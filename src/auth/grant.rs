//! What the bearer of a credential may do: a value that handlers take, and ask.

use std::sync::Arc;

use tokio::time::Instant;

use super::scope::{Scope, Scopes};
use crate::cast::id::Id;

#[derive(Debug, Clone)]
pub struct Grant {
    pub tenant: Arc<str>,
    pub(super) scopes: Scopes,
    /// Whoever came by a ticket; a key reaches all streams of its tenant.
    pub(super) only: Option<Only>,
    /// When a viewing under this grant is over.
    pub expires: Option<Instant>,
}

/// The streams that there are for the bearer of a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Only {
    Streams(Box<[Id]>),
    /// Those whose id begins so, letter by letter.
    Prefix(Id),
}

/// Why something is not granted.
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
    /// Signed by one of its issuers, and wrong all the same.
    #[error("this ticket cannot be used: {0}")]
    BadClaims(&'static str),
    #[error("this ticket has expired: get a fresh one by repeating the POST with its Idempotency-Key or id")]
    Expired,
    #[error("a ticket cannot do this: use a key")]
    NotByTicket,
    #[error("this ticket may not watch: use a key, or a ticket that says `watch`")]
    NoWatch,
    #[error("this ticket may only watch: use a key, or a ticket that says `stop`")]
    NoStop,
    #[error(
        "this key lacks the scope `{0}`: use one that has it, `tokencast key new NAME --scope {0}` makes one"
    )]
    NoScope(Scope),
}

impl Grant {
    /// Whether this grant reaches the stream at all. What it does not reach does not exist for its bearer.
    pub fn reaches(&self, id: &Id) -> bool {
        match &self.only {
            None => true,
            Some(Only::Streams(ids)) => ids.contains(id),
            Some(Only::Prefix(prefix)) => id.as_str().starts_with(prefix.as_str()),
        }
    }

    /// Start streams, and make calls that go to a provider.
    pub fn start(&self) -> Result<(), Denied> {
        self.has(Scope::Start)
    }

    /// Watch a stream, and see what it is.
    pub fn read(&self) -> Result<(), Denied> {
        self.has(Scope::Read)
    }

    /// Stop a stream, which stays readable.
    pub fn stop(&self) -> Result<(), Denied> {
        self.has(Scope::Stop)
    }

    /// Erase a stream.
    pub fn purge(&self) -> Result<(), Denied> {
        self.has(Scope::Admin)
    }

    /// See which streams the tenant has.
    pub fn list(&self) -> Result<(), Denied> {
        match self.only {
            Some(_) => Err(Denied::NotByTicket),
            // Who may erase them has to find them.
            None if self.scopes.has(Scope::Admin) => Ok(()),
            None => self.read(),
        }
    }

    /// Hand this much on, as a ticket.
    pub fn issue(&self, scopes: Scopes) -> Result<(), Denied> {
        match self.only {
            Some(_) => Err(Denied::NotByTicket),
            None => scopes.iter().try_for_each(|scope| self.has(scope)),
        }
    }

    fn has(&self, scope: Scope) -> Result<(), Denied> {
        if self.scopes.has(scope) {
            return Ok(());
        }
        Err(match (&self.only, scope) {
            (None, _) => Denied::NoScope(scope),
            (Some(_), Scope::Read) => Denied::NoWatch,
            (Some(_), Scope::Stop) => Denied::NoStop,
            (Some(_), Scope::Start | Scope::Admin) => Denied::NotByTicket,
        })
    }
}
