//! Isolates the cost of gathering: blocks in, frames out, by how many blocks a frame gathers. No clock is read, and
//! nothing waits. `1` is the everyday case, in which each token is flushed at once; the others are bursts.

mod material;

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use smallvec::smallvec;
use tokencast::cast::block::Block;
use tokencast::cast::coalesce::{Coalescer, Config};
use tokencast::cast::event::{Event, Prose};
use tokio::time::Instant;

use self::material::TONGUES;

const BLOCKS: usize = 1024;

fn coalesce(c: &mut Criterion) {
    let began = Instant::now();
    let [chat, ..] = TONGUES;
    // Blocks are slices of what was read from the socket.
    let read = Bytes::from(chat.token().repeat(BLOCKS));
    let block = |index: usize| {
        let len = read.len() / BLOCKS;
        let token = Event::Prose { choice: 0, kind: Prose::Text, text: " wonderful".into() };
        Block { bytes: read.slice(index * len..(index + 1) * len), events: smallvec![token] }
    };
    let mut group = c.benchmark_group("coalesce/blocks_in_a_frame");
    group.throughput(Throughput::Elements(BLOCKS as u64));
    for together in [1, 4, 32] {
        let blocks = || (0..BLOCKS).map(block).collect::<Vec<_>>();
        group.bench_function(BenchmarkId::from_parameter(together), |b| {
            // As long-lived as a stream: what it has allocated once is there.
            let mut coalescer = Coalescer::new(&Config::default(), began);
            let mut now = began;
            let gather = |blocks: Vec<Block>| {
                for (index, block) in blocks.into_iter().enumerate() {
                    coalescer.push(block);
                    if (index + 1) % together == 0 {
                        now += Duration::from_millis(16);
                        black_box(coalescer.flush(now));
                    }
                }
            };
            b.iter_batched(blocks, gather, BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, coalesce);
criterion_main!(benches);
