//! An ended stream whose log is in the journal alone. Whoever asks for it wakes it.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::cast::Cast;
use crate::cast::about::About;
use crate::cast::durable::{Durable, Ended, StorageError};
use crate::cast::memory::Share;

/// What is in memory of a stream that sleeps.
#[derive(Debug)]
pub(in crate::cast) struct Asleep {
    pub(in crate::cast) about: Arc<About>,
    pub(in crate::cast) content_type: Option<String>,
    pub(in crate::cast) ended: Ended,
    pub(in crate::cast) expires: Instant,
    /// Those who wake it at the same time wait for the first of them.
    awake: Mutex<Option<Cast>>,
}

impl Asleep {
    pub(in crate::cast) fn new(
        about: Arc<About>,
        content_type: Option<String>,
        ended: Ended,
        expires: Instant,
    ) -> Self {
        Self { about, content_type, ended, expires, awake: Mutex::default() }
    }

    /// What stays in memory of a cast that has ended.
    pub(in crate::cast) fn from(cast: &Cast) -> Option<Self> {
        let (end, expires) = (cast.end()?, cast.expires()?);
        let content_type = cast.content_type().map(str::to_owned);
        Some(Self::new(cast.about().clone(), content_type, cast.ended(&end), expires))
    }

    /// The cast with its log, read from the journal once.
    pub(in crate::cast) async fn wake(
        &self,
        journal: Arc<dyn Durable>,
        share: Share,
    ) -> Result<Cast, StorageError> {
        let mut awake = self.awake.lock().await;
        if let Some(cast) = &*awake {
            return Ok(cast.clone());
        }
        let frames = journal.load(self.about.number).await?;
        let cast = Cast::woken(self, frames, share, journal)?;
        *awake = Some(cast.clone());
        Ok(cast)
    }
}
