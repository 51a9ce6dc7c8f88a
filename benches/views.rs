//! Isolates what a view costs, by view, over a log of 5,000 frames of one token each: no socket, no task switch.
//!
//! `views/first` is the first read of the whole log, which renders it: what the first late viewer pays, and in a live
//! stream the one viewer of a view who comes first to a frame. `raw` is there already and shows the floor.
//! `views/again` is the same read for everybody after: slices alone.

mod material;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tokencast::cast::log::Read;
use tokencast::cast::{Cast, Producer};
use tokencast::view::View;
use tokencast::viewer::BATCH_BYTES_MAX;

use self::material::{cast, frame};

const FRAMES: u64 = 5_000;

const VIEWS: [View; 7] =
    [View::Raw, View::Events, View::Lines, View::Poll, View::Packed, View::Text, View::Ui];

/// In memory a commit has nothing to wait for.
fn filled(runtime: &tokio::runtime::Runtime) -> (Cast, Producer) {
    let (cast, mut producer) = cast();
    for seq in 1..=FRAMES {
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

fn views(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut group = c.benchmark_group("views/first");
    group.throughput(Throughput::Elements(FRAMES)).sample_size(20);
    for view in VIEWS {
        let fresh = || filled(&runtime);
        // The log is handed back, so that its end is not part of the time.
        let first = |(cast, producer): (Cast, Producer)| (read_all(&cast, view), cast, producer);
        group.bench_function(view.name(), |b| b.iter_batched(fresh, first, BatchSize::PerIteration));
    }
    group.finish();

    let mut group = c.benchmark_group("views/again");
    group.throughput(Throughput::Elements(FRAMES));
    let (cast, _producer) = filled(&runtime);
    for view in VIEWS {
        read_all(&cast, view);
        group.bench_function(view.name(), |b| b.iter(|| read_all(&cast, view)));
    }
    group.finish();
}

criterion_group!(benches, views);
criterion_main!(benches);
