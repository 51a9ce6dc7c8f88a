//! The viewer loop in virtual time.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::cast::Cast;
use crate::cast::end::Outcome;
use crate::cast::tests::{STALL, cast, frame};

const HEARTBEAT: Duration = Duration::from_secs(15);

fn viewer(cast: &Cast, view: View) -> Viewer {
    Viewer::new(cast.attach(), view, 0, "test", CancellationToken::new())
}

/// When the next step comes, in milliseconds from now, and what it is.
async fn step(viewer: &mut Viewer) -> (u64, String) {
    let began = Instant::now();
    let Ok(step) = timeout(Duration::from_secs(3600), viewer.next()).await else {
        return (3_600_000, "nothing".into());
    };
    let said = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let step = match step {
        Step::Batch { bytes, .. } => said(&bytes),
        Step::Heartbeat => "heartbeat".into(),
        Step::End { bytes, end } => format!("{} {}", end.why.reason(), said(&bytes)).trim().into(),
        Step::Bye(bye) => bye.code.into(),
    };
    (began.elapsed().as_millis() as u64, step)
}

#[tokio::test(start_paused = true)]
async fn history_live_and_end_are_one_reading() {
    let (cast, mut producer) = cast();
    producer.append(frame(1, &["a", "b"])).await.unwrap();
    producer.append(frame(3, &["c"])).await.unwrap();
    let mut viewer = viewer(&cast, View::Text);
    assert_eq!(step(&mut viewer).await, (0, "abc".into()));
    assert_eq!(viewer.cursor(), 3);
    let (one, ()) = tokio::join!(step(&mut viewer), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        producer.append(frame(4, &["d"])).await.unwrap();
    });
    assert_eq!(one, (2000, "d".into()));
    producer.end(Outcome::completed(), STALL).await;
    assert_eq!(step(&mut viewer).await, (0, "completed".into()));
    assert_eq!(step(&mut viewer).await, (0, "completed".into()), "there is no more");
}

#[tokio::test(start_paused = true)]
async fn silence_has_a_heartbeat_and_only_silence() {
    let (cast, mut producer) = cast();
    assert_eq!(step(&mut viewer(&cast, View::Raw)).await.1, "nothing", "none was asked for");
    let mut viewer = viewer(&cast, View::Text).with_heartbeat(HEARTBEAT);
    let beat = (15_000, "heartbeat".to_owned());
    assert_eq!([step(&mut viewer).await, step(&mut viewer).await], [beat.clone(), beat.clone()]);
    // Blocks that mean nothing in this view are no sign of life.
    let (one, ()) = tokio::join!(step(&mut viewer), async {
        for seq in 1..=12 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            producer.append(frame(seq, &[""])).await.unwrap();
        }
    });
    assert_eq!((one, viewer.cursor()), (beat.clone(), 12));
    let (one, ()) = tokio::join!(step(&mut viewer), async {
        tokio::time::sleep(Duration::from_secs(14)).await;
        producer.append(frame(13, &["a"])).await.unwrap();
    });
    assert_eq!(one, (14_000, "a".into()));
    assert_eq!(step(&mut viewer).await, beat);
}

#[tokio::test(start_paused = true)]
async fn a_viewing_ends_at_its_time() {
    let (cast, mut producer) = cast();
    let at = Instant::now() + Duration::from_secs(20);
    let mut viewer = viewer(&cast, View::Text).with_heartbeat(HEARTBEAT).until(Some(at));
    assert_eq!(step(&mut viewer).await, (15_000, "heartbeat".into()));
    assert_eq!(step(&mut viewer).await, (5_000, "ticket_expired".into()));
    // Whatever there is to read: it takes a new ticket.
    producer.append(frame(1, &["a"])).await.unwrap();
    assert_eq!(step(&mut viewer).await, (0, "ticket_expired".into()));
    let mut late = self::viewer(&cast, View::Text).until(Some(at));
    assert_eq!(step(&mut late).await, (0, "ticket_expired".into()));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_closes_says_what_there_is_first() {
    // The last thing that is there, and what the viewer is told after the closing.
    let check = async |ended: bool, want: &[&str]| {
        let (cast, mut producer) = cast();
        let closing = CancellationToken::new();
        let mut viewer = Viewer::new(cast.attach(), View::Text, 0, "test", closing.clone());
        timeout(Duration::from_secs(1), viewer.next()).await.expect_err("nothing yet");
        producer.append(frame(1, &["a"])).await.unwrap();
        let mut rest = Some(producer);
        if ended {
            rest.take().unwrap().end(Outcome::completed(), STALL).await;
        }
        closing.cancel();
        for want in want {
            assert_eq!(step(&mut viewer).await, (0, (*want).into()));
        }
    };
    check(false, &["a", "draining", "draining"]).await;
    check(true, &["a", "completed"]).await;

    // Both come while the viewer waits.
    for _ in 0..20 {
        let (cast, producer) = cast();
        let closing = CancellationToken::new();
        let mut viewer = Viewer::new(cast.attach(), View::Text, 0, "test", closing.clone());
        let (one, ()) = tokio::join!(step(&mut viewer), async {
            closing.cancel();
            producer.end(Outcome::completed(), STALL).await;
        });
        assert_eq!(one.1, "completed");
    }
}

#[tokio::test(start_paused = true)]
async fn retries_are_spread() {
    for (draining, range) in [(false, 300..=1000), (true, 1000..=5000)] {
        let drawn: Vec<u64> = (0..200).map(|_| retry_ms(draining)).collect();
        assert!(drawn.iter().all(|ms| range.contains(ms)));
        assert!(drawn.iter().any(|ms| *ms != drawn[0]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_erased_is_gone_for_whoever_waits() {
    let (cast, mut producer) = cast();
    let mut waiting = viewer(&cast, View::Events);
    let (one, ()) = tokio::join!(step(&mut waiting), async { cast.erase() });
    assert_eq!(one, (0, "gone".into()));
    producer.append(frame(1, &["a"])).await.unwrap();
    producer.end(Outcome::completed(), STALL).await;
    assert_eq!(step(&mut waiting).await, (0, "gone".into()));
}

/// An append between any two polls is seen: there is no moment at which nobody listens.
#[tokio::test(start_paused = true)]
async fn no_wake_up_is_lost_and_nothing_when_a_wait_is_given_up() {
    let (cast, mut producer) = cast();
    let mut viewer = viewer(&cast, View::Text);
    for seq in 1..=10 {
        for _ in 0..seq % 3 {
            timeout(Duration::ZERO, viewer.next()).await.expect_err("nothing yet");
        }
        producer.append(frame(seq, &["a"])).await.unwrap();
        assert_eq!(step(&mut viewer).await, (0, "a".into()), "block {seq}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_viewer_counts_while_it_is_there() {
    let (cast, _producer) = cast();
    let (one, two) = (viewer(&cast, View::Raw), viewer(&cast, View::Raw));
    assert_eq!(cast.viewers(), 2);
    drop(one);
    assert_eq!(cast.viewers(), 1);
    drop(two);
    assert_eq!(cast.viewers(), 0);
}
