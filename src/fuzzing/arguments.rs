//! Arguments of tool calls as Gemini streams them: values by their path.

use serde_json::{Value, json};

use crate::cast::event::Event;
use crate::dialect::Family;

/// Deeper ones are left out by the dialect.
const DEPTH_MAX: usize = 128;

/// An object told value by value is that object; any list of values is some JSON, or nothing.
pub fn arguments(bytes: &[u8]) {
    match serde_json::from_slice(bytes) {
        Ok(object @ Value::Object(_)) if depth(&object) <= DEPTH_MAX => {
            let mut values = Vec::new();
            tell("$", &object, 1 + bytes.len() % 5, &mut values);
            let joined = joined(&values, 1 + bytes.len() % 3);
            if values.is_empty() {
                assert_eq!(joined, "");
            } else {
                assert_eq!(serde_json::from_str::<Value>(&joined).ok(), Some(object), "{joined}");
            }
        }
        Ok(Value::Array(values)) => {
            let joined = joined(&values, 2);
            let is_json = || serde_json::from_str::<&serde_json::value::RawValue>(&joined).is_ok();
            assert!(joined.is_empty() || is_json(), "{joined}");
        }
        _ => {}
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// What stands at `path`, with strings in pieces of some characters.
fn tell(path: &str, value: &Value, chars: usize, values: &mut Vec<Value>) {
    match value {
        Value::Object(members) => {
            if members.is_empty() && path != "$" {
                values.push(json!({ "jsonPath": path }));
            }
            for (key, member) in members {
                tell(&format!("{path}{}", step(key)), member, chars, values);
            }
        }
        Value::Array(items) => {
            if items.is_empty() {
                values.push(json!({ "jsonPath": format!("{path}[]") }));
            }
            for (index, item) in items.iter().enumerate() {
                tell(&format!("{path}[{index}]"), item, chars, values);
            }
        }
        Value::String(text) => {
            let text: Vec<char> = text.chars().collect();
            let mut pieces: Vec<String> = text.chunks(chars).map(|piece| piece.iter().collect()).collect();
            let last = pieces.pop().unwrap_or_default();
            for piece in pieces {
                values.push(json!({ "jsonPath": path, "stringValue": piece, "willContinue": true }));
            }
            values.push(json!({ "jsonPath": path, "stringValue": last }));
        }
        Value::Number(number) => values.push(json!({ "jsonPath": path, "numberValue": number })),
        Value::Bool(bool) => values.push(json!({ "jsonPath": path, "boolValue": bool })),
        Value::Null => values.push(json!({ "jsonPath": path, "nullValue": null })),
    }
}

fn step(key: &str) -> String {
    if !key.is_empty() && key.chars().all(char::is_alphanumeric) {
        return format!(".{key}");
    }
    format!("['{}']", key.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The arguments that the dialect makes of these values, some of them in each chunk.
fn joined(values: &[Value], per_chunk: usize) -> String {
    let mut dialect = Family::Gemini.dialect("");
    let mut events = Vec::new();
    let mut call = json!({ "name": "f", "willContinue": true });
    let last = json!({ "partialArgs": [] });
    let chunks =
        values.chunks(per_chunk).map(|values| json!({ "partialArgs": values, "willContinue": true }));
    for chunk in chunks.chain([last]) {
        for (key, value) in chunk.as_object().into_iter().flatten() {
            call[key] = value.clone();
        }
        if chunk["willContinue"].is_null() {
            call["willContinue"] = false.into();
        }
        let chunk = json!({ "candidates": [{ "content": { "parts": [{ "functionCall": call }] } }] });
        dialect.read(format!("data: {chunk}\n\n").as_bytes(), &mut events);
        call = json!({});
    }
    let arguments = events.iter().filter_map(|event| match event {
        Event::ToolCall { index: 0, arguments, .. } => Some(arguments.as_str()),
        _ => None,
    });
    arguments.collect()
}
