//! One cast in virtual time: what becomes visible when, how it ends, and who waits for it.

use std::time::Duration;

use tokio::time::{Instant, advance, sleep, timeout};

use super::script::{Pace, Script, failure};
use super::{STALL, cast, cast_over, frame};
use crate::cast::block::Seq;
use crate::cast::end::{Outcome, Why};
use crate::cast::log::Read;
use crate::cast::{AppendError, Cast};
use crate::view::View;

const MS: Duration = Duration::from_millis(1);

/// What is visible: the tail, the text behind the beginning, and the end.
fn visible(cast: &Cast) -> (Seq, String, Option<Why>) {
    let mut cursor = 0;
    let mut said = String::new();
    loop {
        match cast.read(View::Text.source(), cursor, usize::MAX) {
            Read::Batch { bytes, upto, .. } => {
                said.push_str(std::str::from_utf8(&bytes).unwrap());
                cursor = upto;
            }
            Read::Pending => return (cursor, said, None),
            Read::End { end, .. } => return (cursor, said, Some(end.why)),
            Read::Gone => panic!("nothing was erased"),
            Read::Broken => panic!("no rendering panics"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_visible_before_it_is_durable() {
    let journal = Script::new(Pace::Within(50 * MS));
    let (cast, mut producer) = cast_over(journal.clone());
    let watch = || async {
        let mut watch = cast.watch();
        watch.mark();
        watch.changed().await;
        visible(&cast)
    };
    let append = async {
        producer.append(frame(1, &["a", "b"])).await.unwrap();
        producer
    };
    let early = async {
        sleep(49 * MS).await;
        visible(&cast)
    };
    let (producer, seen, early) = tokio::join!(append, watch(), early);
    assert_eq!(early, (0, String::new(), None));
    assert_eq!(seen, (2, "ab".into(), None));

    let early = async {
        sleep(49 * MS).await;
        visible(&cast)
    };
    let ((), seen, early) = tokio::join!(producer.end(Outcome::completed(), STALL), watch(), early);
    assert_eq!(early, (2, "ab".into(), None));
    assert_eq!(seen, (2, "ab".into(), Some(Why::Completed)));
    assert_eq!(journal.said(), [(0, "1-2".into()), (50, "completed".into())]);
}

/// How a cast ends, when its journal does this with a frame and with the end.
#[tokio::test(start_paused = true)]
async fn a_journal_that_fails_does_not_keep_a_stream_from_its_end() {
    let cases = [
        (Pace::AtOnce, Pace::AtOnce, (1, "a"), Why::Completed),
        (Pace::AtOnce, Pace::Failing, (1, "a"), Why::StorageError),
        (Pace::Failing, Pace::Failing, (0, ""), Why::StorageError),
        (Pace::AtOnce, Pace::Within(STALL / 2), (1, "a"), Why::Completed),
        (Pace::AtOnce, Pace::Within(STALL * 2), (1, "a"), Why::Overloaded),
        (Pace::AtOnce, Pace::ByHand, (1, "a"), Why::Overloaded),
    ];
    for (to_frame, to_end, (blocks, text), why) in cases {
        let journal = Script::new(to_frame.clone());
        let (cast, mut producer) = cast_over(journal.clone());
        let appended = producer.append(frame(1, &["a"])).await;
        assert_eq!(matches!(appended, Err(AppendError::Storage(_))), blocks == 0);
        journal.pace(to_end.clone());
        timeout(2 * STALL, producer.end(Outcome::completed(), STALL)).await.expect("it ends");
        assert_eq!(visible(&cast), (blocks, text.into(), Some(why)), "{to_frame:?}, {to_end:?}");
        let message = cast.end().unwrap().message.clone();
        assert_eq!(message.is_none(), why == Why::Completed);
        assert!(why != Why::StorageError || message == Some(failure().to_string()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_is_lost_ends_its_cast() {
    let (cast, mut producer) = cast();
    producer.append(frame(1, &["a"])).await.unwrap();
    drop(producer);
    assert_eq!(visible(&cast), (1, "a".into(), Some(Why::Internal)));

    // While the end is committed, too.
    let (cast, producer) = cast_over(Script::new(Pace::ByHand));
    timeout(MS, producer.end(Outcome::completed(), STALL)).await.expect_err("it waits for the journal");
    assert_eq!(visible(&cast), (0, String::new(), Some(Why::Internal)));
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "seqs continue")]
async fn a_gap_is_a_bug() {
    let (_cast, mut producer) = cast();
    producer.append(frame(2, &["a"])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_first_cause_of_a_stop_counts() {
    let (cast, producer) = cast();
    timeout(Duration::from_secs(60), cast.stopped()).await.expect_err("nobody has asked for it");
    cast.stop(Why::Drain);
    cast.stop(Why::Stopped);
    assert_eq!(cast.stopped().await, Why::Drain);
    drop(producer);
    cast.stop(Why::Stopped);
    assert_eq!(cast.stopped().await, Why::Drain);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_beginning_or_a_close_is_told() {
    let is_open = |wait: bool| assert!(!wait, "nothing has happened yet");
    let begun = |cast: Cast| async move { timeout(MS, cast.watch().begun()).await.is_ok() };
    let closed = |cast: Cast| async move { timeout(MS, cast.watch().closed()).await.is_ok() };

    let (cast, mut producer) = super::cast();
    is_open(begun(cast.clone()).await);
    producer.append(frame(1, &[""])).await.unwrap();
    assert!(begun(cast.clone()).await);
    is_open(closed(cast.clone()).await);
    producer.end(Outcome::completed(), STALL).await;
    assert!(closed(cast.clone()).await);

    let (cast, producer) = super::cast();
    producer.end(Outcome::completed(), STALL).await;
    assert!(begun(cast.clone()).await, "none will come");

    let (cast, _producer) = super::cast();
    cast.erase();
    assert!(begun(cast.clone()).await && closed(cast).await, "none will come");
}

/// Viewers come (`+`) and leave (`-`) at these seconds; 30 s without any is too long.
#[tokio::test(start_paused = true)]
async fn a_cast_is_abandoned_when_nobody_has_watched_for_a_while() {
    let check = async |script: &[(u64, char)], want: u64| {
        let (cast, _producer) = cast();
        let began = Instant::now();
        let happen = async {
            let mut viewers = Vec::new();
            for (at, what) in script {
                tokio::time::sleep_until(began + Duration::from_secs(*at)).await;
                match what {
                    '+' => viewers.push(cast.attach()),
                    _ => drop(viewers.pop()),
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = cast.abandoned(Duration::from_secs(30)) => {}
            () = happen => {}
        }
        assert_eq!(began.elapsed().as_secs(), want, "{script:?}");
    };
    check(&[], 30).await;
    check(&[(10, '+'), (20, '-')], 50).await;
    check(&[(10, '+'), (100, '-'), (129, '+'), (200, '-')], 230).await;
    check(&[(0, '+'), (5, '+'), (20, '-'), (90, '-')], 120).await;
    check(&[(29, '+'), (29, '-')], 59).await;
}

/// A task that is run late finds both: that the time is over, and that somebody came before it was.
#[tokio::test(start_paused = true)]
async fn whoever_comes_in_time_is_not_too_late() {
    for _ in 0..20 {
        let (cast, _producer) = cast();
        let mut abandoned = std::pin::pin!(cast.abandoned(30 * MS));
        timeout(MS, &mut abandoned).await.expect_err("not yet");
        let _viewer = cast.attach();
        advance(60 * MS).await;
        timeout(MS, &mut abandoned).await.expect_err("somebody watches");
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_expires_its_ttl_after_its_end() {
    let (cast, producer) = cast();
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(cast.expires(), None);
    producer.end(Outcome::completed(), STALL).await;
    let ttl = cast.about().ttl();
    assert_eq!(cast.expires(), Some(cast.began() + 1_500 * MS + ttl));
    let at = cast.expires().unwrap();
    assert_eq!([cast.is_expired(at - MS), cast.is_expired(at)], [false, true]);
}
