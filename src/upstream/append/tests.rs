//! The append loop in virtual time, over a journal that does as it is told.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{sleep_until, timeout};

use super::super::feed::{self, Closed, Sender};
use super::*;
use crate::cast::Cast;
use crate::cast::block::Block;
use crate::cast::event::Event;
use crate::cast::tests::script::{Pace, Script, failure};
use crate::cast::tests::{cast_over, text};

const STALL: Duration = Duration::from_secs(10);

/// One thing that the reader reads.
#[derive(Debug, Clone, Copy)]
enum Say {
    /// A block of so many bytes that means nothing.
    Bytes(usize),
    Token,
    Finish,
    Error,
}

fn block(say: Say) -> Block {
    let (len, event) = match say {
        Say::Bytes(len) => (len, None),
        Say::Token => (1, Some(text("a"))),
        Say::Finish => (1, Some(Event::Finish { choice: 0, reason: "stop".into() })),
        Say::Error => (1, Some(Event::Error { code: None, message: "no".into() })),
    };
    Block { bytes: Bytes::from(vec![b'x'; len]), events: event.into_iter().collect() }
}

async fn send(feed: &Sender, block: Block) -> Result<(), Closed> {
    feed.room(block.bytes.len()).await?.fill(block);
    Ok(())
}

/// Reads this at these milliseconds; gives when the last block was taken.
async fn read(feed: Sender, began: Instant, script: &[(u64, Say)]) -> u64 {
    for (at, say) in script {
        sleep_until(began + Duration::from_millis(*at)).await;
        if send(&feed, block(*say)).await.is_err() {
            break;
        }
    }
    began.elapsed().as_millis() as u64
}

/// When the journal was given which blocks; how the appending ended; when the reader was done.
async fn run(
    config: &Config,
    journal: Arc<Script>,
    script: &[(u64, Say)],
) -> (Vec<(u64, String)>, Result<(), Why>, u64, Cast) {
    let (cast, mut producer) = cast_over(journal.clone());
    let (sender, receiver) = feed::channel(config.pending_bytes_max);
    let (appended, read) =
        tokio::join!(append(receiver, &mut producer, config, STALL), read(sender, cast.began(), script),);
    (journal.said(), appended.map_err(|outcome| outcome.why), read, cast)
}

fn frames(said: &[(u64, &str)]) -> Vec<(u64, String)> {
    said.iter().map(|(at, blocks)| (*at, (*blocks).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn frames_leave_at_once_or_after_the_interval_or_when_they_must() {
    use Say::{Bytes, Error, Finish, Token};
    let config = Config { frame_bytes_max: 100, pending_bytes_max: 250, ..Config::default() };
    let check = async |what: &str, script: &[(u64, Say)], want: &[(u64, &str)]| {
        let (said, appended, _, cast) = run(&config, Script::new(Pace::AtOnce), script).await;
        assert_eq!((said, appended), (frames(want), Ok(())), "{what}");
        assert_eq!(cast.tail(), script.len() as u64);
    };
    check("nothing", &[], &[]).await;
    check(
        "leading edge",
        &[(0, Bytes(1)), (16, Bytes(1)), (40, Bytes(1))],
        &[(0, "1-1"), (16, "2-2"), (40, "3-3")],
    )
    .await;
    check(
        "trailing edge",
        &[(0, Bytes(1)), (1, Bytes(1)), (15, Bytes(1)), (17, Bytes(1)), (99, Bytes(1))],
        &[(0, "1-1"), (16, "2-3"), (32, "4-4"), (99, "5-5")],
    )
    .await;
    check(
        "read together",
        &[(0, Bytes(1)), (0, Bytes(1)), (0, Bytes(1)), (5, Bytes(1)), (99, Bytes(1))],
        &[(0, "1-3"), (16, "4-4"), (99, "5-5")],
    )
    .await;
    check(
        "full",
        &[(0, Bytes(1)), (1, Bytes(60)), (2, Bytes(60)), (3, Bytes(1)), (99, Bytes(1))],
        &[(0, "1-1"), (2, "2-3"), (18, "4-4"), (99, "5-5")],
    )
    .await;
    check(
        "first token",
        &[(0, Bytes(1)), (1, Token), (2, Token), (99, Bytes(1))],
        &[(0, "1-1"), (1, "2-2"), (17, "3-3"), (99, "4-4")],
    )
    .await;
    check(
        "finish and error",
        &[(0, Bytes(1)), (1, Finish), (2, Error), (3, Bytes(1)), (99, Bytes(1))],
        &[(0, "1-1"), (1, "2-2"), (2, "3-3"), (18, "4-4"), (99, "5-5")],
    )
    .await;
    check("end", &[(0, Bytes(1)), (1, Bytes(1))], &[(0, "1-1"), (1, "2-2")]).await;
    check("a block larger than everything", &[(0, Bytes(5000)), (1, Bytes(1))], &[(0, "1-1"), (1, "2-2")])
        .await;
}

#[tokio::test(start_paused = true)]
async fn while_a_commit_runs_the_next_frame_grows() {
    let journal = Script::new(Pace::Within(Duration::from_millis(97)));
    let script: Vec<(u64, Say)> = (0..20).map(|n| (n * 10, Say::Bytes(1000))).collect();
    let config = Config { frame_bytes_max: 2000, ..Config::default() };
    let (said, appended, read, _) = run(&config, journal, &script).await;
    assert_eq!(said, frames(&[(0, "1-1"), (97, "2-10"), (194, "11-20")]));
    assert_eq!((appended, read), (Ok(()), 190), "the reader never waits");
}

#[tokio::test(start_paused = true)]
async fn a_reader_stands_still_when_too_much_waits_for_the_journal() {
    let journal = Script::new(Pace::Within(Duration::from_millis(100)));
    let script: Vec<(u64, Say)> = (0..12).map(|_| (0, Say::Bytes(100))).collect();
    let config = Config { frame_bytes_max: 100, pending_bytes_max: 400, ..Config::default() };
    let (said, appended, read, _) = run(&config, journal, &script).await;
    assert_eq!(appended, Ok(()));
    // What is being committed and what is pending have 400 bytes together.
    assert_eq!(
        said,
        frames(&[(0, "1-1"), (100, "2-4"), (200, "5-5"), (300, "6-8"), (400, "9-9"), (500, "10-12")])
    );
    assert_eq!(read, 400);
}

/// The interval is long, but nobody would come to add anything.
#[tokio::test(start_paused = true)]
async fn what_fills_the_channel_does_not_wait_for_the_interval() {
    let config = Config { frame_interval_ms: 1000, frame_bytes_max: 300, pending_bytes_max: 300 };
    let script = [(0, Say::Bytes(1)), (1, Say::Bytes(200)), (2, Say::Bytes(200)), (3, Say::Bytes(1))];
    let (said, appended, read, _) = run(&config, Script::new(Pace::AtOnce), &script).await;
    assert_eq!(said, frames(&[(0, "1-1"), (2, "2-2"), (3, "3-4")]));
    assert_eq!((appended, read), (Ok(()), 3));
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_stands_still_or_fails_ends_the_stream() {
    let script: Vec<(u64, Say)> = (0..100).map(|n| (n * 1000, Say::Bytes(100))).collect();
    for (pace, why, read, tail) in
        [(Pace::ByHand, Why::Overloaded, 50_000, 3), (Pace::Failing, Why::StorageError, 40_000, 3)]
    {
        let journal = Script::new(Pace::AtOnce);
        let turn = async {
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            journal.pace(pace);
        };
        let config = Config::default();
        let ((said, appended, done, cast), ()) = tokio::join!(run(&config, journal.clone(), &script), turn);
        assert_eq!((appended, cast.tail()), (Err(why), tail));
        assert_eq!(said.last(), Some(&(3000, "4-4".to_owned())), "nothing is tried behind a failure");
        assert!(done <= read, "the reader is told");
    }
}

/// The budget of all streams together is used up: what was appended is there, and no more.
#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_the_budget_ends() {
    let budget = crate::cast::memory::Budget::new(1_000_000);
    let journal: Arc<Script> = Script::new(Pace::AtOnce);
    let about = crate::cast::tests::about("cast");
    let stake = crate::cast::account::Stake::unlimited();
    let (cast, mut producer) = Cast::new(Arc::new(about), None, stake, budget.share(), journal);
    let (sender, receiver) = feed::channel(1 << 20);
    let script: Vec<(u64, Say)> = (0..20).map(|n| (n * 20, Say::Bytes(100_000))).collect();
    let config = Config::default();
    let (appended, _) =
        tokio::join!(append(receiver, &mut producer, &config, STALL), read(sender, cast.began(), &script),);
    assert_eq!(appended.map_err(|outcome| outcome.why), Err(Why::Overloaded));
    assert!((11..=12).contains(&cast.tail()), "tail: {}", cast.tail());
}

#[tokio::test(start_paused = true)]
async fn storage_errors_say_what_happened() {
    let journal = Script::new(Pace::ByHand);
    let (_cast, mut producer) = cast_over(journal.clone());
    let (sender, receiver) = feed::channel(1000);
    let fail = async {
        send(&sender, block(Say::Token)).await.unwrap();
        while journal.open() == 0 {
            tokio::task::yield_now().await;
        }
        journal.settle(Err(failure()));
        timeout(STALL, sender.closed()).await.expect("the appender is gone");
        send(&sender, block(Say::Token)).await.unwrap_err();
    };
    let config = Config::default();
    let appending = async {
        let appended = append(receiver, &mut producer, &config, STALL).await;
        appended.expect_err("it has failed")
    };
    let (outcome, ()) = tokio::join!(appending, fail);
    assert_eq!((outcome.why, outcome.message), (Why::StorageError, Some(failure().to_string())));
}
