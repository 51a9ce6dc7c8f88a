//! A chat for Anthropic's messages.

use serde_json::{Value, json};

use super::{Outcome, Piece, Turn, inline, is_data, no_such_file, object, put, system};

/// What Anthropic wants to be told: the most that all of its models have.
const MAX_TOKENS: u32 = 4096;

pub(super) fn request(model: &str, turns: &[Turn]) -> Result<Value, String> {
    let messages = messages(turns)?;
    let mut request =
        json!({ "model": model, "max_tokens": MAX_TOKENS, "messages": messages, "stream": true });
    if let Some(system) = system(turns) {
        put(&mut request, "system", system);
    }
    Ok(request)
}

fn messages(turns: &[Turn]) -> Result<Vec<Value>, String> {
    let mut messages = Vec::new();
    for turn in turns {
        let (role, content) = match turn {
            Turn::System(_) => continue,
            Turn::User(pieces) => ("user", pieces.iter().map(block).collect::<Result<Value, _>>()?),
            Turn::Assistant(pieces) => ("assistant", pieces.iter().map(block).collect::<Result<Value, _>>()?),
            Turn::Results(outcomes) => {
                let result = |Outcome { id, text, is_error, .. }: &Outcome| {
                    let mut result = json!({ "type": "tool_result", "tool_use_id": id, "content": text });
                    if *is_error {
                        put(&mut result, "is_error", true);
                    }
                    result
                };
                ("user", outcomes.iter().map(result).collect())
            }
        };
        messages.push(json!({ "role": role, "content": content }));
    }
    Ok(messages)
}

fn block(piece: &Piece) -> Result<Value, String> {
    match piece {
        Piece::Text(text) => Ok(json!({ "type": "text", "text": text })),
        Piece::Call { id, name, input } => {
            Ok(json!({ "type": "tool_use", "id": id, "name": name, "input": object(input) }))
        }
        Piece::File { media_type, url, .. } => {
            let kind = match &**media_type {
                "application/pdf" => "document",
                image if image.starts_with("image/") => "image",
                other => return Err(no_such_file(other, "images, or PDF as a data URL")),
            };
            let source = if is_data(url) {
                let (media_type, data) = inline(url, media_type)?;
                json!({ "type": "base64", "media_type": media_type, "data": data })
            } else {
                json!({ "type": "url", "url": url })
            };
            Ok(json!({ "type": kind, "source": source }))
        }
    }
}
