//! What one tenant has of the gateway, and may have.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::about::now_ms;
use super::durable::{Durable, Record};
use super::end::{End, Why};
use super::fold::Fold;

/// `[quotas]`: what each tenant may have. What is not said has no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quotas {
    /// Streams at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_per_minute: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewers_max: Option<u64>,
    /// Bytes of providers in streams that are kept, wherever they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retained_bytes_max: Option<u64>,
    /// Tokens of providers on a day of UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
}

impl Quotas {
    /// Each with its name in the configuration.
    pub fn named(&self) -> [(&'static str, Option<u64>); 5] {
        [
            ("running_max", self.running_max),
            ("starts_per_minute", self.starts_per_minute),
            ("viewers_max", self.viewers_max),
            ("retained_bytes_max", self.retained_bytes_max),
            ("tokens_per_day", self.tokens_per_day),
        ]
    }

    /// These, and the general ones where these say nothing.
    #[must_use]
    pub fn or(&self, general: &Self) -> Self {
        Self {
            running_max: self.running_max.or(general.running_max),
            starts_per_minute: self.starts_per_minute.or(general.starts_per_minute),
            viewers_max: self.viewers_max.or(general.viewers_max),
            retained_bytes_max: self.retained_bytes_max.or(general.retained_bytes_max),
            tokens_per_day: self.tokens_per_day.or(general.tokens_per_day),
        }
    }
}

/// A limit that was reached, by its key in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{key}, which is {max}, is reached: try again in {} s", .retry_after.as_secs().max(1))]
pub struct Reached {
    pub key: &'static str,
    pub max: u64,
    /// When it makes sense to come again.
    pub retry_after: Duration,
}

impl Reached {
    /// Whether it is the tenant's own.
    pub fn is_quota(&self) -> bool {
        self.key.starts_with("quotas.")
    }
}

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

/// Tokens of providers: counted by them, and estimated where they have not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spent {
    pub counted: u64,
    pub estimated: u64,
}

impl Spent {
    pub fn total(self) -> u64 {
        self.counted.saturating_add(self.estimated)
    }

    pub fn add(&mut self, more: Self) {
        self.counted = self.counted.saturating_add(more.counted);
        self.estimated = self.estimated.saturating_add(more.estimated);
    }

    /// By a stream that ended so, and whose request has about so many tokens.
    pub fn by(end: &End, fold: &Fold, asked: u64) -> Self {
        // Who was not there, or has refused, has taken nothing.
        if end.blocks == 0 && end.why.reason() == Why::Internal.reason() {
            return Self::default();
        }
        let usage = end.usage.unwrap_or_default();
        // Most say one token in a block, some many.
        let said = end.blocks.max(tokens(fold.said_bytes()));
        let unasked = usage.input.map_or(asked, |_| 0);
        let uncounted = match usage.output {
            Some(_) if end.is_completed() => 0,
            // Of what breaks off the provider has counted the beginning.
            counted => said.saturating_sub(counted.unwrap_or(0)),
        };
        let counted = usage.input.unwrap_or(0).saturating_add(usage.output.unwrap_or(0));
        Self { counted, estimated: unasked.saturating_add(uncounted) }
    }
}

/// About how many tokens so much text has.
pub fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

/// About how many tokens a request has.
pub fn tokens_in(request: &[u8]) -> u64 {
    // Images and files are long runs of base64, and cost far less than so much text.
    const PACKED_BYTES_MIN: usize = 2048;
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=-_".contains(byte);
    let runs = request.split(|byte| !is_base64(byte)).map(<[u8]>::len);
    let packed: usize = runs.filter(|len| *len >= PACKED_BYTES_MIN).sum();
    tokens(request.len() - packed + packed / 16)
}

/// The day in UTC at this time, in milliseconds since 1970, by its number since then.
pub fn day_of(ms: u64) -> u64 {
    ms / DAY.as_millis() as u64
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
        Ok(self.stake(asked, true))
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
        let stake = self.stake(0, false);
        stake.retain(bytes);
        stake
    }

    fn stake(self: &Arc<Self>, asked: u64, is_running: bool) -> Arc<Stake> {
        let (is_running, retained) = (AtomicBool::new(is_running), AtomicU64::new(0));
        Arc::new(Stake { account: self.clone(), asked, is_running, retained })
    }
}

/// What one stream has of its tenant's account, given back when it is dropped.
#[derive(Debug)]
pub struct Stake {
    account: Arc<Account>,
    /// About how many tokens its request has.
    asked: u64,
    is_running: AtomicBool,
    retained: AtomicU64,
}

impl Stake {
    /// Of a stream without a hub, as benches and tests have it.
    pub fn unlimited() -> Arc<Self> {
        Account::new("tenant".into(), Quotas::default(), House::new(u64::MAX, u64::MAX)).keep(0)
    }

    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// About how many tokens its request has.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// The stream has got so many bytes more.
    pub fn retain(&self, bytes: u64) {
        self.retained.fetch_add(bytes, Ordering::Relaxed);
        self.account.retained.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The stream runs no more.
    pub fn finish(&self) {
        if self.is_running.swap(false, Ordering::Relaxed) {
            self.account.running.give_back();
        }
    }

    /// Nothing of the stream is kept any more.
    pub fn release(&self) {
        let retained = self.retained.swap(0, Ordering::Relaxed);
        self.account.retained.fetch_sub(retained, Ordering::Relaxed);
    }

    /// Takes a viewer's place, of a stream that has `taken` of them, or says which limit is in the way.
    pub(super) fn try_view(&self, taken: usize) -> Result<(), Reached> {
        let House { viewers, stream_viewers_max: max } = &*self.account.house;
        if taken as u64 >= *max {
            return Err(Reached { key: "limits.stream_viewers_max", max: *max, retry_after: A_MOMENT });
        }
        self.account.viewers.try_take()?;
        viewers.try_take().inspect_err(|_| self.account.viewers.give_back())
    }

    /// Takes a viewer's place, whatever the limits.
    pub(super) fn view(&self) {
        self.account.viewers.take();
        self.account.house.viewers.take();
    }

    /// Gives a viewer's place back.
    pub(super) fn leave(&self) {
        self.account.viewers.give_back();
        self.account.house.viewers.give_back();
    }
}

impl Drop for Stake {
    fn drop(&mut self) {
        self.finish();
        self.release();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
