//! id → cast: who may start what, what is kept, and for how long.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::durable::{Begin, Durable, Record, StorageError};
use super::end::Why;
use super::id::Id;
use super::memory::Budget;
use super::{About, Cast, Producer};

/// `[retention]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    pub ttl_s: u64,
    pub ttl_s_max: u64,
    pub tombstone_s: u64,
    pub tombstones_max: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self { ttl_s: 900, ttl_s_max: 30 * 86_400, tombstone_s: 86_400, tombstones_max: 100_000 }
    }
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub memory_bytes_max: usize,
    pub streams_max: usize,
    pub running_max: usize,
    pub stream_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 1 << 30,
            streams_max: 100_000,
            running_max: 10_000,
            stream_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// Where the blocks of a cast come from. The hub knows no more than this about providers.
pub trait Origin: Send + Sync {
    /// Checks what is asked for before an id is spent on it.
    fn admit(&self, ask: Ask) -> Result<Box<dyn Launch>, AskError>;
}

/// An admitted request, ready to go.
pub trait Launch: Send {
    /// The provider's name.
    fn provider(&self) -> Arc<str>;
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
    /// The caller's own `Authorization`, for providers with `credentials = "caller"`.
    pub authorization: Option<SecretString>,
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
    #[error("provider {provider:?} does not allow the path {path:?}; it allows: {allowed}")]
    PathNotAllowed { provider: String, path: String, allowed: String },
    #[error("request: {0}")]
    BadRequest(String),
    #[error("provider {provider:?} needs the caller's credentials: send them as `authorization`")]
    NoCredentials { provider: String },
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
        "this Idempotency-Key was used for another request: send the same request, provider and path, or a new key"
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
    #[error("the stream could not be stored: {0}")]
    Storage(#[from] StorageError),
}

/// Why there is no cast of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// There never was one, or it is somebody else's.
    #[error("there is no such stream")]
    Unknown,
    #[error("this stream has expired, or was purged")]
    Gone,
}

/// All casts of this process; clones are the same hub.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

struct Shared {
    retention: Retention,
    limits: Limits,
    budget: Arc<Budget>,
    journal: Arc<dyn Durable>,
    origin: Arc<dyn Origin>,
    shelf: Mutex<Shelf>,
    draining: CancellationToken,
}

/// Names are per tenant.
type Name<T> = (Arc<str>, T);

#[derive(Default)]
struct Shelf {
    casts: HashMap<Name<Id>, Kept>,
    keys: HashMap<Name<Arc<str>>, Key>,
    /// By order of start, for lists.
    order: BTreeMap<u64, Name<Id>>,
    started: u64,
    tombstones: HashMap<Name<Id>, Option<Arc<str>>>,
    buried: VecDeque<(Instant, Name<Id>)>,
}

struct Kept {
    cast: Cast,
    number: u64,
    fingerprint: [u8; 32],
    key: Option<Arc<str>>,
}

struct Key {
    id: Id,
    fingerprint: [u8; 32],
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

impl Hub {
    pub fn new(
        retention: Retention,
        limits: Limits,
        journal: Arc<dyn Durable>,
        origin: Arc<dyn Origin>,
    ) -> Self {
        Self(Arc::new(Shared {
            budget: Budget::new(limits.memory_bytes_max),
            retention,
            limits,
            journal,
            origin,
            shelf: Mutex::default(),
            draining: CancellationToken::new(),
        }))
    }

    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    pub fn retention(&self) -> &Retention {
        &self.0.retention
    }

    /// Starts a stream, or finds the one that this order has started before.
    pub async fn start(&self, order: Order) -> Result<Started, Refused> {
        if self.0.draining.is_cancelled() {
            return Err(Refused::Draining);
        }
        let Order { tenant, ask, fingerprint, id, key, metadata, ttl, cancel_after } = order;
        let admitted = self.0.origin.admit(ask);
        let (cast, producer, launch) = {
            let mut shelf = self.lock();
            if let Some(cast) = shelf.replay(&tenant, key.as_ref(), id.as_ref(), &fingerprint)? {
                return Ok(Started { cast, replayed: true });
            }
            let launch = admitted?;
            self.has_room(&shelf)?;
            let about = About {
                id: id.unwrap_or_else(Id::random),
                tenant,
                provider: launch.provider(),
                metadata,
                ttl: ttl.unwrap_or(Duration::from_secs(self.0.retention.ttl_s)),
                cancel_after,
            };
            let (cast, producer) = Cast::new(about, self.0.budget.share(), self.0.journal.clone());
            shelf.put(cast.clone(), fingerprint, key.clone());
            (cast, producer, launch)
        };
        let begin = Begin::new(cast.about(), key, fingerprint);
        if let Err(error) = self.0.journal.commit(Record::Begin(begin)).await {
            self.lock().remove(&name(&cast));
            return Err(error.into());
        }
        launch.launch(producer);
        Ok(Started { cast, replayed: false })
    }

    fn has_room(&self, shelf: &Shelf) -> Result<(), Refused> {
        if !self.0.budget.has_room() {
            return Err(Refused::Full("limits.memory_bytes_max"));
        }
        if shelf.casts.len() >= self.0.limits.streams_max {
            return Err(Refused::Full("limits.streams_max"));
        }
        if self.0.budget.running() >= self.0.limits.running_max {
            return Err(Refused::Full("limits.running_max"));
        }
        Ok(())
    }

    /// The tenant's cast of that name.
    pub fn find(&self, tenant: &Arc<str>, id: &Id) -> Result<Cast, Missing> {
        let shelf = self.lock();
        let name = (tenant.clone(), id.clone());
        match shelf.casts.get(&name) {
            Some(kept) if kept.cast.expires().is_some_and(|at| at <= Instant::now()) => Err(Missing::Gone),
            Some(kept) => Ok(kept.cast.clone()),
            None if shelf.tombstones.contains_key(&name) => Err(Missing::Gone),
            None => Err(Missing::Unknown),
        }
    }

    /// The tenant's casts, newest first, behind the start number `before`; each with its own number.
    pub fn list(&self, tenant: &Arc<str>, before: Option<u64>) -> Vec<(u64, Cast)> {
        let shelf = self.lock();
        let range = shelf.order.range(..before.unwrap_or(u64::MAX)).rev();
        let mine = range.filter(|(_, (owner, _))| owner == tenant);
        mine.filter_map(|(number, name)| Some((*number, shelf.casts.get(name)?.cast.clone()))).collect()
    }

    /// Forgets a cast now: its content at once, its id for as long as tombstones last.
    pub fn purge(&self, cast: &Cast) {
        cast.stop(Why::Stopped);
        let until = Instant::now() + Duration::from_secs(self.0.retention.tombstone_s);
        self.lock().bury(&name(cast), until, self.0.retention.tombstones_max);
        cast.erase();
    }

    /// Takes no new streams from now on.
    pub fn drain(&self) {
        self.0.draining.cancel();
    }

    /// Cancelled once the gateway takes no new streams.
    pub fn draining(&self) -> &CancellationToken {
        &self.0.draining
    }

    /// The casts that have not ended.
    pub fn running(&self) -> Vec<Cast> {
        let shelf = self.lock();
        shelf.casts.values().map(|kept| &kept.cast).filter(|cast| cast.end().is_none()).cloned().collect()
    }

    /// Forgets what has expired, for ever.
    pub async fn expire(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.sweep(Instant::now());
        }
    }

    fn sweep(&self, now: Instant) {
        let mut shelf = self.lock();
        let expired: Vec<Name<Id>> = shelf
            .casts
            .iter()
            .filter(|(_, kept)| kept.cast.expires().is_some_and(|at| at <= now))
            .map(|(name, _)| name.clone())
            .collect();
        let until = now + Duration::from_secs(self.0.retention.tombstone_s);
        for name in expired {
            shelf.bury(&name, until, self.0.retention.tombstones_max);
        }
        shelf.unbury(now);
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.shelf.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Shelf {
    /// The cast that an equal order has started before, if any.
    fn replay(
        &self,
        tenant: &Arc<str>,
        key: Option<&Arc<str>>,
        id: Option<&Id>,
        fingerprint: &[u8; 32],
    ) -> Result<Option<Cast>, Refused> {
        if let Some(known) = key.and_then(|key| self.keys.get(&(tenant.clone(), key.clone()))) {
            if known.fingerprint != *fingerprint || id.is_some_and(|id| *id != known.id) {
                return Err(Refused::KeyMismatch);
            }
            let kept = self.casts.get(&(tenant.clone(), known.id.clone())).ok_or(Refused::KeyGone)?;
            return Ok(Some(kept.cast.clone()));
        }
        let Some(id) = id else { return Ok(None) };
        let name = (tenant.clone(), id.clone());
        if self.tombstones.contains_key(&name) {
            return Err(Refused::IdUsed(id.clone()));
        }
        match self.casts.get(&name) {
            None => Ok(None),
            Some(kept) if kept.fingerprint == *fingerprint => Ok(Some(kept.cast.clone())),
            Some(_) => Err(Refused::IdConflict(id.clone())),
        }
    }

    fn put(&mut self, cast: Cast, fingerprint: [u8; 32], key: Option<Arc<str>>) {
        let name = name(&cast);
        let number = self.started;
        self.started += 1;
        self.order.insert(number, name.clone());
        if let Some(key) = &key {
            self.keys.insert((name.0.clone(), key.clone()), Key { id: name.1.clone(), fingerprint });
        }
        self.casts.insert(name, Kept { cast, number, fingerprint, key });
    }

    fn remove(&mut self, name: &Name<Id>) -> Option<Kept> {
        let kept = self.casts.remove(name)?;
        self.order.remove(&kept.number);
        if let Some(key) = &kept.key {
            self.keys.remove(&(name.0.clone(), key.clone()));
        }
        Some(kept)
    }

    /// Puts a tombstone in the place of a cast; its key stays taken for as long.
    fn bury(&mut self, name: &Name<Id>, until: Instant, tombstones_max: usize) {
        let Some(kept) = self.casts.remove(name) else { return };
        self.order.remove(&kept.number);
        self.tombstones.insert(name.clone(), kept.key);
        self.buried.push_back((until, name.clone()));
        while self.buried.len() > tombstones_max {
            self.forget_oldest();
        }
    }

    fn unbury(&mut self, now: Instant) {
        while self.buried.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, name)) = self.buried.pop_front() else { return };
        if let Some(Some(key)) = self.tombstones.remove(&name) {
            self.keys.remove(&(name.0, key));
        }
    }
}

fn name(cast: &Cast) -> Name<Id> {
    (cast.about().tenant.clone(), cast.id().clone())
}
