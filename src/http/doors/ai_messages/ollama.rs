//! A chat for Ollama's own API.

use serde_json::{Value, json};

use super::{Outcome, Piece, Turn, inline, is_data, no_such_file, object, put};

pub(super) fn request(model: &str, turns: &[Turn]) -> Result<Value, String> {
    let mut messages = Vec::new();
    for turn in turns {
        match turn {
            Turn::System(text) => messages.push(json!({ "role": "system", "content": text })),
            Turn::User(pieces) => messages.push(message("user", pieces)?),
            Turn::Assistant(pieces) => messages.push(message("assistant", pieces)?),
            Turn::Results(outcomes) => messages.extend(outcomes.iter().map(
                |Outcome { name, text, .. }| json!({ "role": "tool", "tool_name": name, "content": text }),
            )),
        }
    }
    Ok(json!({ "model": model, "messages": messages, "stream": true }))
}

/// A message has its text, its images and its calls each in a place of their own.
fn message(role: &str, pieces: &[Piece]) -> Result<Value, String> {
    let text: String = pieces.iter().filter_map(Piece::text).collect();
    let mut message = json!({ "role": role, "content": text });
    let images: Vec<&str> = pieces.iter().filter_map(image).collect::<Result<_, _>>()?;
    if !images.is_empty() {
        put(&mut message, "images", images);
    }
    let calls: Vec<Value> = pieces.iter().filter_map(call).collect();
    if !calls.is_empty() {
        put(&mut message, "tool_calls", calls);
    }
    Ok(message)
}

fn image(piece: &Piece) -> Option<Result<&str, String>> {
    let Piece::File { media_type, url, .. } = piece else { return None };
    if !media_type.starts_with("image/") || !is_data(url) {
        return Some(Err(no_such_file(media_type, "images, each as a data URL")));
    }
    Some(inline(url, media_type).map(|(_, data)| data))
}

fn call(piece: &Piece) -> Option<Value> {
    let Piece::Call { name, input, .. } = piece else { return None };
    Some(json!({ "function": { "name": name, "arguments": object(input) } }))
}
