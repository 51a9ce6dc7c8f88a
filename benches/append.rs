//! Isolates what one frame costs in the core, from append to the last viewer's bytes in hand: no journal, no socket, no
//! task switch. A frame is one block of ~250 bytes that says a token, as providers send them.
//!
//! `append/cursors`: one append, and as many cursors reading it in the native view. The frame is rendered once, so
//! what grows with the cursors is a lock and a shared slice each; the rest is the append.
//! `encode`: the first read of a whole log of 5,000 frames, which renders it, by view: what the first late viewer
//! pays. `raw` is there already and shows the floor.
//! `late`: the same read for everybody after: slices alone.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokencast::cast::about::About;
use tokencast::cast::account::Stake;
use tokencast::cast::event::{Event, Prose};
use tokencast::cast::frame::Frame;
use tokencast::cast::id::Id;
use tokencast::cast::log::Read;
use tokencast::cast::memory::Budget;
use tokencast::cast::{Cast, Producer};
use tokencast::journal::memory::Memory;
use tokencast::view::View;

const FRAMES: u64 = 5_000;
const BATCH_BYTES_MAX: usize = 64 * 1024;

fn cast() -> (Cast, Producer) {
    let about = About {
        number: 1,
        id: Id::random(),
        tenant: "tenant".into(),
        provider: "provider".into(),
        metadata: None,
        ttl_s: 900,
        started_ms: 0,
        key: None,
        fingerprint: [0; 32],
    };
    let share = Budget::new(usize::MAX / 2).share();
    Cast::new(Arc::new(about), None, Stake::unlimited(), share, Arc::new(Memory))
}

fn frame(seq: u64) -> Frame {
    let token = Event::Prose { choice: 0, kind: Prose::Text, text: " token".into() };
    Frame {
        first: seq,
        at_ms: seq,
        bytes: vec![b'x'; 250].into(),
        ends: vec![250],
        events: vec![(seq, token)],
    }
}

/// Appends so many frames to a new cast. In memory a commit has nothing to wait for.
fn filled(runtime: &tokio::runtime::Runtime, frames: u64) -> (Cast, Producer) {
    let (cast, mut producer) = cast();
    for seq in 1..=frames {
        runtime.block_on(producer.append(frame(seq))).expect("there is room");
    }
    (cast, producer)
}

fn read_all(cast: &Cast, view: View) -> usize {
    let (mut cursor, mut bytes) = (0, 0);
    while let Read::Batch { bytes: batch, upto, .. } = cast.read(view.source(), cursor, BATCH_BYTES_MAX) {
        bytes += black_box(batch).len();
        cursor = upto;
    }
    bytes
}

fn append(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");

    let mut group = c.benchmark_group("append/cursors");
    for cursors in [0_u64, 1, 100, 1000] {
        group.throughput(Throughput::Elements(cursors.max(1)));
        group.bench_function(BenchmarkId::from_parameter(cursors), |b| {
            b.iter_custom(|frames| {
                let mut spent = Duration::ZERO;
                // A new log now and then, so that none grows without end.
                for begin in (0..frames).step_by(FRAMES as usize) {
                    let (cast, mut producer) = cast();
                    let work: Vec<Frame> = (1..=FRAMES.min(frames - begin)).map(frame).collect();
                    let started = Instant::now();
                    for frame in work {
                        let after = frame.first - 1;
                        runtime.block_on(producer.append(frame)).expect("there is room");
                        for _ in 0..cursors {
                            black_box(cast.read(View::Events.source(), after, BATCH_BYTES_MAX));
                        }
                    }
                    spent += started.elapsed();
                }
                spent
            });
        });
    }
    group.finish();

    let views = [View::Raw, View::Events, View::Poll, View::Text];
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(FRAMES)).sample_size(20);
    for view in views {
        let fresh = || filled(&runtime, FRAMES);
        // The log is handed back, so that its end is not part of the time.
        let encode = |(cast, producer): (Cast, Producer)| (read_all(&cast, view), cast, producer);
        group.bench_function(view.name(), |b| b.iter_batched(fresh, encode, BatchSize::PerIteration));
    }
    group.finish();

    let mut group = c.benchmark_group("late");
    group.throughput(Throughput::Elements(FRAMES));
    let (cast, _producer) = filled(&runtime, FRAMES);
    for view in views {
        read_all(&cast, view);
        group.bench_function(view.name(), |b| b.iter(|| read_all(&cast, view)));
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
