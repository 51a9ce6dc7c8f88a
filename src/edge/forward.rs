//! What goes to a provider and back as it is: calls that are no streams. Filled by `upstream`.

use std::pin::Pin;

use bytes::Bytes;
use secrecy::SecretString;
use tokio_stream::Stream;

use crate::cast::hub::order::AskError;

/// One call that a provider answers by itself.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: http::Method,
    /// Behind the provider's base URL, with its query.
    pub(crate) path: String,
    pub(crate) dialect: &'static str,
    /// Which model it is about, where it says so.
    pub(crate) model: Option<String>,
    /// Header fields that are meant for the provider, credentials included.
    pub(crate) passed: Vec<(String, SecretString)>,
    pub(crate) body: Bytes,
    /// Only where the provider's `proxy_paths` have the path.
    pub(crate) is_listed: bool,
}

/// The provider's answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Body,
}

pub(crate) type Body = Pin<Box<dyn Stream<Item = Result<Bytes, std::io::Error>> + Send>>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    #[error(transparent)]
    Ask(#[from] AskError),
    /// No provider of that dialect has this path among its `proxy_paths`.
    #[error("no provider hands this path on: add it to the `proxy_paths` of one")]
    NoPath,
    #[error("the provider cannot be reached: {0}")]
    Unreachable(String),
    #[error("the provider did not answer within upstream.total_s")]
    Silent,
}

pub(crate) type Forwarding<'a> = Pin<Box<dyn Future<Output = Result<Answer, ForwardError>> + Send + 'a>>;

/// A provider, as far as others have to know it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) dialect: &'static str,
    pub(crate) takes_callers_key: bool,
}

/// Whoever knows the providers.
pub(crate) trait Forward: std::fmt::Debug + Send + Sync {
    fn forward(&self, call: Call) -> Forwarding<'_>;
    /// All providers, in the order of the configuration.
    fn providers(&self) -> Vec<Known>;
    /// Who serves a model, and what it speaks: the provider of that name, if there is one, else the first one.
    fn serving(&self, provider: Option<&str>, model: &str) -> Result<(String, &'static str), AskError>;
    /// The same call to the provider of that name.
    fn forward_to(&self, provider: &str, call: Call) -> Forwarding<'_>;
}
