//! What one tenant has of the gateway, and may have.

mod quotas;
mod spent;
mod stake;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::cast::about::now_ms;
use crate::cast::durable::{Durable, Record};

pub use self::quotas::{Quotas, Reached};
pub use self::spent::{Spent, day_of, is_believed, tokens, tokens_in};
pub use self::stake::Stake;

/// How long to stay away where nobody knows when there is room again.
const A_MOMENT: Duration = Duration::from_secs(5);
const A_WHILE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);

/// Places that are taken for a while, and how many there are.
#[derive(Debug)]
struct Places {
    key: &'static str,
    max: Option<u64>,
    taken: AtomicU64,
}

impl Places {
    fn new(key: &'static str, max: Option<u64>) -> Self {
        Self { key, max, taken: AtomicU64::new(0) }
    }

    fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn check(&self, taken: u64) -> Result<(), Reached> {
        match self.max {
            Some(max) if taken >= max => Err(Reached { key: self.key, max, retry_after: A_MOMENT }),
            _ => Ok(()),
        }
    }

    /// Takes one, however many are taken.
    fn take(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    fn try_take(&self) -> Result<(), Reached> {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        self.check(before).inspect_err(|_| self.give_back())
    }

    fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The viewers of all tenants.
#[derive(Debug)]
pub struct House {
    viewers: Places,
    stream_viewers_max: u64,
}

impl House {
    pub fn new(viewers_max: u64, stream_viewers_max: u64) -> Arc<Self> {
        Arc::new(Self { viewers: Places::new("limits.viewers_max", Some(viewers_max)), stream_viewers_max })
    }
}

/// One tenant's account.
#[derive(Debug)]
pub struct Account {
    tenant: Arc<str>,
    quotas: Quotas,
    running: Places,
    viewers: Places,
    retained: AtomicU64,
    starts: Mutex<Option<Instant>>,
    day: Mutex<Day>,
    house: Arc<House>,
}

/// What was spent on the day of the last spending.
#[derive(Debug, Clone, Copy, Default)]
struct Day {
    /// Since 1970.
    number: u64,
    spent: Spent,
}

impl Account {
    pub fn new(tenant: Arc<str>, quotas: Quotas, house: Arc<House>) -> Arc<Self> {
        Arc::new(Self {
            tenant,
            running: Places::new("quotas.running_max", quotas.running_max),
            viewers: Places::new("quotas.viewers_max", quotas.viewers_max),
            quotas,
            retained: AtomicU64::new(0),
            starts: Mutex::default(),
            day: Mutex::default(),
            house,
        })
    }

    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    pub fn running(&self) -> u64 {
        self.running.taken()
    }

    pub fn viewers(&self) -> u64 {
        self.viewers.taken()
    }

    pub fn retained_bytes(&self) -> u64 {
        self.retained.load(Ordering::Relaxed)
    }

    /// What was spent today.
    pub fn spent(&self) -> Spent {
        self.today().spent
    }

    /// Notes what was spent today, and has the journal remember it where a quota goes by it.
    pub fn spend(&self, spent: Spent, journal: &dyn Durable) {
        self.remember(spent);
        if self.quotas.tokens_per_day.is_some() && spent != Spent::default() {
            // Nobody waits for it.
            drop(journal.commit(Record::Spend(self.tenant.clone(), day_of(now_ms()), spent)));
        }
    }

    /// Notes what was spent today, which the journal knows.
    pub fn remember(&self, spent: Spent) {
        self.today().spent.add(spent);
    }

    fn today(&self) -> MutexGuard<'_, Day> {
        let mut day = lock(&self.day);
        let number = day_of(now_ms());
        if day.number != number {
            *day = Day { number, spent: Spent::default() };
        }
        day
    }

    /// A stake for one more stream, whose request has about so many tokens and whose caller watches it or not. What is
    /// refused leaves no trace.
    pub fn start(self: &Arc<Self>, asked: u64, is_watched: bool) -> Result<Arc<Stake>, Reached> {
        if is_watched {
            self.viewers.check(self.viewers())?;
        }
        let Quotas { retained_bytes_max, tokens_per_day, .. } = self.quotas;
        if let Some(max) = retained_bytes_max.filter(|max| self.retained_bytes() >= *max) {
            return Err(Reached { key: "quotas.retained_bytes_max", max, retry_after: A_WHILE });
        }
        if let Some(max) = tokens_per_day.filter(|max| self.spent().total() >= *max) {
            let over = Duration::from_millis(now_ms() % DAY.as_millis() as u64);
            return Err(Reached { key: "quotas.tokens_per_day", max, retry_after: DAY - over });
        }
        self.running.try_take()?;
        if let Err(reached) = self.count_start() {
            self.running.give_back();
            return Err(reached);
        }
        Ok(Stake::new(self, asked, true))
    }

    /// Starts come at once as many as a minute has, and then evenly.
    fn count_start(&self) -> Result<(), Reached> {
        let Some(max) = self.quotas.starts_per_minute else { return Ok(()) };
        let (now, every) = (Instant::now(), MINUTE / u32::try_from(max).unwrap_or(u32::MAX).max(1));
        let mut starts = lock(&self.starts);
        // When all that were counted would have come, one behind the other.
        let until = starts.map_or(now, |until| until.max(now)) + every;
        match until.checked_duration_since(now + MINUTE).filter(|wait| !wait.is_zero()) {
            Some(retry_after) => Err(Reached { key: "quotas.starts_per_minute", max, retry_after }),
            None => {
                *starts = Some(until);
                Ok(())
            }
        }
    }

    /// A stake for a stream that has ended and keeps so many bytes.
    pub fn keep(self: &Arc<Self>, bytes: u64) -> Arc<Stake> {
        let stake = Stake::new(self, 0, false);
        stake.retain(bytes);
        stake
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
