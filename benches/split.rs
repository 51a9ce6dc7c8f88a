//! Isolates the cost of cutting: bytes in, blocks out, nothing parsed. `blocks` is the everyday case,
//! provider events of ~250 bytes, by the size of the chunks in which the network delivers them: the larger
//! the chunk, the fewer blocks span two and are copied. `one_line` is the worst that a block limit of 1 MiB
//! admits, carried over 64 chunks; `blank` is nothing but line ends, looked at one by one. Both show their
//! throughput so that anything quadratic stands out.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokencast::upstream::split::{Framing, Splitter};

const KIB: usize = 1024;

fn chunks(body: &[u8], chunk_bytes: usize) -> Vec<Bytes> {
    body.chunks(chunk_bytes).map(Bytes::copy_from_slice).collect()
}

fn cut(chunks: &[Bytes], block_bytes_max: usize) -> usize {
    let mut splitter = Splitter::new(Framing::Sse, block_bytes_max);
    let mut out = Vec::new();
    let mut blocks = 0;
    for chunk in chunks {
        splitter.push(chunk.clone(), &mut out).expect("no block is too large");
        blocks += out.len();
        black_box(&mut out).clear();
    }
    blocks + usize::from(splitter.finish().is_some())
}

fn split(c: &mut Criterion) {
    let block = format!("event: delta\ndata: {{\"text\":\"{}\"}}\n\n", "x".repeat(218));
    let body = block.repeat(4 * KIB * KIB / block.len());
    let mut group = c.benchmark_group("split/blocks");
    group.throughput(Throughput::Bytes(body.len() as u64));
    for chunk_kib in [1, 16, 1024] {
        let chunks = chunks(body.as_bytes(), chunk_kib * KIB);
        group.bench_with_input(BenchmarkId::new("chunk_kib", chunk_kib), &chunks, |b, chunks| {
            b.iter(|| cut(chunks, KIB * KIB));
        });
    }
    group.finish();

    let mut group = c.benchmark_group("split/worst");
    let one_line = chunks(format!("data: {}\n\n", "x".repeat(KIB * KIB - 8)).as_bytes(), 16 * KIB);
    group.throughput(Throughput::Bytes((KIB * KIB) as u64));
    group.bench_function("one_line", |b| b.iter(|| cut(&one_line, KIB * KIB)));
    let blank = chunks(&vec![b'\n'; 256 * KIB], 256 * KIB);
    group.throughput(Throughput::Bytes((256 * KIB) as u64));
    group.bench_function("blank", |b| b.iter(|| cut(&blank, KIB * KIB)));
    group.finish();
}

criterion_group!(benches, split);
criterion_main!(benches);
