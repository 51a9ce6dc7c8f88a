//! What the hub knows by name: streams, idempotency keys, and the tombstones of what is gone. Nothing here waits, and
//! nothing takes longer with the number of streams, but for [`Shelf::casts`],
//! [`Shelf::sleepy`] and [`Shelf::answer_of`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Retention;
use super::asleep::Asleep;
use super::expiry::SWEEP;
use super::order::{Missing, Refused};
use super::start::Durably;
use crate::cast::Cast;
use crate::cast::about::{About, Number};
use crate::cast::account::Stake;
use crate::cast::facts::Facts;
use crate::cast::id::Id;

/// Names are per tenant.
type Name<T> = (Arc<str>, T);

#[derive(Default)]
pub(super) struct Shelf {
    streams: HashMap<Name<Id>, Kept>,
    keys: HashMap<Name<Arc<str>>, Key>,
    /// By tenant and order of start, for lists.
    order: BTreeMap<Name<Number>, Id>,
    /// By the time, and the order of start, at which to look whether they have expired: never later than they do.
    due: BTreeMap<(Instant, Number), Name<Id>>,
    last: Number,
    tombstones: HashMap<Name<Id>, Tombstone>,
    buried: VecDeque<(Instant, Name<Id>)>,
}

pub(super) struct Kept {
    about: Arc<About>,
    place: Place,
    begun: watch::Receiver<Durably>,
    due: Instant,
}

/// Where the log of a stream is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Memory(Cast),
    Journal(Arc<Asleep>),
}

struct Key {
    id: Id,
    fingerprint: [u8; 32],
}

struct Tombstone {
    number: Number,
    key: Option<Arc<str>>,
}

/// What was taken from the shelf, to be dropped when it is not locked any more.
#[derive(Default)]
pub(super) struct Swept {
    pub(super) buried: Vec<Kept>,
    pub(super) forgotten: Vec<Number>,
    pub(super) is_more: bool,
}

impl Place {
    fn expires(&self) -> Option<Instant> {
        match self {
            Place::Memory(cast) => cast.expires(),
            Place::Journal(asleep) => Some(asleep.expires),
        }
    }

    fn stake(&self) -> &Stake {
        match self {
            Place::Memory(cast) => cast.stake(),
            Place::Journal(asleep) => &asleep.stake,
        }
    }

    fn is_expired(&self, now: Instant) -> bool {
        self.expires().is_some_and(|at| at <= now)
    }
}

impl Kept {
    pub(super) fn about(&self) -> &Arc<About> {
        &self.about
    }
}

impl Shelf {
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    /// The number of the next stream.
    pub(super) fn next_number(&mut self) -> Number {
        self.last += 1;
        self.last
    }

    /// All casts in memory.
    pub(super) fn casts(&self) -> Vec<Cast> {
        let casts = self.streams.values().filter_map(|kept| match &kept.place {
            Place::Memory(cast) => Some(cast.clone()),
            Place::Journal(_) => None,
        });
        casts.collect()
    }

    pub(super) fn find(&self, tenant: &Arc<str>, id: &Id, now: Instant) -> Result<Place, Missing> {
        let name = (tenant.clone(), id.clone());
        match self.streams.get(&name) {
            Some(kept) if kept.place.is_expired(now) => Err(Missing::Gone),
            Some(kept) => Ok(kept.place.clone()),
            None if self.tombstones.contains_key(&name) => Err(Missing::Gone),
            None => Err(Missing::Unknown),
        }
    }

    /// The tenant's newest stream whose provider calls its answer so.
    pub(super) fn answer_of(&self, tenant: &Arc<str>, upstream_id: &str) -> Option<Id> {
        let mine = self.order.range((tenant.clone(), 0)..=(tenant.clone(), Number::MAX)).rev();
        let is_it =
            |id: &&Id| match self.streams.get(&(tenant.clone(), (*id).clone())).map(|kept| &kept.place) {
                Some(Place::Memory(cast)) => {
                    cast.inspect(|now| now.fold.upstream_id.as_deref() == Some(upstream_id))
                }
                Some(Place::Journal(asleep)) => asleep.ended.upstream_id.as_deref() == Some(upstream_id),
                None => false,
            };
        mine.map(|(_, id)| id).find(is_it).cloned()
    }

    /// Looks at the next streams of a tenant behind the start number `before`, newest first, until `look` has seen
    /// enough. Gives the number of the last one.
    pub(super) fn list(
        &self,
        tenant: &Arc<str>,
        before: Number,
        max: usize,
        mut look: impl FnMut(Number, &Facts<'_>) -> bool,
    ) -> Option<Number> {
        let mine = self.order.range((tenant.clone(), 0)..(tenant.clone(), before)).rev();
        let now = Instant::now();
        let mut last = None;
        for ((_, number), id) in mine.take(max) {
            last = Some(*number);
            let Some(kept) = self.streams.get(&(tenant.clone(), id.clone())) else { continue };
            if kept.place.is_expired(now) {
                continue;
            }
            let is_more_wanted = match &kept.place {
                Place::Memory(cast) => cast.inspect(|now| look(*number, &Facts::of(cast, &now))),
                Place::Journal(asleep) => {
                    let viewers = asleep.awake().map_or(0, |cast| cast.viewers());
                    look(*number, &Facts::of_ended(&asleep.about, &asleep.ended, viewers))
                }
            };
            if !is_more_wanted {
                return None;
            }
        }
        last
    }

    /// The stream that an equal order has started before, if any.
    pub(super) fn replay(
        &self,
        tenant: &Arc<str>,
        key: Option<&Arc<str>>,
        id: Option<&Id>,
        fingerprint: &[u8; 32],
    ) -> Result<Option<(Place, watch::Receiver<Durably>)>, Refused> {
        let now = Instant::now();
        let known = |kept: &Kept| Some((kept.place.clone(), kept.begun.clone()));
        if let Some(key) = key.and_then(|key| self.keys.get(&(tenant.clone(), key.clone()))) {
            if key.fingerprint != *fingerprint || id.is_some_and(|id| *id != key.id) {
                return Err(Refused::KeyMismatch);
            }
            let kept = self.streams.get(&(tenant.clone(), key.id.clone()));
            return kept.filter(|kept| !kept.place.is_expired(now)).map(known).ok_or(Refused::KeyGone);
        }
        let Some(id) = id else { return Ok(None) };
        let name = (tenant.clone(), id.clone());
        if self.tombstones.contains_key(&name) {
            return Err(Refused::IdUsed(id.clone()));
        }
        match self.streams.get(&name) {
            None => Ok(None),
            Some(kept) if kept.place.is_expired(now) => Err(Refused::IdUsed(id.clone())),
            Some(kept) if kept.about.fingerprint == *fingerprint => Ok(known(kept)),
            Some(_) => Err(Refused::IdConflict(id.clone())),
        }
    }

    pub(super) fn put(&mut self, about: Arc<About>, place: Place, begun: watch::Receiver<Durably>) {
        let name = name(&about);
        if !cfg!(planted_bug = "numbers_start_anew") {
            self.last = self.last.max(about.number);
        }
        self.order.insert((name.0.clone(), about.number), name.1.clone());
        self.take_key(&about);
        // What runs cannot end before now.
        let due = place.expires().unwrap_or_else(|| Instant::now() + about.ttl());
        self.due.insert((due, about.number), name.clone());
        self.streams.insert(name, Kept { about, place, begun, due });
    }

    fn take_key(&mut self, about: &About) {
        if let Some(key) = &about.key {
            let key = (about.tenant.clone(), key.clone());
            #[cfg(not(planted_bug = "key_forgotten"))]
            self.keys.insert(key, Key { id: about.id.clone(), fingerprint: about.fingerprint });
        }
    }

    /// Puts a stream where its log is now, unless it is gone, or somebody else has been faster.
    pub(super) fn move_to(&mut self, about: &About, from: &Place, to: Place) {
        if let Some(kept) = self.streams.get_mut(&name(about))
            && kept.place.is(from)
        {
            kept.place = to;
        }
    }

    /// Ended casts that nobody watches, those that expire first in front.
    pub(super) fn sleepy(&self) -> Vec<Cast> {
        let mut casts = self.casts();
        casts.retain(|cast| cast.end().is_some() && cast.viewers() == 0);
        casts.sort_by_key(Cast::expires);
        casts
    }

    fn take(&mut self, about: &About) -> Option<Kept> {
        let kept = self.streams.remove(&name(about))?;
        self.order.remove(&(about.tenant.clone(), about.number));
        self.due.remove(&(kept.due, about.number));
        kept.place.stake().release();
        Some(kept)
    }

    /// Forgets a stream that has never begun, and its key.
    pub(super) fn remove(&mut self, about: &About) {
        if self.take(about).is_some()
            && let Some(key) = &about.key
        {
            self.keys.remove(&(about.tenant.clone(), key.clone()));
        }
    }

    /// Puts a tombstone in the place of a stream; its id and its key stay taken for as long.
    pub(super) fn bury(&mut self, about: &About, now: Instant, retention: &Retention) -> Option<Kept> {
        let kept = self.take(about)?;
        self.entomb(about, now + Duration::from_secs(retention.tombstone_s));
        Some(kept)
    }

    /// Buries ended streams before their time, those first that would go first.
    pub(super) fn bury_ended(&mut self, now: Instant, retention: &Retention, max: usize) -> Vec<Kept> {
        let has_ended =
            |name: &&Name<Id>| self.streams.get(*name).is_some_and(|kept| kept.place.expires().is_some());
        let names = self.due.values().filter(has_ended).take(max);
        let abouts: Vec<_> = names.filter_map(|name| Some(self.streams.get(name)?.about.clone())).collect();
        abouts.iter().filter_map(|about| self.bury(about, now, retention)).collect()
    }

    /// Puts a tombstone where a process before this one had a stream.
    pub(super) fn entomb(&mut self, about: &About, until: Instant) {
        self.last = self.last.max(about.number);
        self.take_key(about);
        let tombstone = Tombstone { number: about.number, key: about.key.clone() };
        self.tombstones.insert(name(about), tombstone);
        self.buried.push_back((until, name(about)));
    }

    /// Buries what has expired, and forgets tombstones whose time is over or that are too many: so many of each at
    /// most.
    pub(super) fn sweep(&mut self, now: Instant, retention: &Retention, max: usize) -> Swept {
        let mut swept = Swept::default();
        let mut seen = 0;
        while seen < max
            && let Some(due) = self.due.first_entry().filter(|due| due.key().0 <= now)
        {
            seen += 1;
            let ((_, number), name) = due.remove_entry();
            let Some(kept) = self.streams.get_mut(&name) else { continue };
            if kept.place.is_expired(now) {
                let about = kept.about.clone();
                swept.buried.extend(self.bury(&about, now, retention));
                continue;
            }
            let expires = kept.place.expires().unwrap_or_else(|| now + kept.about.ttl());
            kept.due = expires.max(now + SWEEP);
            self.due.insert((kept.due, number), name);
        }
        while swept.forgotten.len() < max
            && (self.buried.len() > retention.tombstones_max
                || self.buried.front().is_some_and(|(until, _)| *until <= now))
        {
            let Some((_, name)) = self.buried.pop_front() else { break };
            let Some(tombstone) = self.tombstones.remove(&name) else { continue };
            swept.forgotten.push(tombstone.number);
            if let Some(key) = tombstone.key {
                self.keys.remove(&(name.0, key));
            }
        }
        swept.is_more = seen == max || swept.forgotten.len() == max;
        swept
    }
}

impl Place {
    fn is(&self, other: &Place) -> bool {
        match (self, other) {
            (Place::Memory(one), Place::Memory(other)) => one.is(other),
            (Place::Journal(one), Place::Journal(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

fn name(about: &About) -> Name<Id> {
    (about.tenant.clone(), about.id.clone())
}
