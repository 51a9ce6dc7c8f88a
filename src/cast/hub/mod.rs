//! id → cast: who may start what, what is kept, where, and for how long.

pub(super) mod asleep;
pub mod order;
mod shelf;
mod tenants;

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::asleep::Asleep;
use self::order::{Launch, Missing, Offer, Order, Origin, Refused, Started};
use self::shelf::{Place, Shelf};
pub use self::tenants::Tenant;
use self::tenants::Tenants;
use super::about::{About, Number, now_ms};
use super::account::{Account, Quotas, Spent};
use super::durable::{Durable, Known, Record, State, StorageError};
use super::end::Why;
use super::facts::Facts;
use super::id::Id;
use super::memory::Budget;
use super::{Cast, Producer};
use crate::tasks::Tasks;
use crate::telemetry;

/// How often expired casts are looked for, and how many casts are handled while the shelf is locked.
const SWEEP: Duration = Duration::from_secs(1);
const AT_ONCE: usize = 256;
/// Casts that are buried in one commit, and the time that the journal then has for others.
const BURIED_AT_ONCE: usize = 32;
const BURIAL_PAUSE: Duration = Duration::from_millis(5);
/// Ended streams that go early in one step when the disk is nearly full, steps in one sweep, and the time between them.
const EARLY_AT_ONCE: usize = 4;
const EARLY_STEPS: usize = 256;
const EARLY_PAUSE: Duration = Duration::from_millis(20);

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

/// Whether the beginning of a cast was stored; `None` while that is open.
type Durably = Option<Result<(), StorageError>>;

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

    /// Starts a stream, or finds the one that this order has started before. Either way its beginning is durable
    /// when this returns. Once begun a start goes on, also when nobody waits for it any more.
    pub async fn start(&self, order: Order) -> Result<Started, Refused> {
        if self.0.draining.is_cancelled() {
            return Err(Refused::Draining);
        }
        let Order { tenant, ask, fingerprint, id, key, metadata, ttl, cancel_after, is_watched } = order;
        let admitted = self.0.origin.admit(ask);
        let asked = admitted.as_ref().map_or(0, |launch| launch.tokens());
        let account = self.account(&tenant);
        if !self.0.budget.has_room() {
            self.put_to_sleep();
        }
        let (place, mut begun, new) = {
            let mut shelf = self.lock();
            if let Some((place, begun)) = shelf.replay(&tenant, key.as_ref(), id.as_ref(), &fingerprint)? {
                (place, begun, None)
            } else {
                let launch = admitted?;
                self.has_room(&shelf)?;
                let stake = account.start(asked, is_watched).inspect_err(telemetry::limit_reached)?;
                let about = Arc::new(About {
                    number: shelf.next_number(),
                    id: id.unwrap_or_else(Id::random),
                    tenant,
                    provider: launch.provider(),
                    metadata,
                    ttl_s: ttl.map_or(self.0.retention.ttl_s, |ttl| ttl.as_secs()),
                    started_ms: now_ms(),
                    key,
                    fingerprint,
                });
                let (share, journal) = (self.0.budget.share(), self.0.journal.clone());
                let (cast, producer) = Cast::new(about.clone(), cancel_after, stake, share, journal);
                let (sender, begun) = watch::channel(None);
                let place = Place::Memory(cast);
                shelf.put(about, place.clone(), begun.clone());
                (place, begun, Some((launch, producer, sender)))
            }
        };
        let replayed = new.is_none();
        if let Some((launch, producer, sender)) = new {
            self.begin(launch, producer, sender);
            // The call gets on its way before the answer to the POST is written.
            tokio::task::yield_now().await;
        }
        // Where nothing is said, the task was ended before it had begun.
        let stored = begun.wait_for(Option::is_some).await.map_err(|_| Refused::Draining)?.clone();
        stored.unwrap_or(Ok(()))?;
        Ok(Started { cast: self.awake(place).await?, replayed })
    }

    /// Makes the beginning durable, and calls the provider: meanwhile, except with a key, which promises one call
    /// whatever happens. Where the beginning cannot be stored, the id and the key are free again.
    fn begin(&self, launch: Box<dyn Launch>, producer: Producer, sender: watch::Sender<Durably>) {
        let cast = producer.cast().clone();
        let mut commit = self.0.journal.commit(Record::Begin(cast.about().clone()));
        let mut ready = Some((launch, producer));
        if cast.about().key.is_none()
            && let Some((launch, producer)) = ready.take()
        {
            launch.launch(producer);
        }
        let hub = self.clone();
        let settle = move |stored: Result<(), StorageError>| {
            match (&stored, ready) {
                (Ok(()), Some((launch, producer))) => launch.launch(producer),
                (Ok(()), None) => {}
                (Err(error), ready) => {
                    hub.lock().remove(cast.about());
                    match ready {
                        Some((_, producer)) => producer.give_up(error),
                        None => cast.stop(Why::StorageError),
                    }
                }
            }
            sender.send_replace(Some(stored));
        };
        // A journal that has nothing to wait for needs no task to wait in.
        match commit.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(stored) => settle(stored),
            Poll::Pending => drop(self.0.tasks.spawn(async move { settle(commit.await) })),
        }
    }

    fn has_room(&self, shelf: &Shelf) -> Result<(), Refused> {
        let Shared { budget, journal, limits, .. } = &*self.0;
        let full = if !budget.has_room() {
            "limits.memory_bytes_max"
        } else if journal.used_bytes() > limits.disk_bytes_max {
            "limits.disk_bytes_max"
        } else if shelf.len() >= limits.streams_max {
            "limits.streams_max"
        } else if budget.running() >= limits.running_max {
            "limits.running_max"
        } else {
            return Ok(());
        };
        telemetry::refused_by(full);
        Err(Refused::Full(full))
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

    /// Forgets what has expired, for ever.
    pub async fn expire(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(SWEEP);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            if self.trouble().is_some() {
                // Whether there is space again shows when something is written.
                let _ = self.0.journal.commit(Record::Probe).await;
            }
            while self.sweep(Instant::now()).await {
                sleep(BURIAL_PAUSE).await;
            }
            self.clear_disk().await;
            if self.0.budget.held() > self.0.budget.bytes_max() / 4 * 3 {
                self.put_to_sleep();
            }
        }
    }

    /// Forgets some of what has expired. Gives whether there may be more.
    async fn sweep(&self, now: Instant) -> bool {
        // What they hold is given back while nobody waits for the shelf.
        let swept = self.lock().sweep(now, &self.0.retention, BURIED_AT_ONCE);
        let burials = swept.buried.iter().map(|kept| self.burial(kept.about().number));
        let forgotten = swept.forgotten.iter().map(|number| Record::Forget(*number));
        let commits: Vec<_> = burials.chain(forgotten).map(|record| self.0.journal.commit(record)).collect();
        for commit in commits {
            if let Err(error) = commit.await {
                error!(%error, "what has expired could not be taken from the journal");
                return false;
            }
        }
        swept.is_more
    }

    /// Near the limit of the disk, forgets what would be forgotten first, a step at a time.
    async fn clear_disk(&self) {
        let (mut gone, max) = (0, self.0.limits.disk_bytes_max);
        for _ in 0..EARLY_STEPS {
            if self.0.journal.used_bytes() <= max / 10 * 9 {
                break;
            }
            let early = self.lock().bury_ended(Instant::now(), &self.0.retention, EARLY_AT_ONCE);
            if early.is_empty() {
                break;
            }
            gone += early.len();
            let burials = early.iter().map(|kept| self.burial(kept.about().number));
            let commits: Vec<_> = burials.map(|record| self.0.journal.commit(record)).collect();
            drop(early);
            for commit in commits {
                if let Err(error) = commit.await {
                    error!(%error, "what had to go early could not be taken from the journal");
                    return;
                }
            }
            // What is in use now is known when the writer has come to rest.
            sleep(EARLY_PAUSE).await;
        }
        if gone > 0 {
            warn!(streams = gone, disk_bytes_max = max, "the disk is nearly full: ended streams went early");
        }
    }

    /// What the journal uses of the disk, and may use.
    pub fn disk(&self) -> (u64, u64) {
        (self.0.journal.used_bytes(), self.0.limits.disk_bytes_max)
    }

    /// Leaves ended streams that nobody watches to the journal, until half of the budget is free.
    fn put_to_sleep(&self) {
        if !self.0.journal.keeps_content() {
            return;
        }
        let sleepy = self.lock().sleepy();
        for cast in sleepy {
            if self.0.budget.held() <= self.0.budget.bytes_max() / 2 {
                return;
            }
            let Some(asleep) = Asleep::from(&cast) else { continue };
            let about = cast.about().clone();
            self.lock().move_to(&about, &Place::Memory(cast), Place::Journal(Arc::new(asleep)));
        }
    }

    fn burial(&self, number: Number) -> Record {
        Record::Bury(number, now_ms() + self.0.retention.tombstone_s * 1000)
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.shelf.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
