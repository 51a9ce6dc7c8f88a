//! Why a connection is lost, and why a follower gives up.

use std::time::Duration;

use super::contract::Violation;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server does not let us see this stream from there, and coming back would not help.
    #[error("{code}: {message}")]
    Refused { code: String, message: String },
    /// What answers is no gateway.
    #[error("{0}")]
    Foreign(String),
    /// Too many attempts in a row brought nothing.
    #[error("gave up after {attempts} attempts: {last}")]
    Unreachable { attempts: u32, last: String },
    #[error("the server broke its contract: {0}")]
    Violation(#[from] Violation),
}

/// Why a connection gives nothing more.
#[derive(Debug)]
pub(crate) enum Lost {
    /// Coming back may help; at the earliest after so long.
    Cut(String, Option<Duration>),
    GiveUp(Error),
}

impl Lost {
    pub(super) fn cut(why: impl Into<String>) -> Self {
        Self::Cut(why.into(), None)
    }
}

impl<V: Into<Error>> From<V> for Lost {
    fn from(error: V) -> Self {
        Self::GiveUp(error.into())
    }
}
