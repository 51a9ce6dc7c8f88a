//! A rendering that panics: a bug of ours, which concerns those who look at it.

use super::{STALL, cast, frame, now};
use crate::cast::end::{End, Outcome, Why};
use crate::cast::log::{Part, Read, Rendering, Source};
use crate::cast::thread::Thread;
use crate::telemetry;
use crate::view::View;

/// Writes half of what it wants to say, and panics at the third block.
struct Planted;

impl Rendering for Planted {
    fn slot(&self) -> usize {
        5
    }

    fn frame(&self, part: &Part<'_>, _thread: &mut Thread, out: &mut Vec<u8>) {
        out.extend_from_slice(b"half");
        assert!(part.events.iter().all(|(seq, _)| *seq < 3), "planted");
    }

    fn end(&self, _end: &End, _thread: &mut Thread, _out: &mut Vec<u8>) {}
}

#[tokio::test]
async fn a_rendering_that_panics_ends_the_stream_and_is_kept_from_everybody() {
    let metrics = telemetry::install();
    let (cast, mut producer) = cast();
    producer.append(frame(1, &["a", "b"])).await.unwrap();
    let planted = Source::Rendered(&Planted);
    assert!(matches!(cast.read(planted, 0, 1), Read::Batch { upto: 2, .. }));
    producer.append(frame(3, &["c"])).await.unwrap();
    for after in [2, 0, 2] {
        assert!(matches!(cast.read(planted, after, 1), Read::Broken), "after {after}");
    }
    assert_eq!(now(cast.stopped()), Why::Internal);
    // Others read on, and see how it ended.
    let Read::Batch { bytes, upto, .. } = cast.read(View::Text.source(), 0, usize::MAX) else { panic!() };
    assert_eq!((&*bytes, upto), (&b"abc"[..], 3));
    producer.end(Outcome { why: Why::Internal, message: None }, STALL).await;
    assert!(matches!(cast.read(View::Text.source(), 3, 1), Read::End { .. }));
    assert!(matches!(cast.read(planted, 3, 1), Read::Broken));
    assert!(metrics.render().contains("tokencast_panics_total{where=\"view\"} 1"), "once, and then no more");
}
