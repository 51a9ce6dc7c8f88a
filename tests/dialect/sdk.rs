//! What the providers' own SDKs make of a body, and whether our events amount to the same.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::fold::{Folded, ToolCall, read};
use crate::spoken::{ALL, Spoken};

/// What SDKs refuse although the provider said no error.
const COMPLAINTS: [&str; 2] = ["missing role for choice", "missing finish_reason for choice"];

#[test]
fn the_providers_own_sdks_read_the_same() {
    let bodies: Vec<_> =
        ALL.iter().flat_map(|spoken| spoken.recorded().into_iter().map(move |path| (spoken, path))).collect();
    let expected = accumulated(&bodies);
    assert_eq!(expected.len(), bodies.len());
    let mut different = Vec::new();
    for ((spoken, path), expected) in bodies.iter().zip(&expected) {
        let (folded, _) = read(spoken, &spoken.blocks(&std::fs::read(path).unwrap()));
        let name = path.file_name().unwrap().to_string_lossy();
        different.extend(differences(&folded, expected).map(|line| format!("{name}: {line}")));
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    println!("{} bodies", bodies.len());
}

/// Each body as its SDK accumulates it.
fn accumulated(bodies: &[(&Spoken, PathBuf)]) -> Vec<Value> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle");
    // The last file that npm writes, so a run that was cut off does not count.
    if !dir.join("node_modules/.package-lock.json").exists() {
        let status = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&dir).status();
        assert!(status.expect("this test needs npm").success(), "npm ci in {dir:?}");
    }
    let mut node = Command::new("node")
        .arg("accumulate.mjs")
        .current_dir(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs node");
    let mut stdin = node.stdin.take().unwrap();
    for (spoken, path) in bodies {
        let path = path.canonicalize().unwrap();
        writeln!(stdin, "{}", json!({"dialect": spoken.name, "file": path})).unwrap();
    }
    drop(stdin);
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
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
    serde_json::from_str(json).unwrap_or_else(|_| json.into())
}
