//! What one stream has of its tenant's account.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{A_MOMENT, Account, House, Quotas, Reached};

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
    pub(super) fn new(account: &Arc<Account>, asked: u64, is_running: bool) -> Arc<Self> {
        let (is_running, retained) = (AtomicBool::new(is_running), AtomicU64::new(0));
        Arc::new(Self { account: account.clone(), asked, is_running, retained })
    }

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
    pub(in crate::cast) fn try_view(&self, taken: usize) -> Result<(), Reached> {
        let House { viewers, stream_viewers_max: max } = &*self.account.house;
        if taken as u64 >= *max {
            return Err(Reached { key: "limits.stream_viewers_max", max: *max, retry_after: A_MOMENT });
        }
        self.account.viewers.try_take()?;
        viewers.try_take().inspect_err(|_| self.account.viewers.give_back())
    }

    /// Takes a viewer's place, whatever the limits.
    pub(in crate::cast) fn view(&self) {
        self.account.viewers.take();
        self.account.house.viewers.take();
    }

    /// Gives a viewer's place back.
    pub(in crate::cast) fn leave(&self) {
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
