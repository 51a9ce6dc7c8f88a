//! What has ended, has expired, or was purged.

use std::time::Duration;

use tokio::time::{advance, sleep};

use super::{World, order};
use crate::cast::end::{Outcome, Why};
use crate::cast::hub::order::{Missing, Started};
use crate::cast::hub::{Limits, Retention};
use crate::cast::tests::{STALL, frame};

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
