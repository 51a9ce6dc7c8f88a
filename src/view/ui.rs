//! Choice 0 as the AI SDK's UI message stream: parts that open and close, in its chunks and its order. docs/protocol.md
//! is its specification.

use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::cast::block::Seq;
use crate::cast::end::End;
use crate::cast::event::{Event, Prose, Usage};
use crate::cast::id::Id;
use crate::cast::log::{Part, Rendering};
use crate::cast::thread::{Call, Thread};

/// Behind everything.
pub const DONE: &[u8] = b"data: [DONE]\n\n";

/// What a tool is called that the provider gives no name.
const NAMELESS: &str = "unknown";

/// A frame's chunks, and the cursor behind it.
#[derive(Debug)]
pub struct Ui;

impl Rendering for Ui {
    fn slot(&self) -> usize {
        4
    }

    fn has_thread(&self) -> bool {
        true
    }

    fn frame(&self, part: &Part<'_>, thread: &mut Thread, out: &mut Vec<u8>) {
        let begin = out.len();
        // What is said of other choices, or of none, does not part what belongs together.
        let mut events =
            part.events.iter().map(|(_, event)| event).filter(|event| event.choice() == Some(0)).peekable();
        let mut merged;
        while let Some(mut event) = events.next() {
            if events.peek().is_some_and(|next| event.continues_in(next)) {
                merged = event.clone();
                while let Some(more) = events.next_if(|next| merged.continues_in(next)) {
                    merged.extend(more);
                }
                event = &merged;
            }
            match event {
                Event::Prose { kind, text, .. } => say(thread, *kind, text, out),
                Event::ToolCall { index, .. } => call(thread, *index, event, out),
                Event::Finish { .. } => {
                    hush(thread, out);
                    close_all(thread, out);
                }
                Event::Meta { .. } | Event::Usage(_) | Event::Error { .. } => {}
            }
        }
        if let Some((cursor, _)) = part.events.last().filter(|_| out.len() > begin) {
            let data = Place { id: stream(thread.stream.as_ref()), cursor: *cursor };
            chunk(out, &Cursor { r#type: "data-tokencast", data, transient: true });
        }
    }

    fn end(&self, end: &End, thread: &mut Thread, out: &mut Vec<u8>) {
        hush(thread, out);
        let metadata = end.usage.map(|usage| json!({ "usage": counted(usage) }));
        let (reason, code) = end.why.wire();
        if end.is_completed() {
            close_all(thread, out);
            chunk(out, &json!({ "type": "finish-step" }));
            finish(out, finish_reason(end.finish.as_deref(), thread.has_calls()), metadata);
        } else if reason == "cancelled" {
            chunk(out, &json!({ "type": "abort", "reason": code }));
            chunk(out, &json!({ "type": "finish-step" }));
            // Some clients come again, and at once, until they have seen this.
            finish(out, "other", metadata);
        } else {
            if let Some(metadata) = metadata {
                chunk(out, &json!({ "type": "message-metadata", "messageMetadata": metadata }));
            }
            let message = end.message.clone();
            let message = message.unwrap_or_else(|| format!("the stream ended: {}", code.unwrap_or(reason)));
            chunk(out, &json!({ "type": "error", "errorText": message }));
        }
        out.extend_from_slice(DONE);
    }
}

/// What stands before the first frame, so that an answer is there before the provider's is.
pub fn opening(message_id: &str) -> Vec<u8> {
    let mut out = Vec::new();
    chunk(&mut out, &json!({ "type": "start", "messageId": message_id }));
    chunk(&mut out, &json!({ "type": "start-step" }));
    out
}

#[derive(Serialize)]
struct Cursor<'a> {
    r#type: &'static str,
    data: Place<'a>,
    transient: bool,
}

fn stream(id: Option<&Id>) -> &str {
    id.map_or("", Id::as_str)
}

#[derive(Serialize)]
struct Place<'a> {
    id: &'a str,
    cursor: Seq,
}

/// More of some prose, in a part of its own if other things were said meanwhile.
fn say(thread: &mut Thread, kind: Prose, text: &str, out: &mut Vec<u8>) {
    if text.is_empty() {
        return;
    }
    if thread.prose != Some(kind) {
        hush(thread, out);
        leave(thread, None, out);
        thread.prose = Some(kind);
        thread.runs += 1;
        prose(thread, kind, "start", None, out);
    }
    prose(thread, kind, "delta", Some(text), out);
}

/// Closes the part of the prose that was being said.
fn hush(thread: &mut Thread, out: &mut Vec<u8>) {
    if let Some(kind) = thread.prose.take() {
        prose(thread, kind, "end", None, out);
    }
}

fn prose(thread: &Thread, kind: Prose, what: &str, delta: Option<&str>, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Chunk<'a> {
        r#type: fmt::Arguments<'a>,
        id: fmt::Arguments<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        delta: Option<&'a str>,
    }
    // A refusal is what the model says: nobody who reads the answer may miss it.
    let name = if kind == Prose::Reasoning { "reasoning" } else { "text" };
    let (r#type, id) = (format_args!("{name}-{what}"), format_args!("{name}-{}", thread.runs));
    chunk(out, &Chunk { r#type, id, delta });
}

/// More of a tool call. It begins when its name is known.
fn call(thread: &mut Thread, index: u32, event: &Event, out: &mut Vec<u8>) {
    let Event::ToolCall { id, name, arguments, .. } = event else { return };
    hush(thread, out);
    leave(thread, Some(index), out);
    thread.tell(index, |call, of| {
        call.id = call.id.take().or_else(|| id.clone());
        call.name = call.name.take().or_else(|| name.clone());
        call.push(arguments);
        if call.has_begun {
            input(call, arguments, out);
        } else if call.name.is_some() {
            begin(call, stream(of), index, out);
        }
    });
}

fn begin(call: &mut Call, stream: &str, index: u32, out: &mut Vec<u8>) {
    call.has_begun = true;
    // A result is known by the id of its call: there has to be one, and no other may have it.
    let id = call.id.get_or_insert_with(|| format!("call_{index}_{stream}"));
    let name = call.name.get_or_insert_with(|| NAMELESS.to_owned());
    chunk(out, &json!({ "type": "tool-input-start", "toolCallId": id, "toolName": name }));
    input(call, call.arguments(), out);
}

fn input(call: &Call, delta: &str, out: &mut Vec<u8>) {
    if !delta.is_empty() {
        chunk(out, &json!({ "type": "tool-input-delta", "toolCallId": call.id, "inputTextDelta": delta }));
    }
}

/// Something else is said than more of a tool call, unless it is the next one: closes it if it is whole.
fn leave(thread: &mut Thread, next: Option<u32>, out: &mut Vec<u8>) {
    if let Some(call) = thread.leave(next) {
        close(&call, out);
    }
}

/// Closes every call: there is no more of any.
fn close_all(thread: &mut Thread, out: &mut Vec<u8>) {
    for (index, mut call) in thread.close_all() {
        if !call.has_begun {
            begin(&mut call, stream(thread.stream.as_ref()), index, out);
        }
        close(&call, out);
    }
}

fn close(call: &Call, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Available<'a> {
        r#type: &'static str,
        #[serde(rename = "toolCallId")]
        id: &'a Option<String>,
        #[serde(rename = "toolName")]
        name: &'a Option<String>,
        input: &'a RawValue,
    }
    let (Call { id, name, .. }, arguments) = (call, call.arguments());
    // Who says nothing has nothing to say. A line end can only stand between tokens, and would end the chunk.
    let text =
        if arguments.trim().is_empty() { "{}".to_owned() } else { arguments.replace(['\n', '\r'], " ") };
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(input) => chunk(out, &Available { r#type: "tool-input-available", id, name, input }),
        Err(error) => {
            let text = format!("the arguments are no JSON: {error}");
            chunk(
                out,
                &json!({
                    "type": "tool-input-error",
                    "toolCallId": id,
                    "toolName": name,
                    "input": arguments,
                    "errorText": text,
                }),
            );
        }
    }
}

fn finish(out: &mut Vec<u8>, reason: &str, metadata: Option<Value>) {
    let mut finish = json!({ "type": "finish", "finishReason": reason });
    if let Some(metadata) = metadata {
        finish["messageMetadata"] = metadata;
    }
    chunk(out, &finish);
}

/// A provider's finish reason in the words of the AI SDK.
fn finish_reason(said: Option<&str>, has_calls: bool) -> &'static str {
    let said = said.map(str::to_ascii_lowercase);
    match said.as_deref() {
        // Several families say this of tool calls, too, or nothing at all.
        None | Some("stop" | "end_turn" | "stop_sequence" | "completed") => {
            if has_calls {
                "tool-calls"
            } else {
                "stop"
            }
        }
        Some("length" | "max_tokens" | "max_output_tokens" | "model_context_window_exceeded") => "length",
        Some("tool_calls" | "tool_use" | "function_call") => "tool-calls",
        Some(
            "content_filter" | "refusal" | "safety" | "recitation" | "blocklist" | "prohibited_content"
            | "spii" | "image_safety",
        ) => "content-filter",
        Some("error" | "malformed_function_call") => "error",
        Some(_) => "other",
    }
}

fn counted(usage: Usage) -> Value {
    let Usage { input, output } = usage;
    let total = input.zip(output).map(|(input, output)| input.saturating_add(output));
    let counts = [("inputTokens", input), ("outputTokens", output), ("totalTokens", total)];
    let known = counts.into_iter().filter_map(|(name, count)| Some((name.to_owned(), count?.into())));
    Value::Object(known.collect())
}

fn chunk(out: &mut Vec<u8>, data: &impl Serialize) {
    out.extend_from_slice(b"data: ");
    serde_json::to_writer(&mut *out, data).expect("plain data is JSON");
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests;
