//! What every surface shares: who may come in and under which names, where a viewer begins, and what is refused.

pub(crate) mod addresses;
pub(crate) mod bucket;
pub(crate) mod certificate;
pub(crate) mod cursor;
pub(crate) mod forward;
pub(crate) mod names;
pub(crate) mod place;
pub(crate) mod query;
pub(crate) mod refusal;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::addresses::Addresses;
use self::forward::Forward;
use self::names::Names;
use self::place::Place;
use crate::auth::{Gate, Grant};
use crate::cast::Cast;
use crate::cast::hub::Hub;
use crate::cast::hub::order::Missing;
use crate::cast::id::Id;

/// What surfaces work with; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Edge(Arc<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) hub: Hub,
    pub(crate) gate: Gate,
    pub(crate) names: Names,
    pub(crate) addresses: Addresses,
    /// Where calls go that are no streams.
    pub(crate) forward: Arc<dyn Forward>,
    /// Where WebTransport is, if anywhere.
    pub(crate) place: Place,
    /// A stream that was interrupted by a restart may have lost its last block: whoever has more than it is told the
    /// end again.
    pub(crate) may_lose: bool,
    /// The longest time that a stream can run.
    pub(crate) total: Duration,
    /// Cancelled when viewers have to leave.
    pub(crate) closing: CancellationToken,
}

impl Edge {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The cast of that name, if there is one that the grant reaches. All others look alike, and take as long: what the
    /// grant does not reach is not looked up, and somebody else's is under another name in the same map as nobody's. The
    /// journal is asked for what is found there, and for nothing else.
    pub(crate) async fn find(&self, grant: &Grant, id: &str) -> Result<Cast, Missing> {
        let id = Id::parse(id).map_err(|_| Missing::Unknown)?;
        if !grant.reaches(&id) {
            return Err(Missing::Unknown);
        }
        self.hub.find(&grant.tenant, &id).await
    }
}

impl std::ops::Deref for Edge {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
