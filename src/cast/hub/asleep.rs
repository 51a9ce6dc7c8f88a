//! An ended stream whose log is in the journal alone. Whoever asks for it reads it from there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Instant;

use crate::cast::about::About;
use crate::cast::account::Stake;
use crate::cast::durable::{Durable, Ended, StorageError};
use crate::cast::memory::Budget;
use crate::cast::{Cast, Shared};

/// What is in memory of a stream that sleeps.
#[derive(Debug)]
pub(in crate::cast) struct Asleep {
    pub(in crate::cast) about: Arc<About>,
    pub(in crate::cast) content_type: Option<String>,
    pub(in crate::cast) ended: Ended,
    pub(in crate::cast) expires: Instant,
    pub(in crate::cast) stake: Arc<Stake>,
    /// The one cast that all share who have it now.
    awake: Mutex<Weak<Shared>>,
    /// Those who wake it at the same time wait for the first of them.
    waking: tokio::sync::Mutex<()>,
}

impl Asleep {
    pub(in crate::cast) fn new(
        about: Arc<About>,
        content_type: Option<String>,
        ended: Ended,
        expires: Instant,
        stake: Arc<Stake>,
    ) -> Self {
        let (awake, waking) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { about, content_type, ended, expires, stake, awake, waking }
    }

    /// What stays in memory of a cast that has ended. Whoever has it goes on with it.
    pub(in crate::cast) fn from(cast: &Cast) -> Option<Self> {
        let (end, expires) = (cast.end()?, cast.expires()?);
        let content_type = cast.content_type().map(str::to_owned);
        let (about, stake) = (cast.about().clone(), cast.stake().clone());
        let asleep = Self::new(about, content_type, cast.ended(&end), expires, stake);
        *asleep.lock() = Arc::downgrade(&cast.0);
        Some(asleep)
    }

    /// The cast, if anybody has it.
    pub(in crate::cast) fn awake(&self) -> Option<Cast> {
        self.lock().upgrade().map(Cast)
    }

    /// The cast, with its log in the journal.
    pub(in crate::cast) async fn wake(
        &self,
        journal: Arc<dyn Durable>,
        budget: &Arc<Budget>,
    ) -> Result<Cast, StorageError> {
        if let Some(cast) = self.awake() {
            return Ok(cast);
        }
        let _one_at_a_time = self.waking.lock().await;
        if let Some(cast) = self.awake() {
            return Ok(cast);
        }
        let content = journal.content(self.about.number).await?;
        let cast = Cast::woken(self, content, budget, journal)?;
        *self.lock() = Arc::downgrade(&cast.0);
        Ok(cast)
    }

    fn lock(&self) -> MutexGuard<'_, Weak<Shared>> {
        self.awake.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
