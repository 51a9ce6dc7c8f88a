//! The hub in virtual time: what is started once, found, kept and forgotten.

mod full;
mod gone;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::cast::end::{Outcome, Why};
use crate::cast::hub::order::{Ask, AskError, Launch, Missing, Offer, Order, Origin, Refused, Started};
use crate::cast::hub::{Hub, Limits, Retention, Settings};
use crate::cast::id::Id;
use crate::cast::tests::script::{Pace, Script, failure};
use crate::cast::tests::{STALL, now};
use crate::cast::{Cast, Producer};
use crate::tasks::Tasks;

/// Takes every request, and keeps the producers. A request that names no provider is a bad one.
#[derive(Clone, Default)]
struct Source {
    launched: Arc<Mutex<Vec<Producer>>>,
    tasks: Tasks,
}

impl Origin for Source {
    fn admit(&self, ask: Ask) -> Result<Box<dyn Launch>, AskError> {
        ask.provider.ok_or(AskError::NoModel)?;
        Ok(Box::new(self.clone()))
    }

    fn offers(&self) -> Vec<Offer> {
        Vec::new()
    }
}

impl Launch for Source {
    fn provider(&self) -> Arc<str> {
        "provider".into()
    }

    fn tokens(&self) -> u64 {
        10
    }

    fn launch(self: Box<Self>, producer: Producer) {
        self.launched.lock().unwrap().push(producer);
    }
}

struct World {
    hub: Hub,
    journal: Arc<Script>,
    source: Source,
    stop: CancellationToken,
}

impl World {
    /// A hub that sweeps, whose journal commits at once.
    fn new(retention: Retention, limits: Limits) -> Self {
        Self::with(Settings { retention, limits, ..Settings::default() })
    }

    fn with(settings: Settings) -> Self {
        let (journal, source) = (Script::new(Pace::AtOnce), Source::default());
        let hub = Hub::new(settings, journal.clone(), Arc::new(source.clone()), source.tasks.clone());
        let stop = CancellationToken::new();
        source.tasks.spawn(hub.clone().expire(stop.clone()));
        Self { hub, journal, source, stop }
    }

    fn short() -> Self {
        let retention = Retention { ttl_s: 10, tombstone_s: 60, ..Retention::default() };
        Self::new(retention, Limits::default())
    }

    /// Starts a stream that ends at once.
    async fn over(&self, id: &str) -> Cast {
        let started = self.hub.start(order(Some(id), None, 1)).await.unwrap();
        self.producer().end(Outcome::completed(), STALL).await;
        started.cast
    }

    /// The producer of the stream that was started last.
    fn producer(&self) -> Producer {
        self.source.launched.lock().unwrap().pop().expect("a stream was started")
    }

    /// Finds what is in memory, which nobody has to wait for.
    fn find(&self, id: &str) -> Result<(), Missing> {
        now(self.hub.find(&"tenant".into(), &Id::parse(id).unwrap())).map(drop)
    }

    /// The ids of a tenant's streams behind a start number.
    fn ids(&self, tenant: &str, before: Option<u64>, max: usize) -> Vec<String> {
        self.hub.list(&tenant.into(), before, max, |facts| Some(facts.id.to_owned())).0
    }

    /// `new`, `replay`, or how it was refused.
    async fn start(&self, order: Order) -> String {
        match self.hub.start(order).await {
            Ok(Started { replayed: false, .. }) => "new".into(),
            Ok(Started { replayed: true, .. }) => "replay".into(),
            Err(Refused::Full(limit)) => limit.into(),
            Err(refused) => format!("{refused:?}").split(['(', ' ']).next().unwrap().into(),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn order(id: Option<&str>, key: Option<&str>, content: u8) -> Order {
    let request = serde_json::value::RawValue::from_string("{}".into()).unwrap();
    Order {
        tenant: "tenant".into(),
        ask: Ask {
            provider: Some("provider".into()),
            path: None,
            request,
            ask_usage: true,
            passed: Vec::new(),
            dialect: None,
            query: None,
            wants_head: false,
        },
        fingerprint: [content; 32],
        id: id.map(|id| Id::parse(id).unwrap()),
        key: key.map(Into::into),
        metadata: None,
        ttl: None,
        cancel_after: None,
        is_watched: false,
    }
}

#[tokio::test(start_paused = true)]
async fn one_key_or_id_is_one_stream() {
    let world = World::short();
    let steps = [
        (order(None, None, 1), "new"),
        (order(None, None, 1), "new"),
        (order(Some("a"), None, 1), "new"),
        (order(Some("a"), None, 1), "replay"),
        (order(Some("a"), None, 2), "IdConflict"),
        (order(None, Some("k"), 1), "new"),
        (order(None, Some("k"), 1), "replay"),
        (order(None, Some("k"), 2), "KeyMismatch"),
        (order(Some("b"), Some("k"), 1), "KeyMismatch"),
        (order(Some("c"), Some("l"), 1), "new"),
        (order(Some("c"), Some("l"), 1), "replay"),
        (order(None, Some("l"), 1), "replay"),
        (order(Some("c"), None, 1), "replay"),
        (Order { tenant: "other".into(), ..order(Some("a"), Some("k"), 3) }, "new"),
    ];
    for (n, (order, want)) in steps.into_iter().enumerate() {
        assert_eq!(world.start(order).await, want, "step {n}");
    }
    // What cannot be asked for any more was asked for already: the answer to that stays.
    let stale = |id| {
        let order = order(id, Some("k"), 1);
        Order { ask: Ask { provider: None, ..order.ask }, ..order }
    };
    assert_eq!(world.start(stale(None)).await, "replay");
    assert_eq!(world.start(stale(Some("b"))).await, "KeyMismatch");
    assert_eq!(world.start(Order { key: None, ..stale(Some("d")) }).await, "Ask");
    assert_eq!(world.find("d"), Err(Missing::Unknown), "no id is spent on a bad request");
    // A failed result is replayed, too.
    drop(std::mem::take(&mut *world.source.launched.lock().unwrap()));
    let Started { cast, replayed } = world.hub.start(order(None, Some("k"), 1)).await.unwrap();
    assert_eq!((replayed, cast.end().unwrap().why), (true, Why::Internal));
    assert!(matches!(now(world.hub.find(&"stranger".into(), cast.id())), Err(Missing::Unknown)));
}

/// Nobody is told of a stream that may not be there after a restart, whoever asked first.
#[tokio::test(start_paused = true)]
async fn a_stream_has_begun_when_its_beginning_is_durable() {
    let world = World::short();
    for outcome in [Err(failure()), Ok(())] {
        let is_stored = outcome.is_ok();
        world.journal.pace(Pace::ByHand);
        let ask = || world.start(order(Some("a"), Some("k"), 1));
        let (mut one, mut two) = (Box::pin(ask()), Box::pin(ask()));
        tokio::select! {
            biased;
            answer = &mut one => panic!("{answer} before the commit"),
            answer = &mut two => panic!("{answer} before the commit"),
            () = sleep(Duration::from_secs(5)) => {}
        }
        assert_eq!(world.journal.open(), 1, "the second start is the first");
        assert_eq!(world.find("a"), Ok(()), "viewers may attach meanwhile");
        world.journal.settle(outcome);
        let want = if is_stored { ["new", "replay"] } else { ["Storage", "Storage"] };
        assert_eq!([one.await, two.await], want);
        assert_eq!(world.source.launched.lock().unwrap().len(), usize::from(is_stored));
        assert_eq!(world.find("a").is_ok(), is_stored, "id and key are free when nothing was stored");
        assert_eq!(world.hub.budget().running(), usize::from(is_stored));
    }
}

/// The stream belongs to no request: a client that goes away in between finds what it has started.
#[tokio::test(start_paused = true)]
async fn a_start_goes_on_when_nobody_waits_for_it() {
    let world = World::short();
    world.journal.pace(Pace::Within(Duration::from_millis(50)));
    let start = tokio::time::timeout(Duration::from_millis(10), world.start(order(None, Some("k"), 1)));
    start.await.expect_err("the client has left");
    assert_eq!(world.start(order(None, Some("k"), 1)).await, "replay");
    assert_eq!(world.source.launched.lock().unwrap().len(), 1);
    assert!(world.producer().cast().end().is_none());
}

#[tokio::test(start_paused = true)]
async fn lists_are_newest_first_and_per_tenant() {
    let world = World::short();
    for n in 0..700 {
        let tenant = if n % 7 == 3 { "other" } else { "tenant" };
        let order = Order { tenant: tenant.into(), ..order(Some(&format!("id{n}")), None, 1) };
        world.hub.start(order).await.unwrap();
    }
    let ids = |tenant, before, max| world.ids(tenant, before, max);
    assert_eq!(ids("tenant", None, 4), ["id699", "id698", "id697", "id695"]);
    assert_eq!(ids("other", None, 2), ["id696", "id689"]);
    assert_eq!(ids("tenant", Some(5), 9), ["id2", "id1", "id0"]);
    assert_eq!(ids("tenant", Some(1), 9), [""; 0]);
    assert_eq!([ids("tenant", None, 1000).len(), ids("nobody", None, 9).len()], [600, 0]);
}
