//! The dialects over whole bodies: our own fixtures, the recorded corpus, and bytes that no provider would
//! send.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tokencast::cast::event::{Event, Prose, Usage};
use tokencast::dialect::{Family, Verdict};
use tokencast::upstream::split::{Framing, Splitter};

const PATH: &str = "/chat/completions";

/// Everything that a body says, folded; beside it the rules that events keep.
#[derive(Debug, Default, PartialEq)]
struct Folded {
    meta: Option<(Option<String>, Option<String>)>,
    choices: BTreeMap<u32, Choice>,
    usage: Option<Usage>,
    error: Option<(Option<String>, String)>,
}

#[derive(Debug, Default, PartialEq)]
struct Choice {
    text: String,
    reasoning: String,
    refusal: String,
    tool_calls: BTreeMap<u32, ToolCall>,
    finish: Option<String>,
}

#[derive(Debug, Default, PartialEq)]
struct ToolCall {
    id: Option<String>,
    name: Option<String>,
    arguments: String,
}

impl Folded {
    fn apply(&mut self, event: Event) {
        assert!(self.error.is_none(), "{event:?} after an error");
        match event {
            Event::Meta { model, upstream_id } => {
                assert!(model.is_some() || upstream_id.is_some());
                assert_eq!(self.meta.replace((model, upstream_id)), None, "meta is said once");
            }
            Event::Prose { choice, kind, text } => {
                assert!(!text.is_empty(), "an empty delta says nothing");
                let choice = self.choices.entry(choice).or_default();
                match kind {
                    Prose::Text => &mut choice.text,
                    Prose::Reasoning => &mut choice.reasoning,
                    Prose::Refusal => &mut choice.refusal,
                }
                .push_str(&text);
            }
            Event::ToolCall { choice, index, id, name, arguments } => {
                let calls = &mut self.choices.entry(choice).or_default().tool_calls;
                let says_something = id.is_some() || name.is_some() || !arguments.is_empty();
                assert!(says_something || !calls.contains_key(&index), "only the first event may be empty");
                let call = calls.entry(index).or_default();
                assert!(id.is_none() || call.id.is_none(), "an id is said once");
                assert!(name.is_none() || call.name.is_none(), "a name is said once");
                call.id = call.id.take().or(id);
                call.name = call.name.take().or(name);
                call.arguments.push_str(&arguments);
            }
            Event::Usage(usage) => {
                assert_ne!(self.usage.replace(usage), Some(usage), "usage is not repeated");
            }
            Event::Finish { choice, reason } => {
                let finish = &mut self.choices.entry(choice).or_default().finish;
                assert_eq!(finish.replace(reason), None, "a choice finishes once");
            }
            Event::Error { code, message } => self.error = Some((code, message)),
        }
    }

    fn to_json(&self, verdict: &Verdict) -> Value {
        let choice = |choice: &Choice| {
            let call =
                |call: &ToolCall| json!({"id": call.id, "name": call.name, "arguments": call.arguments});
            let calls: Map<_, _> = choice.tool_calls.iter().map(|(i, c)| (i.to_string(), call(c))).collect();
            json!({
                "text": choice.text,
                "reasoning": choice.reasoning,
                "refusal": choice.refusal,
                "tool_calls": calls,
                "finish": choice.finish,
            })
        };
        let choices: Map<_, _> = self.choices.iter().map(|(i, c)| (i.to_string(), choice(c))).collect();
        let (model, upstream_id) = self.meta.clone().unwrap_or_default();
        let error = self.error.as_ref().map(|(code, message)| json!({"code": code, "message": message}));
        let verdict = match verdict {
            Verdict::Unfinished => "unfinished",
            Verdict::Finished => "finished",
            Verdict::Terminal => "terminal",
            Verdict::Failed { .. } => "failed",
        };
        json!({
            "model": model,
            "upstream_id": upstream_id,
            "choices": choices,
            "usage": self.usage,
            "error": error,
            "verdict": verdict,
        })
    }
}

/// The complete blocks of a body.
fn blocks(body: &[u8]) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut splitter = Splitter::new(Framing::Sse, 1 << 20);
    splitter.push(Bytes::copy_from_slice(body), &mut pieces).unwrap();
    pieces.extend(splitter.finish());
    pieces.into_iter().filter(|piece| piece.complete).map(|piece| piece.bytes).collect()
}

/// Reads a body to its end and checks on the way that nothing follows a final verdict.
fn read(blocks: &[Bytes]) -> (Folded, Verdict) {
    let mut dialect = Family::Openai.dialect(PATH);
    let mut folded = Folded::default();
    for block in blocks {
        let before = dialect.verdict();
        let mut events = Vec::new();
        dialect.read(block, &mut events);
        if matches!(before, Verdict::Terminal | Verdict::Failed { .. }) {
            assert_eq!(events, [], "after {before:?}");
            assert_eq!(dialect.verdict(), before);
        }
        events.into_iter().for_each(|event| folded.apply(event));
    }
    let verdict = dialect.verdict();
    let failed = folded.error.as_ref().map(|(_, message)| Verdict::Failed { message: message.clone() });
    assert_eq!(failed.is_some(), matches!(verdict, Verdict::Failed { .. }));
    assert!(failed.is_none_or(|failed| failed == verdict));
    (folded, verdict)
}

/// The files in `directory` whose names begin with `prefix` and end with `.sse`.
fn bodies(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(prefix) && name.ends_with(".sse")
    });
    paths.sort();
    paths
}

fn fixtures() -> Vec<PathBuf> {
    bodies(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/openai_chat"), "")
}

#[test]
fn fixtures_fold_as_expected() {
    assert!(!fixtures().is_empty());
    for path in fixtures() {
        let (folded, verdict) = read(&blocks(&std::fs::read(&path).unwrap()));
        let expected: Value =
            serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
        let actual = folded.to_json(&verdict);
        assert!(actual == expected, "{}\nfolds to {actual:#}\nexpected {expected:#}", path.display());
    }
}

/// The same fold again, over whole `Value`s and without any of the dialect's code; for bodies without
/// oddities.
fn oracle(body: &str) -> (Folded, Verdict) {
    let mut folded = Folded::default();
    let mut done = false;
    for line in body.lines() {
        let Some(data) = line.strip_prefix("data:").map(str::trim) else { continue };
        if data == "[DONE]" {
            done = true;
            break;
        }
        let chunk: Value = serde_json::from_str(data).unwrap();
        let string = |value: &Value| value.as_str().filter(|s| !s.is_empty()).map(str::to_owned);
        if folded.meta.is_none() && (string(&chunk["id"]).is_some() || string(&chunk["model"]).is_some()) {
            folded.meta = Some((string(&chunk["model"]), string(&chunk["id"])));
        }
        for wire in chunk["choices"].as_array().into_iter().flatten() {
            let choice = folded.choices.entry(wire["index"].as_u64().unwrap() as u32).or_default();
            let delta = &wire["delta"];
            choice.text += delta["content"].as_str().unwrap_or_default();
            choice.refusal += delta["refusal"].as_str().unwrap_or_default();
            let details = || {
                let details = delta["reasoning_details"].as_array()?;
                Some(
                    details
                        .iter()
                        .filter_map(|d| d["text"].as_str().or(d["summary"].as_str()))
                        .collect::<String>(),
                )
            };
            choice.reasoning += &string(&delta["reasoning_content"])
                .or_else(|| string(&delta["reasoning"]))
                .or_else(details)
                .unwrap_or_default();
            for wire in delta["tool_calls"].as_array().into_iter().flatten() {
                let call = choice.tool_calls.entry(wire["index"].as_u64().unwrap() as u32).or_default();
                call.id = call.id.take().or(string(&wire["id"]));
                call.name = call.name.take().or(string(&wire["function"]["name"]));
                call.arguments += wire["function"]["arguments"].as_str().unwrap_or_default();
            }
            choice.finish = choice.finish.take().or(string(&wire["finish_reason"]));
        }
        let usage = [&chunk["usage"], &chunk["x_groq"]["usage"]].into_iter().find(|usage| usage.is_object());
        if let Some(usage) = usage {
            let (input, output) = (usage["prompt_tokens"].as_u64(), usage["completion_tokens"].as_u64());
            folded.usage = Some(Usage { input, output });
        }
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            let code = string(&error["code"]).or(string(&error["type"]));
            let code = error["code"].as_u64().map(|code| code.to_string()).or(code);
            folded.error = Some((code, string(&error["message"]).unwrap()));
            break;
        }
    }
    let finished =
        !folded.choices.is_empty() && folded.choices.values().all(|choice| choice.finish.is_some());
    let verdict = match &folded.error {
        Some((_, message)) => Verdict::Failed { message: message.clone() },
        None if done => Verdict::Terminal,
        None if finished => Verdict::Finished,
        None => Verdict::Unfinished,
    };
    // A choice that only ever said nothing has no events.
    folded.choices.retain(|_, choice| *choice != Choice::default());
    (folded, verdict)
}

#[test]
fn the_corpus_folds_without_loss() {
    let corpus = std::env::var_os("TOKENCAST_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"), PathBuf::from);
    let paths = bodies(&corpus, "openai_chat-");
    if paths.is_empty() {
        println!("skipped: no corpus");
        return;
    }
    for path in &paths {
        let body = std::fs::read(path).unwrap();
        let expected = oracle(std::str::from_utf8(&body).unwrap());
        let read = read(&blocks(&body));
        assert!(read == expected, "{}\nfolds to {read:#?}\nexpected {expected:#?}", path.display());
        assert_ne!(read.1, Verdict::Unfinished, "{}", path.display());
    }
    println!("{} recorded streams", paths.len());
}

/// A block of a fixture, perhaps with some of its bytes replaced, removed or inserted.
fn mutated() -> impl Strategy<Value = Bytes> {
    let blocks: Vec<Bytes> =
        fixtures().iter().flat_map(|path| blocks(&std::fs::read(path).unwrap())).collect();
    let bytes = prop_oneof![
        vec(any::<u8>(), 0..3),
        prop::sample::select(vec![
            "{", "}", "[", "]", "\"", ",", ":", "null", "1e999", "\\ud83d", "\\", "-1", "{}"
        ])
        .prop_map(|token| token.as_bytes().to_vec()),
    ];
    let edits = vec((any::<prop::sample::Index>(), 0..4usize, bytes), 0..3);
    (prop::sample::select(blocks), edits).prop_map(|(block, edits)| {
        let mut block = block.to_vec();
        for (at, remove, insert) in edits {
            let start = at.index(block.len().max(1)).min(block.len());
            let end = (start + remove).min(block.len());
            block.splice(start..end, insert);
        }
        block.into()
    })
}

fn config() -> ProptestConfig {
    // There is no `lib.rs` beside this file, where proptest would look for a place to keep failures.
    ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// `read` asserts that nothing follows a final verdict, and `Folded` the rules of events.
    #[test]
    fn any_bytes_are_survived(blocks in vec(vec(any::<u8>(), 0..64), 0..8)) {
        read(&blocks.into_iter().map(Bytes::from).collect::<Vec<_>>());
    }

    #[test]
    fn mutated_blocks_are_survived(blocks in vec(mutated(), 0..12)) {
        read(&blocks);
    }

    /// Text escaped unit by unit and cut into deltas at will, also inside of emoji.
    #[test]
    fn text_survives_any_cut(text in "[a-z\\\\\"\u{e9}\u{2028}\u{1f600}]{0,24}", size in 1..6usize) {
        let units: Vec<u16> = text.encode_utf16().collect();
        let block = |units: &[u16]| {
            let escapes: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            Bytes::from(format!("data: {{\"choices\":[{{\"text\":\"{escapes}\"}}]}}\n\n"))
        };
        let blocks: Vec<Bytes> = units.chunks(size).map(block).collect();
        let (folded, _) = read(&blocks);
        prop_assert_eq!(folded.choices.into_values().map(|choice| choice.text).collect::<String>(), text);
    }
}
