//! The AI SDK's messages as providers take them. A message has parts, of which some are for the page alone.

mod anthropic;
mod gemini;
mod ollama;
mod openai;

use serde::Deserialize;
use serde_json::{Value, json};

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
    name: String,
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
        "openai" => openai::request(model, &turns),
        "anthropic" => anthropic::request(model, &turns),
        "gemini" => gemini::request(model, &turns),
        "ollama" => ollama::request(model, &turns),
        other => Err(format!("chats do not go to providers of the dialect {other}")),
    }
}

/// What the model is told before everything, for those who say it apart.
fn system(turns: &[Turn]) -> Option<String> {
    let said = turns.iter().filter_map(|turn| match turn {
        Turn::System(text) => Some(text.as_str()),
        _ => None,
    });
    let said = said.collect::<Vec<_>>().join("\n\n");
    (!said.is_empty()).then_some(said)
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
            if !["data:", "https://", "http://"].iter().any(|scheme| url.starts_with(scheme)) {
                return Err("the url of a file starts with data:, https:// or http://".into());
            }
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
    let name = name.to_owned();
    let call = Piece::Call { id: id.clone(), name: name.clone(), input: input.clone() };
    Ok(Some((call, Outcome { id, name, text, is_error })))
}

impl Piece {
    fn text(&self) -> Option<&str> {
        match self {
            Piece::Text(text) => Some(text),
            Piece::File { .. } | Piece::Call { .. } => None,
        }
    }
}

/// The input of a call for those who take nothing but objects.
fn object(input: &Value) -> Value {
    if input.is_object() { input.clone() } else { json!({ "input": input }) }
}

fn is_data(url: &str) -> bool {
    url.starts_with("data:")
}

/// The media type and the base64 of a data URL.
fn inline<'a>(url: &'a str, media_type: &'a str) -> Result<(&'a str, &'a str), String> {
    let (head, data) = url.split_once(";base64,").ok_or("a data URL of a file has to be in base64")?;
    let own = head.trim_start_matches("data:").split(';').next().filter(|own| !own.is_empty());
    Ok((own.unwrap_or(media_type), data))
}

fn no_such_file(media_type: &str, what: &str) -> String {
    format!("a file of the type {media_type} cannot be sent to this provider: send {what}")
}

/// Adds a member to an object.
fn put(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests;
