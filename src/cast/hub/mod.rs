//! id → cast: who may start what, what is kept, where, and for how long.

pub(super) mod asleep;
mod expiry;
pub mod order;
mod shelf;
mod start;
mod tenants;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::asleep::Asleep;
use self::order::{Missing, Offer, Origin};
use self::shelf::{Place, Shelf};
pub use self::tenants::Tenant;
use self::tenants::Tenants;
use super::Cast;
use super::about::{Number, now_ms};
use super::account::{Account, Quotas, Spent};
use super::durable::{Durable, Known, State, StorageError};
use super::end::Why;
use super::facts::Facts;
use super::id::Id;
use super::memory::Budget;
use crate::tasks::Tasks;

/// Casts that are handled while the shelf is locked.
const AT_ONCE: usize = 256;

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
    #[serde(alias = "max_memory_bytes")]
    pub memory_bytes_max: usize,
    #[serde(alias = "max_disk_bytes")]
    pub disk_bytes_max: u64,
    pub streams_max: usize,
    pub running_max: usize,
    pub stream_bytes_max: u64,
    pub viewers_max: u64,
    pub stream_viewers_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 1 << 30,
            disk_bytes_max: 16 << 30,
            streams_max: 100_000,
            running_max: 10_000,
            stream_bytes_max: 64 * 1024 * 1024,
            viewers_max: 50_000,
            stream_viewers_max: 20_000,
        }
    }
}

/// What the hub is told by the configuration.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub retention: Retention,
    pub limits: Limits,
    pub quotas: Quotas,
    pub tenants: Vec<Tenant>,
}

/// All casts of this process; clones are the same hub.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

struct Shared {
    retention: Retention,
    limits: Limits,
    budget: Arc<Budget>,
    tenants: Tenants,
    journal: Arc<dyn Durable>,
    origin: Arc<dyn Origin>,
    shelf: Mutex<Shelf>,
    draining: CancellationToken,
    tasks: Tasks,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

impl Hub {
    pub fn new(settings: Settings, journal: Arc<dyn Durable>, origin: Arc<dyn Origin>, tasks: Tasks) -> Self {
        let Settings { retention, limits, quotas, tenants } = settings;
        Self(Arc::new(Shared {
            tenants: Tenants::new(quotas, tenants, &limits),
            budget: Budget::new(limits.memory_bytes_max),
            retention,
            limits,
            journal,
            origin,
            shelf: Mutex::default(),
            draining: CancellationToken::new(),
            tasks,
        }))
    }

    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// What a tenant has, and may have.
    pub fn account(&self, tenant: &Arc<str>) -> Arc<Account> {
        self.0.tenants.account(tenant)
    }

    /// Puts on a tenant's account what a call has cost that is no stream.
    pub fn spend(&self, account: &Account, spent: Spent) {
        account.spend(spent, &*self.0.journal);
    }

    pub fn retention(&self) -> &Retention {
        &self.0.retention
    }

    /// Why the journal takes nothing now.
    pub fn trouble(&self) -> Option<StorageError> {
        self.0.journal.trouble()
    }

    /// Tells telemetry what is looked up of the journal. It may block.
    pub fn sample(&self) {
        self.0.journal.sample();
    }

    /// Puts back what a process before this one has left, and what tenants have spent today.
    pub fn restore(&self, known: Vec<Known>, spent: Vec<(Arc<str>, Spent)>) {
        for (tenant, spent) in spent {
            self.account(&tenant).remember(spent);
        }
        let (now, wall) = (Instant::now(), now_ms());
        let mut shelf = self.lock();
        for Known { about, content_type, state } in known {
            match state {
                State::Gone(until_ms) => {
                    let left = Duration::from_millis(until_ms.saturating_sub(wall));
                    let most = Duration::from_secs(self.0.retention.tombstone_s);
                    shelf.entomb(&about, now + left.min(most));
                }
                State::Ended(ended) => {
                    // A clock that was set back or forth makes nothing live for ever.
                    let age = wall.saturating_sub(about.started_ms.saturating_add(ended.end.at_ms));
                    let expires = now + about.ttl().saturating_sub(Duration::from_millis(age));
                    let about = Arc::new(about);
                    let stake = self.account(&about.tenant).keep(ended.end.bytes);
                    let asleep = Asleep::new(about.clone(), content_type, ended, expires, stake);
                    shelf.put(about, Place::Journal(Arc::new(asleep)), watch::channel(Some(Ok(()))).1);
                }
            }
        }
        if shelf.len() > 0 {
            info!(streams = shelf.len(), "restored");
        }
    }

    /// What a start can ask for.
    pub fn offers(&self) -> Vec<Offer> {
        self.0.origin.offers()
    }

    /// The tenant's cast of that name, with its log in memory.
    pub async fn find(&self, tenant: &Arc<str>, id: &Id) -> Result<Cast, Missing> {
        let place = self.lock().find(tenant, id, Instant::now())?;
        match self.awake(place).await {
            Ok(cast) => Ok(cast),
            Err(error) => {
                // It may have gone while it was read.
                self.lock().find(tenant, id, Instant::now())?;
                Err(error.into())
            }
        }
    }

    /// The tenant's stream whose provider calls its answer so.
    pub fn answer_of(&self, tenant: &Arc<str>, upstream_id: &str) -> Option<Id> {
        self.lock().answer_of(tenant, upstream_id)
    }

    async fn awake(&self, place: Place) -> Result<Cast, StorageError> {
        let asleep = match &place {
            Place::Memory(cast) => return Ok(cast.clone()),
            Place::Journal(asleep) => asleep,
        };
        if !self.0.budget.has_room() {
            self.put_to_sleep();
        }
        asleep.wake(self.0.journal.clone(), &self.0.budget).await
    }

    /// Up to `max` of the tenant's streams that `pick` wants, newest first, behind the start number `before`; and
    /// the number behind which there are more.
    pub fn list<T>(
        &self,
        tenant: &Arc<str>,
        before: Option<Number>,
        max: usize,
        mut pick: impl FnMut(&Facts<'_>) -> Option<T>,
    ) -> (Vec<T>, Option<Number>) {
        let (mut found, mut last) = (Vec::new(), None);
        let mut before = before.unwrap_or(Number::MAX);
        let mut is_more = false;
        loop {
            let look = |number, facts: &Facts<'_>| {
                let Some(picked) = pick(facts) else { return true };
                is_more = found.len() == max;
                if !is_more {
                    found.push(picked);
                    last = Some(number);
                }
                !is_more
            };
            // Some at a time, so that nobody waits for the shelf.
            match self.lock().list(tenant, before, AT_ONCE, look) {
                Some(number) => before = number,
                None => return (found, last.filter(|_| is_more)),
            }
        }
    }

    /// Forgets a cast now: its content at once, its id for as long as tombstones last.
    pub async fn purge(&self, cast: &Cast) -> Result<(), StorageError> {
        cast.stop(Why::Stopped);
        let buried = self.lock().bury(cast.about(), Instant::now(), &self.0.retention);
        cast.erase();
        drop(buried);
        self.0.journal.commit(self.burial(cast.about().number)).await
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
        let mut casts = self.lock().casts();
        casts.retain(|cast| cast.end().is_none());
        casts
    }

    /// What the journal uses of the disk, and may use.
    pub fn disk(&self) -> (u64, u64) {
        (self.0.journal.used_bytes(), self.0.limits.disk_bytes_max)
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.shelf.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
