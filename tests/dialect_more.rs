//! Gemini and Ollama over whole bodies: our own fixtures, the recorded corpus, and bytes that no provider would send.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokencast::cast::event::{Event, Prose};
use tokencast::dialect::{Family, Verdict};
use tokencast::upstream::split::{Piece, Splitter};

/// One family's bodies: where its fixtures are, and what their names end with.
#[derive(Debug, Clone, Copy)]
struct Bodies {
    family: Family,
    directory: &'static str,
    extension: &'static str,
}

const GEMINI: Bodies = Bodies { family: Family::Gemini, directory: "gemini", extension: "sse" };
const OLLAMA: Bodies = Bodies { family: Family::Ollama, directory: "ollama", extension: "ndjson" };

impl Bodies {
    fn fixtures(self) -> Vec<PathBuf> {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        files(&fixtures.join(self.directory), "", self.extension)
    }

    /// The blocks of a body that comes in chunks of this size.
    fn blocks(self, body: &[u8], chunk: usize) -> Vec<Piece> {
        let (mut splitter, mut pieces) = (Splitter::new(self.family.framing(), 1 << 20), Vec::new());
        for chunk in body.chunks(chunk) {
            splitter.push(Bytes::copy_from_slice(chunk), &mut pieces).unwrap();
        }
        pieces.extend(splitter.finish());
        pieces
    }

    /// Reads a body to its clean end and folds what it says. Checks the rules of events on the way, and that nothing
    /// follows a final verdict.
    fn read(self, blocks: &[Piece]) -> Value {
        let mut dialect = self.family.dialect("");
        let mut folded = nothing();
        for block in blocks {
            let before = dialect.verdict();
            let mut events = Vec::new();
            match block.complete {
                true => dialect.read(&block.bytes, &mut events),
                false => dialect.read_rest(&block.bytes, &mut events),
            }
            if matches!(before, Verdict::Terminal | Verdict::Failed { .. }) {
                assert_eq!(events, [], "after {before:?}");
                assert_eq!(dialect.verdict(), before);
            }
            events.iter().for_each(|event| apply(event, &mut folded));
        }
        folded["verdict"] = match dialect.verdict() {
            Verdict::Unfinished => "unfinished",
            Verdict::Finished => "finished",
            Verdict::Terminal => "terminal",
            Verdict::Failed { message } => {
                assert_eq!(folded["error"]["message"], message);
                "failed"
            }
        }
        .into();
        assert_eq!(folded["error"].is_null(), folded["verdict"] != "failed");
        folded
    }
}

fn files(directory: &Path, prefix: &str, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        path.file_name().unwrap().to_string_lossy().starts_with(prefix)
            && path.extension().is_some_and(|found| found == extension)
    });
    paths.sort();
    paths
}

fn nothing() -> Value {
    json!({ "model": null, "upstream_id": null, "choices": {}, "usage": null, "error": null, "verdict": null })
}

fn choice(folded: &mut Value, number: u32) -> &mut Value {
    let choices = folded["choices"].as_object_mut().unwrap();
    choices.entry(number.to_string()).or_insert_with(
        || json!({ "text": "", "reasoning": "", "refusal": "", "tool_calls": {}, "finish": null }),
    )
}

fn append(to: &mut Value, more: &str) {
    *to = format!("{}{more}", to.as_str().unwrap()).into();
}

fn apply(event: &Event, folded: &mut Value) {
    assert!(folded["error"].is_null(), "{event:?} after an error");
    match event {
        Event::Meta { model, upstream_id } => {
            assert!(model.is_some() || upstream_id.is_some());
            assert!(folded["model"].is_null() && folded["upstream_id"].is_null(), "meta is said once");
            (folded["model"], folded["upstream_id"]) = (json!(model), json!(upstream_id));
        }
        Event::Prose { choice: number, kind, text } => {
            assert!(!text.is_empty(), "an empty delta says nothing");
            let channel = match kind {
                Prose::Text => "text",
                Prose::Reasoning => "reasoning",
                Prose::Refusal => "refusal",
            };
            append(&mut choice(folded, *number)[channel], text);
        }
        Event::ToolCall { choice: number, index, id, name, arguments } => {
            let calls = choice(folded, *number)["tool_calls"].as_object_mut().unwrap();
            let says_something = id.is_some() || name.is_some() || !arguments.is_empty();
            assert!(says_something || !calls.contains_key(&index.to_string()), "only the first may be empty");
            let call = calls.entry(index.to_string());
            let call = call.or_insert_with(|| json!({ "id": null, "name": null, "arguments": "" }));
            for (key, value) in [("id", id), ("name", name)] {
                assert!(value.is_none() || call[key].is_null(), "an id and a name are said once");
                if value.is_some() {
                    call[key] = json!(value);
                }
            }
            append(&mut call["arguments"], arguments);
        }
        Event::Usage(usage) => {
            assert_ne!(folded["usage"], json!(usage), "usage is not repeated");
            folded["usage"] = json!(usage);
        }
        Event::Finish { choice: number, reason } => {
            let finish = &mut choice(folded, *number)["finish"];
            assert!(finish.is_null(), "a choice finishes once");
            *finish = json!(reason);
        }
        Event::Error { code, message } => folded["error"] = json!({ "code": code, "message": message }),
    }
}

#[test]
fn fixtures_fold_as_expected() {
    for bodies in [GEMINI, OLLAMA] {
        assert!(!bodies.fixtures().is_empty());
        for path in bodies.fixtures() {
            let body = std::fs::read(&path).unwrap();
            let expected: Value =
                serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
            for chunk in [1, 7, usize::MAX] {
                let blocks = bodies.blocks(&body, chunk);
                assert_eq!(blocks.iter().map(|block| &*block.bytes).collect::<Vec<_>>().concat(), body);
                let actual = bodies.read(&blocks);
                assert!(actual == expected, "{}\nfolds to {actual:#}\nexpected {expected:#}", path.display());
            }
        }
    }
}

/// The same fold again, over whole `Value`s and without any of the dialect's code; for bodies without oddities. Beside
/// it the provider's own total of tokens.
fn oracle(body: &str) -> (Value, Value) {
    let (mut folded, mut total) = (nothing(), Value::Null);
    for line in body.lines() {
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let chunk: Value = serde_json::from_str(data).unwrap();
        if folded["model"].is_null() {
            (folded["model"], folded["upstream_id"]) =
                (chunk["modelVersion"].clone(), chunk["responseId"].clone());
        }
        for candidate in chunk["candidates"].as_array().into_iter().flatten() {
            for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
                let kind = if part["thought"] == true { "reasoning" } else { "text" };
                if let Some(text) = part["text"].as_str() {
                    append(&mut choice(&mut folded, 0)[kind], text);
                }
                let called = &part["functionCall"];
                if !called.is_null() {
                    // In the bytes, spaces and all.
                    let start = data.find("\"args\": ").unwrap() + 8;
                    let mut values = serde_json::Deserializer::from_str(&data[start..]).into_iter::<Value>();
                    values.next().unwrap().unwrap();
                    let arguments = &data[start..start + values.byte_offset()];
                    let calls = choice(&mut folded, 0)["tool_calls"].as_object_mut().unwrap();
                    let call = json!({ "id": called["id"], "name": called["name"], "arguments": arguments });
                    calls.insert(calls.len().to_string(), call);
                }
            }
            if !candidate["finishReason"].is_null() {
                choice(&mut folded, 0)["finish"] = candidate["finishReason"].clone();
                folded["verdict"] = "finished".into();
            }
        }
        let usage = &chunk["usageMetadata"];
        let sum =
            |names: [&str; 2]| names.iter().filter_map(|name| usage[name].as_u64()).reduce(|a, b| a + b);
        let input = sum(["promptTokenCount", "toolUsePromptTokenCount"]);
        folded["usage"] =
            json!({ "input": input, "output": sum(["candidatesTokenCount", "thoughtsTokenCount"]) });
        total = usage["totalTokenCount"].clone();
    }
    (folded, total)
}

#[test]
fn the_corpus_folds_without_loss() {
    let corpus = std::env::var_os("TOKENCAST_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"), PathBuf::from);
    let paths = files(&corpus, "gemini-", "sse");
    if paths.is_empty() {
        println!("skipped: no corpus");
        return;
    }
    for path in &paths {
        let body = std::fs::read(path).unwrap();
        let (expected, total) = oracle(std::str::from_utf8(&body).unwrap());
        let read = GEMINI.read(&GEMINI.blocks(&body, usize::MAX));
        assert!(read == expected, "{}\nfolds to {read:#}\nexpected {expected:#}", path.display());
        assert_eq!(read["verdict"], "finished", "{}", path.display());
        let usage = ["input", "output"].map(|count| read["usage"][count].as_u64().unwrap());
        assert_eq!(usage.iter().sum::<u64>(), total, "{}", path.display());
    }
    println!("{} recorded streams", paths.len());
}

/// A block of a fixture, perhaps with some of its bytes replaced, removed or inserted.
fn mutated(bodies: Bodies) -> impl Strategy<Value = Piece> {
    let of = |path: &PathBuf| bodies.blocks(&std::fs::read(path).unwrap(), usize::MAX);
    let blocks: Vec<Piece> = bodies.fixtures().iter().flat_map(of).collect();
    let bytes = prop_oneof![
        vec(any::<u8>(), 0..3),
        prop::sample::select(vec![
            "{", "}", "[", "]", "\"", ",", ":", "null", "1e999", "\\ud83d", "\\", "-1", "true", "$", "[0]",
            ".a"
        ])
        .prop_map(|token| token.as_bytes().to_vec()),
    ];
    let edits = vec((any::<prop::sample::Index>(), 0..4usize, bytes), 0..3);
    (prop::sample::select(blocks), edits).prop_map(|(Piece { bytes, complete }, edits)| {
        let mut block = bytes.to_vec();
        for (at, remove, insert) in edits {
            let start = at.index(block.len().max(1)).min(block.len());
            let end = (start + remove).min(block.len());
            block.splice(start..end, insert);
        }
        Piece { bytes: block.into(), complete }
    })
}

fn complete(bytes: impl Into<Bytes>) -> Piece {
    Piece { bytes: bytes.into(), complete: true }
}

fn config() -> ProptestConfig {
    // There is no `lib.rs` beside this file, where proptest would look for a place to keep failures.
    ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// `read` asserts that nothing follows a final verdict, and `apply` the rules of events.
    #[test]
    fn any_bytes_are_survived(blocks in vec(vec(any::<u8>(), 0..64), 0..8)) {
        let blocks: Vec<Piece> = blocks.into_iter().map(complete).collect();
        GEMINI.read(&blocks);
        OLLAMA.read(&blocks);
    }

    #[test]
    fn mutated_blocks_are_survived(
        gemini in vec(mutated(GEMINI), 0..12),
        ollama in vec(mutated(OLLAMA), 0..12),
    ) {
        GEMINI.read(&gemini);
        OLLAMA.read(&ollama);
    }

    /// Text escaped unit by unit and cut into deltas at will, also inside of emoji.
    #[test]
    fn text_survives_any_cut(text in "[a-z\\\\\"\u{e9}\u{2028}\u{1f600}]{0,24}", size in 1..6usize) {
        let units: Vec<u16> = text.encode_utf16().collect();
        let escaped = |units: &[u16]| units.iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
        let deltas: Vec<String> = units.chunks(size).map(escaped).collect();
        let said = |folded: Value| folded["choices"]["0"]["text"].as_str().unwrap_or_default().to_owned();

        let blocks: Vec<_> = deltas.iter().map(|text| {
            let part = format!("{{\"text\":\"{text}\"}}");
            complete(format!("data: {{\"candidates\":[{{\"content\":{{\"parts\":[{part}]}}}}]}}\r\n\r\n"))
        }).collect();
        prop_assert_eq!(said(GEMINI.read(&blocks)), &*text);

        let blocks: Vec<_> =
            deltas.iter().map(|text| complete(format!("{{\"response\":\"{text}\"}}\n"))).collect();
        prop_assert_eq!(said(OLLAMA.read(&blocks)), &*text);
    }

    /// Arguments streamed by path make the JSON that they were, however their strings are cut.
    #[test]
    fn streamed_arguments_survive_any_cut(
        arguments in prop::collection::btree_map("[a-z]{1,3}", arguments(), 1..4),
        size in 1..4usize,
    ) {
        let arguments = json!(arguments);
        let mut values = Vec::new();
        leaves(&arguments, "$", size, &mut values);
        let block = |call: Value| {
            let call = json!({ "candidates": [{ "content": { "parts": [{ "functionCall": call }] } }] });
            complete(format!("data: {call}\r\n\r\n"))
        };
        let mut blocks = vec![block(json!({ "name": "f", "willContinue": true }))];
        blocks.extend(values.iter().map(|value| block(json!({ "partialArgs": [value], "willContinue": true }))));
        blocks.push(block(json!({})));
        let folded = GEMINI.read(&blocks);
        let text = folded["choices"]["0"]["tool_calls"]["0"]["arguments"].as_str().unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(text).unwrap(), arguments, "{}", text);
    }
}

fn arguments() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z\"\\\\é😀]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

/// The values of `of` as Vertex AI streams them, strings in pieces of so many characters.
fn leaves(of: &Value, path: &str, size: usize, out: &mut Vec<Value>) {
    match of {
        Value::Null => out.push(json!({ "jsonPath": path, "nullValue": null })),
        Value::Bool(bool) => out.push(json!({ "jsonPath": path, "boolValue": bool })),
        Value::Number(number) => out.push(json!({ "jsonPath": path, "numberValue": number })),
        Value::String(string) => {
            let chars: Vec<char> = string.chars().collect();
            for piece in chars.chunks(size) {
                let piece: String = piece.iter().collect();
                out.push(json!({ "jsonPath": path, "stringValue": piece, "willContinue": true }));
            }
            out.push(json!({ "jsonPath": path, "stringValue": "" }));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                leaves(item, &format!("{path}[{index}]"), size, out);
            }
            out.push(json!({ "jsonPath": format!("{path}[]") }));
        }
        Value::Object(members) => {
            for (key, member) in members {
                leaves(member, &format!("{path}.{key}"), size, out);
            }
            if members.is_empty() {
                out.push(json!({ "jsonPath": path }));
            }
        }
    }
}
