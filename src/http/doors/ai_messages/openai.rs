//! A chat for OpenAI's chat completions.

use serde_json::{Value, json};

use super::{Outcome, Piece, Turn, is_data, no_such_file, put};

pub(super) fn request(model: &str, turns: &[Turn]) -> Result<Value, String> {
    Ok(json!({ "model": model, "messages": messages(turns)?, "stream": true }))
}

fn messages(turns: &[Turn]) -> Result<Vec<Value>, String> {
    let mut messages = Vec::new();
    for turn in turns {
        match turn {
            Turn::System(text) => messages.push(json!({ "role": "system", "content": text })),
            Turn::User(pieces) => {
                let content = match &pieces[..] {
                    [Piece::Text(text)] => text.as_str().into(),
                    pieces => pieces.iter().map(part).collect::<Result<Value, _>>()?,
                };
                messages.push(json!({ "role": "user", "content": content }));
            }
            Turn::Assistant(pieces) => {
                let text: String = pieces.iter().filter_map(Piece::text).collect();
                let calls: Vec<Value> = pieces.iter().filter_map(call).collect();
                let content = if text.is_empty() { Value::Null } else { text.into() };
                let mut message = json!({ "role": "assistant", "content": content });
                if !calls.is_empty() {
                    put(&mut message, "tool_calls", calls);
                }
                messages.push(message);
            }
            Turn::Results(outcomes) => messages.extend(outcomes.iter().map(
                |Outcome { id, text, .. }| json!({ "role": "tool", "tool_call_id": id, "content": text }),
            )),
        }
    }
    Ok(messages)
}

fn part(piece: &Piece) -> Result<Value, String> {
    match piece {
        Piece::File { media_type, url, .. } if media_type.starts_with("image/") => {
            Ok(json!({ "type": "image_url", "image_url": { "url": url } }))
        }
        Piece::File { media_type, url, name } if media_type == "application/pdf" && is_data(url) => {
            let name = name.as_deref().unwrap_or("document.pdf");
            Ok(json!({ "type": "file", "file": { "filename": name, "file_data": url } }))
        }
        Piece::File { media_type, .. } => Err(no_such_file(media_type, "images, or PDF as a data URL")),
        piece => Ok(json!({ "type": "text", "text": piece.text() })),
    }
}

fn call(piece: &Piece) -> Option<Value> {
    let Piece::Call { id, name, input } = piece else { return None };
    let function = json!({ "name": name, "arguments": input.to_string() });
    Some(json!({ "id": id, "type": "function", "function": function }))
}
