//! A chat for Google's `streamGenerateContent`.

use serde_json::{Value, json};

use super::{Outcome, Piece, Turn, inline, is_data, object, put, system};

/// The model is for the path.
pub(super) fn request(model: &str, turns: &[Turn]) -> Result<Value, String> {
    let mut request = json!({ "model": model, "contents": contents(turns)? });
    if let Some(system) = system(turns) {
        put(&mut request, "systemInstruction", json!({ "parts": [{ "text": system }] }));
    }
    Ok(request)
}

fn contents(turns: &[Turn]) -> Result<Vec<Value>, String> {
    let mut contents = Vec::new();
    for turn in turns {
        let (role, parts) = match turn {
            Turn::System(_) => continue,
            Turn::User(pieces) => ("user", pieces.iter().map(part).collect::<Result<Value, _>>()?),
            Turn::Assistant(pieces) => ("model", pieces.iter().map(part).collect::<Result<Value, _>>()?),
            Turn::Results(outcomes) => ("user", outcomes.iter().map(result).collect()),
        };
        contents.push(json!({ "role": role, "parts": parts }));
    }
    Ok(contents)
}

fn part(piece: &Piece) -> Result<Value, String> {
    match piece {
        Piece::Text(text) => Ok(json!({ "text": text })),
        Piece::Call { name, input, .. } => {
            Ok(json!({ "functionCall": { "name": name, "args": object(input) } }))
        }
        Piece::File { media_type, url, .. } if is_data(url) => {
            let (media_type, data) = inline(url, media_type)?;
            Ok(json!({ "inlineData": { "mimeType": media_type, "data": data } }))
        }
        Piece::File { media_type, url, .. } => {
            // Google takes no pattern for a type.
            let media_type = if media_type == "image/*" { "image/jpeg" } else { media_type };
            Ok(json!({ "fileData": { "mimeType": media_type, "fileUri": url } }))
        }
    }
}

fn result(Outcome { name, text, is_error, .. }: &Outcome) -> Value {
    let key = if *is_error { "error" } else { "output" };
    json!({ "functionResponse": { "name": name, "response": { key: text } } })
}
