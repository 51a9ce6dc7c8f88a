//! How streams leave: the memory, and in the end everything.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::Hub;
use super::asleep::Asleep;
use super::shelf::Place;
use crate::cast::about::{Number, now_ms};
use crate::cast::durable::Record;

/// How often expired casts are looked for.
pub(super) const SWEEP: Duration = Duration::from_secs(1);
/// Casts that are buried in one commit, and the time that the journal then has for others.
const BURIED_AT_ONCE: usize = 32;
const BURIAL_PAUSE: Duration = Duration::from_millis(5);
/// Ended streams that go early in one step when the disk is nearly full, steps in one sweep, and the time between them.
const EARLY_AT_ONCE: usize = 4;
const EARLY_STEPS: usize = 256;
const EARLY_PAUSE: Duration = Duration::from_millis(20);

impl Hub {
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

    /// Leaves ended streams that nobody watches to the journal, until half of the budget is free.
    pub(super) fn put_to_sleep(&self) {
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

    pub(super) fn burial(&self, number: Number) -> Record {
        Record::Bury(number, now_ms() + self.0.retention.tombstone_s * 1000)
    }
}
