//! How a stream begins, once and for all who ask for the same.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;

use super::order::{Launch, Order, Refused, Started};
use super::shelf::{Place, Shelf};
use super::{Hub, Shared};
use crate::cast::about::{About, now_ms};
use crate::cast::durable::{Record, StorageError};
use crate::cast::end::Why;
use crate::cast::id::Id;
use crate::cast::{Cast, Producer};
use crate::{heavy, telemetry};

/// Whether the beginning of a cast was stored; `None` while that is open.
pub(super) type Durably = Option<Result<(), StorageError>>;

impl Hub {
    /// Starts a stream, or finds the one that this order has started before. Either way its beginning is durable
    /// when this returns. Once begun a start goes on, also when nobody waits for it any more.
    pub async fn start(&self, order: Order) -> Result<Started, Refused> {
        if self.0.draining.is_cancelled() {
            return Err(Refused::Draining);
        }
        let Order { tenant, ask, fingerprint, id, key, metadata, ttl, cancel_after, is_watched } = order;
        let admitted = heavy::run(ask.request.get().len(), || self.0.origin.admit(ask)).await;
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
}
