//! Why a follower gives up.

use super::contract::Violation;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server does not let us see this stream from there, and coming back would not help.
    #[error("{status} {code}: {message}")]
    Refused { status: u16, code: String, message: String },
    /// What answers is no gateway.
    #[error("{0}")]
    Foreign(String),
    /// Too many attempts in a row brought nothing.
    #[error("gave up after {attempts} attempts: {last}")]
    Unreachable { attempts: u32, last: String },
    #[error("the server broke its contract: {0}")]
    Violation(#[from] Violation),
}
