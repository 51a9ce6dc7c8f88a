//! What is not taken any more.

use std::time::Duration;

use tokio::time::sleep;

use super::{World, order};
use crate::cast::account::Quotas;
use crate::cast::end::{Outcome, Why};
use crate::cast::hub::order::{Missing, Order, Started};
use crate::cast::hub::{Limits, Retention, Settings, Tenant};
use crate::cast::tests::script::{Pace, failure};
use crate::cast::tests::{STALL, frame};

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
