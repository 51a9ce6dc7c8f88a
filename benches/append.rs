//! Isolates what one frame costs in the core: appended, and read by as many cursors in the native view. No journal, no
//! socket, no task switch. The frame is rendered once, so what grows with the cursors is a lock and a shared slice each;
//! the rest is the append.

mod material;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokencast::cast::frame::Frame;
use tokencast::view::View;
use tokencast::viewer::BATCH_BYTES_MAX;

use self::material::{cast, frame};

/// A log has so many frames before a new one begins, so that none grows without end.
const FRAMES: u64 = 5_000;

fn append(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut group = c.benchmark_group("append/cursors");
    for cursors in [0_u64, 1, 4, 100, 1000] {
        group.throughput(Throughput::Elements(cursors.max(1)));
        group.bench_function(BenchmarkId::from_parameter(cursors), |b| {
            b.iter_custom(|frames| {
                let mut spent = Duration::ZERO;
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
}

criterion_group!(benches, append);
criterion_main!(benches);
