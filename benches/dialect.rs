//! The cost of one block's bytes → events, per kind of chunk: SSE parsing, JSON and the events themselves.
//! Every token of every stream pays it once, however many viewers there are, so below a handful of viewers it
//! is what a token costs. Splitting, journal and rendering are not in it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokencast::dialect::Family;

const PATH: &str = "/chat/completions";

fn chunk(choices: &str, rest: &str) -> Vec<u8> {
    let head = r#""id":"chatcmpl-AAAAAAAAAAAAAAAA","object":"chat.completion.chunk","created":1790000000"#;
    let model = r#""model":"model-1","service_tier":"default","system_fingerprint":"fp_0000000000""#;
    format!("data: {{{head},{model},\"choices\":[{choices}]{rest}}}\n\n").into_bytes()
}

fn delta(delta: &str) -> Vec<u8> {
    let choice = format!(r#"{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":null}}"#);
    chunk(&choice, r#","usage":null,"obfuscation":"xxxxxxxx""#)
}

fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dialect/openai_chat");
    let blocks = [
        ("text", delta(r#"{"content":" wonderful"}"#)),
        ("escaped_text", delta(r#"{"content":"\n\u00e9\ud83d\ude00\""}"#)),
        ("reasoning", delta(r#"{"content":null,"reasoning_content":" wonderful"}"#)),
        ("tool_call", delta(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"wonder"}}]}"#)),
        ("usage", chunk("", r#","usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14}"#)),
        ("comment", b": OPENROUTER PROCESSING\n\n".to_vec()),
        ("large", delta(&format!(r#"{{"content":"{}"}}"#, "wonderful ".repeat(10_000)))),
    ];
    for (name, block) in &blocks {
        // One reader for all of them: what it remembers is there after the first, as in a stream.
        let mut dialect = Family::Openai.dialect(PATH);
        let mut events = Vec::new();
        group.throughput(Throughput::Bytes(block.len() as u64));
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                events.clear();
                dialect.read(black_box(block), &mut events);
                black_box(&events);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);
