//! What the providers' own SDKs make of a body, and whether our events amount to the same.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::fold::{Folded, ToolCall, read};
use crate::node;
use crate::spoken::{ALL, Spoken};

/// What SDKs refuse although the provider said no error.
const COMPLAINTS: [&str; 2] = ["missing role for choice", "missing finish_reason for choice"];

/// Fixtures that they cannot be asked about: cut bodies, errors behind text, halves of emoji, and what servers send
/// that only resemble the provider.
const ODD: [(&str, &[&str]); 5] = [
    (
        "openai_chat",
        &[
            "function_call",
            "half_emoji",
            "legacy_completions",
            "llama_cpp_error",
            "mistral",
            "not_understood",
            "openrouter_error",
            "tools",
            "tools_without_index",
            "vllm_old_error",
        ],
    ),
    ("openai_responses", &["cut", "done_only", "without_places"]),
    ("anthropic", &["compatible", "cut", "half_emoji", "no_stop"]),
    ("gemini", &["calls_streamed", "cut", "error_bare", "half_emoji"]),
    ("ollama", &["cut", "half_emoji"]),
];

#[test]
fn the_providers_own_sdks_read_the_same() {
    let mut bodies = Vec::new();
    for spoken in &ALL {
        let odd = |path: &Path| {
            let (_, odd) = ODD.iter().find(|(name, _)| *name == spoken.name).unwrap();
            odd.contains(&&*path.file_stem().unwrap().to_string_lossy())
        };
        let fixtures = spoken.fixtures().into_iter().filter(|path| !odd(path));
        bodies.extend(fixtures.chain(spoken.recorded()).map(|path| (spoken, path)));
    }
    let expected = accumulated(&bodies);
    assert_eq!(expected.len(), bodies.len());
    let mut different = Vec::new();
    for ((spoken, path), expected) in bodies.iter().zip(&expected) {
        let (folded, _) = read(spoken, &spoken.blocks(&std::fs::read(path).unwrap()));
        different.extend(differences(&folded, expected).map(|line| format!("{}: {line}", path.display())));
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    println!("{} bodies", bodies.len());
}

/// Each body as its SDK accumulates it.
fn accumulated(bodies: &[(&Spoken, PathBuf)]) -> Vec<Value> {
    let line = |(spoken, path): &(&Spoken, PathBuf)| {
        json!({"dialect": spoken.name, "file": path.canonicalize().unwrap()}).to_string()
    };
    let lines = node::run("accumulate.mjs", bodies.iter().map(line));
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Where ours and theirs differ. Null is what they do not tell.
fn differences(ours: &Folded, theirs: &Value) -> impl Iterator<Item = String> + use<> {
    let choice = ours.choices.get(&0);
    let calls: Vec<_> = choice.iter().flat_map(|choice| choice.tool_calls.values()).map(call).collect();
    let told = json!({
        "text": choice.map_or("", |choice| &choice.text),
        "reasoning": choice.map_or("", |choice| &choice.reasoning),
        "finish": choice.and_then(|choice| choice.finish.as_ref()),
        "usage": ours.usage,
        "tool_calls": calls,
    });
    let mut different = Vec::new();
    for (member, ours) in told.as_object().unwrap() {
        let mut theirs = theirs[member].clone();
        for call in theirs.as_array_mut().into_iter().flatten() {
            call["arguments"] = arguments(call["arguments"].as_str().unwrap());
        }
        if !theirs.is_null() && *ours != theirs {
            different.push(format!("{member} is {ours}, should be {theirs}"));
        }
    }
    let complains = |error: &&str| COMPLAINTS.iter().any(|complaint| error.starts_with(complaint));
    let theirs = theirs["error"].as_str().filter(|error| !complains(error));
    let ours = ours.error.as_ref().map(|(_, message)| message.as_str());
    // Theirs may be the whole error around the message.
    if ours.is_some() != theirs.is_some() || !theirs.unwrap_or_default().contains(ours.unwrap_or_default()) {
        different.push(format!("error is {ours:?}, should be {theirs:?}"));
    }
    different.into_iter()
}

fn call(ToolCall { id, name, arguments: json }: &ToolCall) -> Value {
    json!({"id": id, "name": name, "arguments": arguments(json)})
}

/// Arguments as what they say: SDKs that parse them do not tell how they were written.
fn arguments(json: &str) -> Value {
    fn plain(value: Value) -> Value {
        match value {
            Value::Number(number) => number.as_f64().into(),
            Value::Array(list) => list.into_iter().map(plain).collect(),
            Value::Object(members) => members.into_iter().map(|(key, value)| (key, plain(value))).collect(),
            value => value,
        }
    }
    serde_json::from_str(json).map_or_else(|_| json.into(), plain)
}
