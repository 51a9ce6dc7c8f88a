//! What the core asks of the journal below it.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use super::About;
use super::end::End;
use super::frame::Frame;
use super::id::Id;

/// One thing to remember.
#[derive(Debug, Clone)]
pub enum Record {
    /// A stream has begun; its id is taken from now on.
    Begin(Begin),
    Frame(Id, Arc<Frame>),
    End(Id, Arc<End>),
}

/// What a stream begins with.
#[derive(Debug, Clone)]
pub struct Begin {
    pub id: Id,
    pub tenant: Arc<str>,
    pub provider: Arc<str>,
    pub metadata: Option<String>,
    pub ttl_s: u64,
    /// The `Idempotency-Key`, which is taken from now on, too.
    pub key: Option<Arc<str>>,
    /// Hash of what was asked for.
    pub fingerprint: [u8; 32],
}

impl Begin {
    pub fn new(about: &About, key: Option<Arc<str>>, fingerprint: [u8; 32]) -> Self {
        Self {
            id: about.id.clone(),
            tenant: about.tenant.clone(),
            provider: about.provider.clone(),
            metadata: about.metadata.as_ref().map(|metadata| metadata.get().to_owned()),
            ttl_s: about.ttl.as_secs(),
            key,
            fingerprint,
        }
    }
}

/// The journal could not keep a record.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StorageError(pub String);

/// Resolves once a record is as durable as the journal's mode promises.
pub type Commit = Pin<Box<dyn Future<Output = Result<(), StorageError>> + Send>>;

/// A place where records outlive their cast. Records of one stream are committed in the order given.
pub trait Durable: Send + Sync + std::fmt::Debug {
    fn commit(&self, record: Record) -> Commit;
}

/// A commit that has nothing to wait for.
pub fn committed() -> Commit {
    Box::pin(ready(Ok(())))
}
