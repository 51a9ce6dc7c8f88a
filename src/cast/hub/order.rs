//! A request to start a stream, its answer, and what the hub asks of whoever calls providers.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::cast::account::Reached;
use crate::cast::durable::StorageError;
use crate::cast::id::Id;
use crate::cast::{Cast, Producer};

/// The header fields that keys of providers stand in.
pub const CREDENTIALS: [&str; 4] = ["authorization", "x-api-key", "x-goog-api-key", "api-key"];

/// Where the blocks of a cast come from. The hub knows no more than this about providers.
pub trait Origin: Send + Sync {
    /// Checks what is asked for before an id is spent on it.
    fn admit(&self, ask: Ask) -> Result<Box<dyn Launch>, AskError>;
    /// What can be asked for, in the order in which it is looked for.
    fn offers(&self) -> Vec<Offer>;
}

/// What whoever may start streams is told of one provider.
#[derive(Debug, Serialize)]
pub struct Offer {
    pub name: String,
    pub dialect: &'static str,
    /// Globs that route a model to it.
    pub models: Vec<String>,
}

/// An admitted request, ready to go.
pub trait Launch: Send {
    /// The provider's name.
    fn provider(&self) -> Arc<str>;
    /// About how many tokens the request has.
    fn tokens(&self) -> u64;
    /// Starts the task that fills the cast, which belongs to the cast and to no request.
    fn launch(self: Box<Self>, producer: Producer);
}

/// What an app wants from a provider.
#[derive(Debug)]
pub struct Ask {
    /// The provider's name; routed by the model otherwise.
    pub provider: Option<String>,
    /// The path behind the provider's base URL; the dialect's default otherwise.
    pub path: Option<String>,
    /// The provider's request, byte for byte as received.
    pub request: Box<RawValue>,
    pub ask_usage: bool,
    /// What the caller's request had that is meant for the provider: header fields, by names in lower case.
    pub passed: Vec<(String, SecretString)>,
    /// The dialect that the caller expects to read, by its name in the configuration; any other provider will not do.
    pub dialect: Option<&'static str>,
    /// What the caller's URL has behind its path and is meant for the provider.
    pub query: Option<String>,
    /// How the provider begins its answer is wanted, see [`Cast::head`].
    pub wants_head: bool,
}

/// Why a request cannot go to any provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("no provider is called {name:?}; there are: {known}")]
    UnknownProvider { name: String, known: String },
    #[error(
        "no provider serves the model {model:?}: name a provider, or add the model to a provider's `models`"
    )]
    UnknownModel { model: String },
    #[error("request.model is missing: name a model, or a provider")]
    NoModel,
    #[error("request.model is missing: name a model, or a path that has one")]
    NoPath,
    #[error("provider {provider:?} does not allow the path {path:?}; it allows: {allowed}")]
    PathNotAllowed { provider: String, path: String, allowed: String },
    #[error("request: {0}")]
    BadRequest(String),
    #[error(
        "provider {provider:?} needs the caller's credentials: send them as its own SDK does, and our key as `tokencast-key`"
    )]
    NoCredentials { provider: String },
    #[error(transparent)]
    LeftAlone(#[from] LeftAlone),
}

/// A provider that has failed again and again is not called for a while.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "provider {provider:?} has failed again and again and is left alone: try again in {} s",
    .retry_after.as_secs().max(1)
)]
pub struct LeftAlone {
    pub provider: String,
    pub retry_after: Duration,
}

/// A request to start a stream.
#[derive(Debug)]
pub struct Order {
    pub tenant: Arc<str>,
    pub ask: Ask,
    /// Hash over what was asked for, as received.
    pub fingerprint: [u8; 32],
    pub id: Option<Id>,
    pub key: Option<Arc<str>>,
    pub metadata: Option<Box<RawValue>>,
    pub ttl: Option<Duration>,
    pub cancel_after: Option<Duration>,
    /// Whoever asks watches the stream with the answer.
    pub is_watched: bool,
}

/// The answer to an [`Order`].
#[derive(Debug)]
pub struct Started {
    pub cast: Cast,
    /// The cast was there already.
    pub replayed: bool,
}

/// Why an order is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(
        "this Idempotency-Key was used for another request, or for another id: send the same request, provider, path and id, or a new key"
    )]
    KeyMismatch,
    #[error("the stream {0} exists with another request: choose another id")]
    IdConflict(Id),
    #[error("the id {0} was used by a stream that is gone: choose another id")]
    IdUsed(Id),
    #[error("the stream of this Idempotency-Key is gone: use a new key to start another one")]
    KeyGone,
    #[error("the gateway is shutting down: try again in a moment")]
    Draining,
    #[error("the gateway is full ({0}): try again later")]
    Full(&'static str),
    #[error("{0}")]
    Quota(#[from] Reached),
    #[error("the stream could not be stored: {0}")]
    Storage(#[from] StorageError),
}

/// Why there is no cast of that name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// There never was one, or it is somebody else's.
    #[error("there is no such stream")]
    Unknown,
    #[error("this stream has expired, or was purged")]
    Gone,
    #[error(transparent)]
    Unreadable(#[from] StorageError),
}
