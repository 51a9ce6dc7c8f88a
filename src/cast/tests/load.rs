//! Real threads: what only shows when two things happen at the same instant.

use std::time::Duration;

use super::{STALL, cast, frame};
use crate::cast::block::Seq;
use crate::cast::end::{End, Outcome};
use crate::cast::log::{Part, Read, Rendering, Source};
use crate::cast::thread::Thread;
use crate::tasks::Tasks;
use crate::view::View;
use crate::viewer::{Step, Viewer};

const FRAMES: Seq = 2_000;

/// A wake-up that is lost would let a viewer wait for ever: nothing else wakes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn viewers_at_full_speed_miss_nothing() {
    let (cast, mut producer) = cast();
    let tasks = Tasks::default();
    let viewers: Vec<_> = (0..8)
        .map(|n| {
            let cursor = n % 3;
            let view = if n % 2 == 0 { View::Text } else { View::Raw };
            let mut viewer = Viewer::new(cast.attach(), view, cursor, "test", Default::default());
            tasks.spawn(async move {
                let mut said = Vec::new();
                loop {
                    match viewer.next().await {
                        Step::Batch { bytes, .. } => said.extend_from_slice(&bytes),
                        Step::End { .. } => return (cursor, String::from_utf8(said).unwrap()),
                        other => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    for seq in 1..=FRAMES {
        producer.append(frame(seq, &[&format!("<{seq}>")])).await.unwrap();
        if seq % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    producer.end(Outcome::completed(), STALL).await;
    for viewer in viewers {
        let (cursor, said) = tokio::time::timeout(Duration::from_secs(60), viewer).await.unwrap().unwrap();
        let want: String = (cursor + 1..=FRAMES).map(|seq| format!("<{seq}>")).collect();
        assert!(said == want, "a viewer behind {cursor} was told {} of {} bytes", said.len(), want.len());
    }
}

/// Whoever comes back with the last id that it was told is not ahead of the log.
#[test]
fn the_tail_is_never_behind_what_was_read() {
    let (cast, mut producer) = cast();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut cursor = 0;
            while cursor < FRAMES {
                if let Read::Batch { upto, .. } = cast.read(View::Raw.source(), cursor, usize::MAX) {
                    let tail = cast.tail();
                    assert!(upto <= tail, "read {upto} while the tail was {tail}");
                    cursor = upto;
                }
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for seq in 1..=FRAMES {
            runtime.block_on(producer.append(frame(seq, &["a"]))).unwrap();
        }
        reader.join().unwrap();
    });
}

/// A rendering that takes its time.
#[derive(Debug)]
struct Slow;

impl Rendering for Slow {
    fn slot(&self) -> usize {
        3
    }

    fn frame(&self, part: &Part<'_>, _: &mut Thread, out: &mut Vec<u8>) {
        std::thread::sleep(Duration::from_micros(50));
        out.extend_from_slice(part.from.to_string().as_bytes());
    }

    fn end(&self, _: &End, _: &mut Thread, _: &mut Vec<u8>) {}
}

/// Whoever joins a long stream first in its view does not hold up those who are there.
#[tokio::test]
async fn a_long_rendering_keeps_the_log_from_nobody() {
    let (cast, mut producer) = cast();
    for seq in 1..=FRAMES {
        producer.append(frame(seq, &["a"])).await.unwrap();
    }
    let waited = std::thread::scope(|scope| {
        let late = scope.spawn(|| cast.read(Source::Rendered(&Slow), FRAMES - 1, usize::MAX));
        let mut waited = Vec::new();
        while !late.is_finished() {
            let began = std::time::Instant::now();
            cast.read(View::Raw.source(), FRAMES - 1, usize::MAX);
            waited.push(began.elapsed());
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(matches!(late.join().unwrap(), Read::Batch { upto: FRAMES, .. }));
        waited
    });
    // 100 ms of rendering and more, in steps of 13 ms and more, by the grace of the scheduler.
    assert!(waited.len() > 2, "{waited:?}");
}
