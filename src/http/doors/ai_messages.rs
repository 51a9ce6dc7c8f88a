//! The AI SDK's messages as providers take them. A message has parts, of which some are for the page alone.

use serde::Deserialize;
use serde_json::{Value, json};

/// What Anthropic wants to be told: the most that all of its models have.
const MAX_TOKENS: u32 = 4096;
/// Said of a call that a person did not allow.
const DENIED: &str = "Tool call execution denied.";

/// One message as `useChat` has it.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) id: Option<String>,
    pub(super) role: String,
    #[serde(default)]
    parts: Vec<Value>,
    /// Instead of parts, as older versions have it.
    content: Option<String>,
}

/// What a provider is told, whoever it is.
#[derive(Debug)]
enum Turn {
    System(String),
    User(Vec<Piece>),
    Assistant(Vec<Piece>),
    Results(Vec<Outcome>),
}

#[derive(Debug)]
enum Piece {
    Text(String),
    File { media_type: String, url: String, name: Option<String> },
    Call { id: String, name: String, input: Value },
}

/// What came of a tool call.
#[derive(Debug)]
struct Outcome {
    id: String,
    text: String,
    is_error: bool,
}

/// The request for these messages, in the words of this dialect.
pub(super) fn request(dialect: &str, model: &str, messages: &[Message]) -> Result<Value, String> {
    let mut turns = Vec::new();
    for (place, message) in messages.iter().enumerate() {
        read(message, &mut turns).map_err(|problem| format!("messages[{place}]: {problem}"))?;
    }
    if !turns.iter().any(|turn| !matches!(turn, Turn::System(_))) {
        return Err("messages: there is nothing to answer".into());
    }
    match dialect {
        "openai" => Ok(json!({ "model": model, "messages": openai(&turns)?, "stream": true })),
        "anthropic" => {
            let system = turns.iter().filter_map(|turn| match turn {
                Turn::System(text) => Some(text.as_str()),
                _ => None,
            });
            let system = system.collect::<Vec<_>>().join("\n\n");
            let messages = anthropic(&turns)?;
            let mut request =
                json!({ "model": model, "max_tokens": MAX_TOKENS, "messages": messages, "stream": true });
            if !system.is_empty() {
                request["system"] = system.into();
            }
            Ok(request)
        }
        other => {
            Err(format!("chats go to providers of the dialects openai and anthropic, and not yet to {other}"))
        }
    }
}

fn read(message: &Message, turns: &mut Vec<Turn>) -> Result<(), String> {
    let content;
    let parts = match &message.content {
        Some(text) if message.parts.is_empty() => {
            content = [json!({ "type": "text", "text": text })];
            &content[..]
        }
        _ => &message.parts,
    };
    match &*message.role {
        "system" => {
            let texts =
                parts.iter().filter(|part| part["type"] == "text").filter_map(|part| part["text"].as_str());
            turns.push(Turn::System(texts.collect()));
        }
        "user" => {
            let pieces =
                parts.iter().filter_map(|part| piece(part).transpose()).collect::<Result<Vec<_>, _>>()?;
            if !pieces.is_empty() {
                turns.push(Turn::User(pieces));
            }
        }
        "assistant" => {
            // Calls and their results are told step by step.
            for step in parts.split(|part| part["type"] == "step-start") {
                let (mut pieces, mut results) = (Vec::new(), Vec::new());
                for part in step {
                    if let Some((call, result)) = tool(part)? {
                        pieces.push(call);
                        results.push(result);
                    } else if let Some(piece @ Piece::Text(_)) = piece(part)? {
                        pieces.push(piece);
                    }
                }
                if !pieces.is_empty() {
                    turns.push(Turn::Assistant(pieces));
                }
                if !results.is_empty() {
                    turns.push(Turn::Results(results));
                }
            }
        }
        role => return Err(format!("the role {role:?} is not known: write system, user or assistant")),
    }
    Ok(())
}

/// What is for the provider to read. Reasoning is not: it belongs to the model that has said it.
fn piece(part: &Value) -> Result<Option<Piece>, String> {
    let text = |key: &str| part[key].as_str().map(str::to_owned);
    match part["type"].as_str() {
        Some("text") => Ok(text("text").filter(|text| !text.is_empty()).map(Piece::Text)),
        Some("file") => {
            let url = text("url").ok_or("a file has no url")?;
            let media_type = text("mediaType").ok_or("a file has no mediaType")?;
            Ok(Some(Piece::File { media_type, url, name: text("filename") }))
        }
        Some(_) => Ok(None),
        None => Err("a part has no type".into()),
    }
}

/// A call and what came of it. One that nothing came of yet is not told: providers refuse it.
fn tool(part: &Value) -> Result<Option<(Piece, Outcome)>, String> {
    let kind = part["type"].as_str().unwrap_or_default();
    let name = match kind {
        "dynamic-tool" => part["toolName"].as_str().ok_or("a tool part has no toolName")?,
        _ => match kind.strip_prefix("tool-") {
            Some(name) => name,
            None => return Ok(None),
        },
    };
    let id = part["toolCallId"].as_str().ok_or("a tool part has no toolCallId")?.to_owned();
    let text = |key: &str| part[key].as_str().unwrap_or_default().to_owned();
    let (text, is_error) = match part["state"].as_str() {
        Some("output-available") => match &part["output"] {
            Value::String(text) => (text.clone(), false),
            output => (output.to_string(), false),
        },
        Some("output-error") => (text("errorText"), true),
        Some("output-denied") => (DENIED.to_owned(), true),
        _ => return Ok(None),
    };
    let input = if part["input"].is_null() { &part["rawInput"] } else { &part["input"] };
    let call = Piece::Call { id: id.clone(), name: name.to_owned(), input: input.clone() };
    Ok(Some((call, Outcome { id, text, is_error })))
}

fn openai(turns: &[Turn]) -> Result<Vec<Value>, String> {
    let mut messages = Vec::new();
    for turn in turns {
        match turn {
            Turn::System(text) => messages.push(json!({ "role": "system", "content": text })),
            Turn::User(pieces) => {
                let content = match &pieces[..] {
                    [Piece::Text(text)] => text.as_str().into(),
                    pieces => pieces.iter().map(openai_part).collect::<Result<Value, _>>()?,
                };
                messages.push(json!({ "role": "user", "content": content }));
            }
            Turn::Assistant(pieces) => {
                let text: String = pieces.iter().filter_map(Piece::text).collect();
                let calls: Vec<Value> = pieces.iter().filter_map(openai_call).collect();
                let content = if text.is_empty() { Value::Null } else { text.into() };
                let mut message = json!({ "role": "assistant", "content": content });
                if !calls.is_empty() {
                    message["tool_calls"] = calls.into();
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

fn openai_part(piece: &Piece) -> Result<Value, String> {
    match piece {
        Piece::File { media_type, url, .. } if media_type.starts_with("image/") => {
            Ok(json!({ "type": "image_url", "image_url": { "url": url } }))
        }
        Piece::File { media_type, url, name } if media_type == "application/pdf" && is_data(url) => {
            let name = name.as_deref().unwrap_or("document.pdf");
            Ok(json!({ "type": "file", "file": { "filename": name, "file_data": url } }))
        }
        Piece::File { media_type, .. } => Err(no_such_file(media_type)),
        piece => Ok(json!({ "type": "text", "text": piece.text() })),
    }
}

fn openai_call(piece: &Piece) -> Option<Value> {
    let Piece::Call { id, name, input } = piece else { return None };
    let function = json!({ "name": name, "arguments": input.to_string() });
    Some(json!({ "id": id, "type": "function", "function": function }))
}

fn anthropic(turns: &[Turn]) -> Result<Vec<Value>, String> {
    let mut messages = Vec::new();
    for turn in turns {
        let (role, content) = match turn {
            Turn::System(_) => continue,
            Turn::User(pieces) => ("user", pieces.iter().map(anthropic_block).collect::<Result<Value, _>>()?),
            Turn::Assistant(pieces) => {
                ("assistant", pieces.iter().map(anthropic_block).collect::<Result<Value, _>>()?)
            }
            Turn::Results(outcomes) => {
                let result = |Outcome { id, text, is_error }: &Outcome| {
                    let mut result = json!({ "type": "tool_result", "tool_use_id": id, "content": text });
                    if *is_error {
                        result["is_error"] = true.into();
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

fn anthropic_block(piece: &Piece) -> Result<Value, String> {
    match piece {
        Piece::Text(text) => Ok(json!({ "type": "text", "text": text })),
        Piece::Call { id, name, input } => {
            let input = if input.is_object() { input.clone() } else { json!({ "input": input }) };
            Ok(json!({ "type": "tool_use", "id": id, "name": name, "input": input }))
        }
        Piece::File { media_type, url, .. } => {
            let kind = match &**media_type {
                "application/pdf" => "document",
                image if image.starts_with("image/") => "image",
                other => return Err(no_such_file(other)),
            };
            let source = if is_data(url) {
                let (head, data) =
                    url.split_once(";base64,").ok_or("a data URL of a file has to be in base64")?;
                let own = head.trim_start_matches("data:").split(';').next().filter(|own| !own.is_empty());
                json!({ "type": "base64", "media_type": own.unwrap_or(media_type), "data": data })
            } else {
                json!({ "type": "url", "url": url })
            };
            Ok(json!({ "type": kind, "source": source }))
        }
    }
}

impl Piece {
    fn text(&self) -> Option<&str> {
        match self {
            Piece::Text(text) => Some(text),
            Piece::File { .. } | Piece::Call { .. } => None,
        }
    }
}

fn is_data(url: &str) -> bool {
    url.starts_with("data:")
}

fn no_such_file(media_type: &str) -> String {
    format!(
        "a file of the type {media_type} cannot be sent to this provider: send images, or PDF as a data URL"
    )
}

#[cfg(test)]
mod tests;
