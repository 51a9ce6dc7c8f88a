//! Readers of what is said, each of one dialect and of no other.

use serde_json::{Value, json};

use super::super::*;

/// Names and data of a body's events, which has nothing else in it.
pub(super) fn events(endpoint: &Endpoint, body: &str) -> Vec<(Option<String>, String)> {
    // What a reader that forgives lone surrogates makes of the halves of an emoji.
    let body = body.replace("\\ud83d", "😀").replace("\\ude00", "");
    if endpoint.is_ndjson() {
        assert!(body.is_empty() || body.ends_with('\n'));
        return body.lines().map(|line| (None, line.to_owned())).collect();
    }
    let end = endpoint.line_end().repeat(2);
    let blocks: Vec<_> = body.split(&end).collect();
    assert_eq!(blocks.last(), Some(&""), "an unfinished block");
    let block = |block: &&str| {
        let lines: Vec<_> = block.split(endpoint.line_end()).collect();
        let (name, data) = match lines[..] {
            [data] => (None, data),
            [name, data] => (Some(name.strip_prefix("event: ").unwrap().to_owned()), data),
            _ => panic!("{block:?}"),
        };
        (name, data.strip_prefix("data: ").unwrap().to_owned())
    };
    blocks[..blocks.len() - 1].iter().map(block).collect()
}

/// What a client makes of an answer.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Heard {
    pub(super) content: String,
    pub(super) reasoning: String,
    pub(super) refusal: String,
    pub(super) calls: Vec<(String, Value)>,
    /// Prompt and completion.
    pub(super) usage: (u64, u64),
}

pub(super) fn scripted(ask: &Ask) -> Heard {
    let mut script = Script::new(ask);
    let turn = turn::Turn::all(&mut script).unwrap().pop().unwrap();
    let calls = turn.calls.iter().map(|call| (call.name.clone(), call.arguments())).collect();
    let turn::Turn { content, reasoning, refusal, .. } = turn;
    Heard { content, reasoning, refusal, calls, usage: (script.usage().prompt, script.usage().completion) }
}

fn append(text: &mut String, value: &Value) {
    text.push_str(value.as_str().unwrap_or_default());
}

fn called(name: &Value, arguments: &str) -> (String, Value) {
    (name.as_str().unwrap().to_owned(), serde_json::from_str(arguments).unwrap())
}

fn usage(json: &Value, prompt: &str, completion: &[&str]) -> (u64, u64) {
    let completion = completion.iter().filter_map(|name| json[*name].as_u64()).sum();
    (json[prompt].as_u64().unwrap(), completion)
}

fn chat(events: &[(Option<String>, String)]) -> Heard {
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(last, &(None, "[DONE]".to_owned()));
    let mut heard = Heard::default();
    let mut calls: Vec<(Value, String)> = Vec::new();
    for (_, data) in chunks {
        let chunk: Value = serde_json::from_str(data).unwrap();
        let delta = &chunk["choices"][0]["delta"];
        append(&mut heard.content, &delta["content"]);
        append(&mut heard.reasoning, &delta["reasoning_content"]);
        append(&mut heard.refusal, &delta["refusal"]);
        if let Some(call) = delta["tool_calls"].get(0) {
            if call.get("id").is_some() {
                calls.push((call["function"]["name"].clone(), String::new()));
            }
            append(&mut calls.last_mut().unwrap().1, &call["function"]["arguments"]);
        }
        if chunk["usage"].is_object() {
            heard.usage = usage(&chunk["usage"], "prompt_tokens", &["completion_tokens"]);
        }
    }
    heard.calls = calls.iter().map(|(name, arguments)| called(name, arguments)).collect();
    heard
}

/// What the items of a response amount to.
fn responded(response: &Value) -> Heard {
    let mut heard = Heard::default();
    for item in response["output"].as_array().unwrap() {
        match item["type"].as_str().unwrap() {
            "reasoning" => append(&mut heard.reasoning, &item["summary"][0]["text"]),
            "message" => {
                append(&mut heard.content, &item["content"][0]["text"]);
                append(&mut heard.refusal, &item["content"][0]["refusal"]);
            }
            "function_call" => {
                heard.calls.push(called(&item["name"], item["arguments"].as_str().unwrap()));
            }
            other => panic!("{other}"),
        }
    }
    heard.usage = usage(&response["usage"], "input_tokens", &["output_tokens"]);
    heard
}

fn responses(events: &[(Option<String>, String)]) -> Heard {
    let events: Vec<Value> = events
        .iter()
        .enumerate()
        .map(|(number, (name, data))| {
            let event: Value = serde_json::from_str(data).unwrap();
            assert_eq!(
                (event["type"].as_str(), event["sequence_number"].as_u64()),
                (name.as_deref(), Some(number as u64))
            );
            event
        })
        .collect();
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[..2], ["response.created", "response.in_progress"]);
    let response = &events.last().unwrap()["response"];
    let (mut item, mut text) = (Value::Null, String::new());
    for event in &events[2..events.len() - 1] {
        let kind = event["type"].as_str().unwrap();
        match kind {
            "keepalive" => continue,
            "response.output_item.added" => {
                assert!(item.is_null());
                (item, text) = (event["item"].clone(), String::new());
            }
            "response.output_item.done" => {
                assert_eq!(event["item"]["id"], item["id"]);
                let index = event["output_index"].as_u64().unwrap() as usize;
                assert_eq!(event["item"], response["output"][index], "said in items as in the response");
                item = Value::Null;
            }
            _ => {
                assert_eq!(event["item_id"], item["id"], "{kind}");
                if kind.ends_with(".delta") {
                    append(&mut text, &event["delta"]);
                } else if !kind.contains("_part.") {
                    let whole = [&event["text"], &event["arguments"], &event["refusal"]];
                    assert!(kind.ends_with(".done") && whole.iter().any(|whole| **whole == text), "{kind}");
                }
            }
        }
    }
    assert!(item.is_null());
    assert_eq!(kinds.last(), Some(&"response.completed"));
    assert_eq!((&response["status"], &response["id"]), (&json!("completed"), &events[0]["response"]["id"]));
    responded(response)
}

fn anthropic(events: &[(Option<String>, String)]) -> Heard {
    let mut heard = Heard::default();
    let mut open: Option<(String, Value, String)> = None;
    let mut kinds = Vec::new();
    let mut index = 0;
    for (name, data) in events {
        let event: Value = serde_json::from_str(data).unwrap();
        let kind = event["type"].as_str().unwrap();
        assert_eq!(name.as_deref(), Some(kind));
        kinds.push(kind.to_owned());
        if kind.starts_with("content_block_") {
            assert_eq!(event["index"].as_u64(), Some(index));
        }
        match kind {
            "message_start" => heard.usage.0 = event["message"]["usage"]["input_tokens"].as_u64().unwrap(),
            "message_delta" => {
                assert!(open.is_none() && event["delta"]["stop_reason"].is_string());
                heard.usage.1 = event["usage"]["output_tokens"].as_u64().unwrap();
            }
            "content_block_start" => {
                let block = &event["content_block"];
                assert!(open.is_none());
                open =
                    Some((block["type"].as_str().unwrap().to_owned(), block["name"].clone(), String::new()));
            }
            "content_block_delta" => {
                let (block, _, json) = open.as_mut().unwrap();
                let delta = &event["delta"];
                match (block.as_str(), delta["type"].as_str().unwrap()) {
                    ("thinking", "thinking_delta") => append(&mut heard.reasoning, &delta["thinking"]),
                    ("thinking", "signature_delta") => append(json, &delta["signature"]),
                    ("text", "text_delta") => append(&mut heard.content, &delta["text"]),
                    ("tool_use", "input_json_delta") => append(json, &delta["partial_json"]),
                    other => panic!("{other:?}"),
                }
            }
            "content_block_stop" => {
                let (block, name, json) = open.take().unwrap();
                index += 1;
                match block.as_str() {
                    "tool_use" => heard.calls.push(called(&name, &json)),
                    "thinking" => assert!(!json.is_empty(), "signed"),
                    _ => {}
                }
            }
            "ping" | "message_stop" => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!(kinds[..2], ["message_start", "ping"]);
    assert_eq!(kinds[kinds.len() - 2..], ["message_delta", "message_stop"]);
    heard
}

fn hear_gemini(heard: &mut Heard, answer: &Value) {
    let candidate = &answer["candidates"][0];
    assert_eq!(candidate["content"]["role"], "model");
    for part in candidate["content"]["parts"].as_array().unwrap() {
        match part.get("functionCall") {
            Some(call) => heard.calls.push(called(&call["name"], &call["args"].to_string())),
            None if part["thought"] == true => append(&mut heard.reasoning, &part["text"]),
            None => append(&mut heard.content, &part["text"]),
        }
    }
    let now =
        usage(&answer["usageMetadata"], "promptTokenCount", &["candidatesTokenCount", "thoughtsTokenCount"]);
    assert!(now >= heard.usage, "cumulative");
    heard.usage = now;
}

fn gemini(events: &[(Option<String>, String)]) -> Heard {
    let mut heard = Heard::default();
    for (at, (name, data)) in events.iter().enumerate() {
        let chunk: Value = serde_json::from_str(data).unwrap();
        assert!(name.is_none() && chunk["responseId"].is_string() && chunk["modelVersion"] == "m");
        let finished = chunk["candidates"][0].get("finishReason").is_some();
        assert_eq!(finished, at + 1 == events.len());
        hear_gemini(&mut heard, &chunk);
    }
    heard
}

fn hear_ollama(heard: &mut Heard, line: &Value) {
    let said = line.get("message").unwrap_or(line);
    append(
        &mut heard.content,
        if said.get("content").is_some() { &said["content"] } else { &line["response"] },
    );
    append(&mut heard.reasoning, &said["thinking"]);
    for call in said["tool_calls"].as_array().into_iter().flatten() {
        heard.calls.push(called(&call["function"]["name"], &call["function"]["arguments"].to_string()));
    }
    if line["done"] == true {
        assert!(line["done_reason"].is_string());
        heard.usage = usage(line, "prompt_eval_count", &["eval_count"]);
    }
}

fn ollama(events: &[(Option<String>, String)]) -> Heard {
    let mut heard = Heard::default();
    for (at, (_, data)) in events.iter().enumerate() {
        let line: Value = serde_json::from_str(data).unwrap();
        assert!(line["model"] == "m" && line["created_at"].as_str().unwrap().ends_with('Z'), "{line}");
        assert_eq!(line["done"], at + 1 == events.len());
        hear_ollama(&mut heard, &line);
    }
    heard
}

pub(super) fn streamed(endpoint: &Endpoint, body: &str) -> Heard {
    let events = events(endpoint, body);
    match endpoint {
        Endpoint::OpenaiChat => chat(&events),
        Endpoint::OpenaiResponses => responses(&events),
        Endpoint::Anthropic => anthropic(&events),
        Endpoint::Gemini { .. } => gemini(&events),
        Endpoint::OllamaChat | Endpoint::OllamaGenerate => ollama(&events),
    }
}

pub(super) fn whole(endpoint: &Endpoint, answer: &Value) -> Heard {
    let mut heard = Heard::default();
    match endpoint {
        Endpoint::OpenaiChat => {
            let message = &answer["choices"][0]["message"];
            append(&mut heard.content, &message["content"]);
            append(&mut heard.reasoning, &message["reasoning_content"]);
            append(&mut heard.refusal, &message["refusal"]);
            for call in message["tool_calls"].as_array().into_iter().flatten() {
                let function = &call["function"];
                heard.calls.push(called(&function["name"], function["arguments"].as_str().unwrap()));
            }
            heard.usage = usage(&answer["usage"], "prompt_tokens", &["completion_tokens"]);
        }
        Endpoint::OpenaiResponses => return responded(answer),
        Endpoint::Anthropic => {
            assert_eq!(answer["type"], "message");
            for block in answer["content"].as_array().unwrap() {
                append(&mut heard.content, &block["text"]);
                append(&mut heard.reasoning, &block["thinking"]);
                if block["type"] == "tool_use" {
                    heard.calls.push(called(&block["name"], &block["input"].to_string()));
                }
            }
            heard.usage = usage(&answer["usage"], "input_tokens", &["output_tokens"]);
        }
        Endpoint::Gemini { .. } => hear_gemini(&mut heard, answer),
        Endpoint::OllamaChat | Endpoint::OllamaGenerate => hear_ollama(&mut heard, answer),
    }
    heard
}
