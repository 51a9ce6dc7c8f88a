//! Isolates the cost of understanding: one block's bytes → events, which is SSE, JSON and the events themselves. Every
//! token of every stream pays it once, however many viewers there are, so below a handful of viewers it is a part of
//! what a token costs. Splitting, journal and rendering are not in it.
//!
//! `dialect/token` is the everyday block of each family; `dialect/openai_chat` is the most widespread one, by what a
//! chunk says.

mod material;

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};

use self::material::{TONGUES, Tongue, openai_chat as delta, openai_chat_chunk as chunk};

/// One reader for all of them: what it remembers is there after the first, as in a stream.
fn read(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, tongue: Tongue, block: &[u8]) {
    let mut dialect = tongue.family.dialect(tongue.path);
    let mut events = Vec::new();
    group.throughput(Throughput::Bytes(block.len() as u64));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            events.clear();
            dialect.read(black_box(block), &mut events);
            black_box(&events);
        });
    });
}

fn dialect(c: &mut Criterion) {
    let mut group = c.benchmark_group("dialect/token");
    for tongue in TONGUES {
        read(&mut group, tongue.name, tongue, &tongue.token());
    }
    group.finish();

    let mut group = c.benchmark_group("dialect/openai_chat");
    let [chat, ..] = TONGUES;
    let blocks = [
        ("escaped_text", delta(r#"{"content":"\n\u00e9\ud83d\ude00\""}"#)),
        ("reasoning", delta(r#"{"content":null,"reasoning_content":" wonderful"}"#)),
        ("tool_call", delta(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"wonder"}}]}"#)),
        ("usage", chunk("", r#","usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14}"#)),
        ("comment", b": OPENROUTER PROCESSING\n\n".to_vec()),
        ("large", delta(&format!(r#"{{"content":"{}"}}"#, "wonderful ".repeat(10_000)))),
    ];
    for (name, block) in &blocks {
        read(&mut group, name, chat, block);
    }
    group.finish();
}

criterion_group!(benches, dialect);
criterion_main!(benches);
