//! The hub in virtual time: what is started once, found, kept and forgotten.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{advance, sleep};
use tokio_util::sync::CancellationToken;

use super::script::{Pace, Script, failure};
use super::{STALL, frame, now};
use crate::cast::account::Quotas;
use crate::cast::end::{Outcome, Why};
use crate::cast::hub::order::{Ask, AskError, Launch, Missing, Offer, Order, Origin, Refused, Started};
use crate::cast::hub::{Hub, Limits, Retention, Settings, Tenant};
use crate::cast::id::Id;
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
async fn what_has_ended_is_kept_then_gone_then_unknown() {
    let world = World::short();
    let started = world.hub.start(order(Some("a"), Some("k"), 1)).await.unwrap();
    let (id, key) = (|| order(Some("a"), None, 1), || order(None, Some("k"), 1));
    sleep(Duration::from_secs(100)).await;
    assert_eq!(world.find("a"), Ok(()), "what runs does not expire");
    world.producer().end(Outcome::completed(), STALL).await;
    sleep(Duration::from_millis(9_999)).await;
    assert_eq!(world.find("a"), Ok(()));

    // Gone at its time, whenever it is swept.
    advance(Duration::from_millis(1)).await;
    assert!(started.cast.is_expired(tokio::time::Instant::now()));
    let gone = |world: &World| {
        assert_eq!(world.find("a"), Err(Missing::Gone));
        assert_eq!(world.ids("tenant", None, 10_000).len(), 0);
    };
    gone(&world);
    assert_eq!(world.start(id()).await, "IdUsed");
    assert_eq!(world.start(key()).await, "KeyGone");
    sleep(Duration::from_millis(59_000)).await;
    gone(&world);
    assert_eq!(world.start(id()).await, "IdUsed");
    assert_eq!(world.start(key()).await, "KeyGone");
    assert_eq!(world.start(order(None, Some("k"), 2)).await, "KeyMismatch");

    sleep(Duration::from_secs(3)).await;
    assert_eq!(world.find("a"), Err(Missing::Unknown));
    assert_eq!(world.start(key()).await, "new");
    assert_eq!(world.start(id()).await, "new");
}

#[tokio::test(start_paused = true)]
async fn expired_memory_is_given_back() {
    let world = World::short();
    let Started { cast, .. } = world.hub.start(order(Some("a"), None, 1)).await.unwrap();
    let mut producer = world.producer();
    producer.append(frame(1, &[&"x".repeat(1000)])).await.unwrap();
    producer.end(Outcome::completed(), STALL).await;
    sleep(Duration::from_secs(5)).await;
    assert!(world.hub.budget().held() > 2000);
    sleep(Duration::from_secs(7)).await;
    assert!(world.hub.budget().held() > 2000, "somebody still reads it");
    drop(cast);
    assert_eq!(world.hub.budget().held(), 0);
}

#[tokio::test(start_paused = true)]
async fn tombstones_are_bounded() {
    let retention = Retention { ttl_s: 10, tombstones_max: 3, ..Retention::default() };
    let world = World::new(retention, Limits::default());
    for id in ["a", "b", "c", "d"] {
        let cast = world.over(id).await;
        world.hub.purge(&cast).await.unwrap();
    }
    sleep(Duration::from_secs(2)).await;
    let found = ["a", "b", "c", "d"].map(|id| world.find(id));
    let gone = || Err(Missing::Gone);
    assert_eq!(found, [Err(Missing::Unknown), gone(), gone(), gone()], "the oldest is forgotten");
}

#[tokio::test(start_paused = true)]
async fn many_expire_at_once_in_steps() {
    let world = World::short();
    for n in 0..1000 {
        world.over(&format!("id{n}")).await;
    }
    let swept = |ids: std::ops::Range<usize>| {
        ids.filter(|n| world.find(&format!("id{n}")) == Err(Missing::Gone)).count()
    };
    sleep(Duration::from_secs(9)).await;
    assert_eq!((swept(0..1000), world.ids("tenant", None, 10_000).len()), (0, 1000));
    sleep(Duration::from_secs(3)).await;
    assert_eq!(swept(0..1000), 1000);
    assert_eq!(world.hub.budget().held(), 0);
    sleep(Duration::from_secs(62)).await;
    assert_eq!(world.find("id0"), Err(Missing::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_purge_leaves_nothing_but_the_name() {
    let world = World::short();
    let Started { cast, .. } = world.hub.start(order(Some("a"), Some("k"), 1)).await.unwrap();
    let mut producer = world.producer();
    producer.append(frame(1, &["secret"])).await.unwrap();
    world.hub.purge(&cast).await.unwrap();
    assert_eq!(world.find("a"), Err(Missing::Gone));
    assert_eq!(world.hub.budget().held(), cast.overhead());
    assert_eq!(cast.stopped().await, Why::Stopped);
    // The producer has not heard of it yet.
    producer.append(frame(2, &["more"])).await.unwrap();
    assert_eq!((world.hub.budget().held(), world.hub.budget().running()), (cast.overhead(), 1));
    producer.end(Outcome { why: Why::Stopped, message: None }, STALL).await;
    assert_eq!(world.hub.budget().running(), 0);
    assert_eq!(cast.end().unwrap().blocks, 2);
    assert_eq!(world.start(order(Some("a"), None, 1)).await, "IdUsed");
    assert_eq!(world.start(order(None, Some("k"), 1)).await, "KeyGone");
    world.hub.purge(&cast).await.unwrap();
    assert_eq!(world.find("a"), Err(Missing::Gone), "a second purge changes nothing");
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

#[tokio::test(start_paused = true)]
async fn a_full_gateway_takes_no_more_and_goes_on_when_there_is_room() {
    let limits = Limits { streams_max: 3, running_max: 2, memory_bytes_max: 1_000_000, ..Limits::default() };
    let world = World::new(Retention { ttl_s: 10, ..Retention::default() }, limits);
    let steps = [("a", "new"), ("b", "new"), ("c", "limits.running_max"), ("a", "replay")];
    for (id, want) in steps {
        assert_eq!(world.start(order(Some(id), None, 1)).await, want, "{id}");
    }
    let mut one = world.producer();
    world.producer().end(Outcome::completed(), STALL).await;
    one.append(frame(1, &[&"x".repeat(340_000)])).await.expect("one eighth is in reserve");
    assert_eq!(world.start(order(Some("c"), None, 1)).await, "limits.memory_bytes_max");
    one.append(frame(2, &[&"x".repeat(340_000)])).await.expect_err("the reserve is used up");
    one.end(Outcome::completed(), STALL).await;
    sleep(Duration::from_secs(12)).await;
    assert_eq!(world.hub.budget().held(), 0);

    for (id, want) in [("c", "new"), ("d", "new"), ("e", "new"), ("f", "limits.streams_max")] {
        assert_eq!(world.start(order(Some(id), None, 1)).await, want, "{id}");
        if want == "new" {
            world.producer().end(Outcome::completed(), STALL).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_drains_starts_nothing() {
    let world = World::short();
    let running = world.hub.start(order(Some("a"), None, 1)).await.unwrap().cast;
    let producer = world.producer();
    world.over("b").await;
    let ids = || world.hub.running().iter().map(|cast| cast.id().to_string()).collect::<Vec<_>>();
    assert_eq!(ids(), ["a"]);
    world.hub.drain();
    assert!(world.hub.draining().is_cancelled());
    assert_eq!(world.start(order(Some("c"), None, 1)).await, "Draining");
    assert_eq!((world.find("a"), world.find("b")), (Ok(()), Ok(())));
    running.stop(Why::Drain);
    assert_eq!(running.stopped().await, Why::Drain);
    producer.end(Outcome { why: Why::Drain, message: None }, STALL).await;
    assert_eq!(ids(), [""; 0]);
}

/// What tenants have on the shelf and on their account are the same, whatever becomes of it.
#[tokio::test(start_paused = true)]
async fn a_tenants_account_follows_its_streams() {
    let retention = Retention { ttl_s: 10, tombstone_s: 60, ..Retention::default() };
    let quotas = Quotas { running_max: Some(2), retained_bytes_max: Some(6), ..Quotas::default() };
    let own = Tenant { name: "other".into(), quotas: Quotas { running_max: Some(1), ..Quotas::default() } };
    let world = World::with(Settings { retention, quotas, tenants: vec![own], ..Settings::default() });
    let account = world.hub.account(&"tenant".into());
    let has = || (account.running(), account.retained_bytes(), account.viewers());
    let other = |id| Order { tenant: "other".into(), ..order(Some(id), None, 1) };
    assert_eq!(world.start(other("a")).await, "new");
    assert_eq!(world.start(other("b")).await, "Quota", "its own, and the general ones beside");

    let Started { cast, .. } = world.hub.start(order(Some("a"), Some("k"), 1)).await.unwrap();
    let mut producer = world.producer();
    producer.append(frame(1, &["abc"])).await.unwrap();
    assert_eq!(world.start(order(Some("b"), None, 1)).await, "new");
    let mut second = world.producer();
    assert_eq!((has(), world.start(order(Some("c"), None, 1)).await), ((2, 3, 0), "Quota".into()));
    assert_eq!(world.find("c"), Err(Missing::Unknown));
    assert_eq!(world.start(order(Some("a"), Some("k"), 1)).await, "replay");
    let viewer = cast.try_attach().unwrap();
    producer.end(Outcome::completed(), STALL).await;
    assert_eq!(has(), (1, 3, 1), "it is kept");
    second.append(frame(1, &["abcd"])).await.unwrap();
    assert_eq!(world.start(order(Some("c"), None, 1)).await, "Quota", "too much is kept");
    world.hub.purge(&cast).await.unwrap();
    assert_eq!(has(), (1, 4, 1), "whoever still watches it has nothing to see");
    assert_eq!(world.start(order(Some("c"), None, 1)).await, "new");
    drop(world.producer());
    drop((viewer, cast));
    second.end(Outcome::completed(), STALL).await;
    assert_eq!(has(), (0, 4, 0));
    sleep(Duration::from_secs(12)).await;
    assert_eq!(has(), (0, 0, 0), "expired");

    // A start that could not be stored leaves nothing on the account either.
    world.journal.pace(Pace::ByHand);
    let start = world.start(order(Some("d"), None, 1));
    let failing = async {
        sleep(Duration::from_secs(1)).await;
        world.journal.settle(Err(failure()));
    };
    assert_eq!(tokio::join!(start, failing).0, "Storage");
    world.journal.pace(Pace::AtOnce);
    drop(world.producer());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(has(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn viewers_have_places_by_stream_by_tenant_and_in_all() {
    let limits = Limits { viewers_max: 5, stream_viewers_max: 2, ..Limits::default() };
    let quotas = Quotas { viewers_max: Some(3), ..Quotas::default() };
    let world = World::with(Settings { limits, quotas, ..Settings::default() });
    let mut casts = Vec::new();
    for (tenant, id) in [("tenant", "a"), ("tenant", "b"), ("other", "a"), ("other", "b")] {
        let order = Order { tenant: tenant.into(), ..order(Some(id), None, 1) };
        casts.push(world.hub.start(order).await.unwrap().cast);
    }
    let come = |cast: usize| casts[cast].try_attach().map_err(|reached| reached.key);
    let first = [come(0).unwrap(), come(0).unwrap()];
    assert_eq!(come(0).unwrap_err(), "limits.stream_viewers_max");
    let _third = come(1).unwrap();
    assert_eq!(come(1).unwrap_err(), "quotas.viewers_max");
    let _others = [come(2).unwrap(), come(3).unwrap()];
    assert_eq!(come(3).unwrap_err(), "limits.viewers_max");
    assert_eq!(
        [0, 1, 2, 3].map(|cast: usize| casts[cast].viewers()),
        [2, 1, 1, 1],
        "who was refused is not there"
    );
    // Whoever has started a stream has a place; then it may be one too many.
    let starter = casts[3].attach();
    drop(first);
    come(1).unwrap();
    drop(starter);
    come(3).unwrap();
}
