//! What a provider says, as bytes, and what viewers have to see of it: DESIGN §5.1, written down once more.

use serde_json::{Value, json};

use crate::viewing::Event;

/// One thing that a block says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Say {
    Meta,
    Text(u64, &'static str),
    Reasoning(u64, &'static str),
    Refusal(u64, &'static str),
    /// Choice, index, id and name where it has them, arguments.
    Tool(u64, u64, Option<(&'static str, &'static str)>, &'static str),
    Finish(u64, &'static str),
    Usage(u64, u64),
    Error(&'static str),
}

/// A block and what it says.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) bytes: String,
    pub(crate) says: Vec<Say>,
}

pub(crate) const DONE: &str = "data: [DONE]\n\n";
pub(crate) const MODEL: &str = "a-model";

/// A block that says nothing.
pub(crate) fn mute(bytes: &str) -> Block {
    Block { bytes: bytes.to_owned(), says: Vec::new() }
}

/// A chunk that says all of this, in the order in which a dialect tells it.
pub(crate) fn chunk(says: &[Say]) -> Block {
    let mut chunk = json!({ "object": "chat.completion.chunk" });
    let mut choices: Vec<Value> = Vec::new();
    for say in says {
        let mut choice = |number: u64| -> usize {
            let known = choices.iter().position(|choice| choice["index"] == number);
            known.unwrap_or_else(|| {
                choices.push(json!({ "index": number, "delta": {}, "finish_reason": null }));
                choices.len() - 1
            })
        };
        match say {
            Say::Meta => {
                chunk["id"] = "up-1".into();
                chunk["model"] = MODEL.into();
            }
            Say::Text(number, text) => {
                let at = choice(*number);
                choices[at]["delta"]["content"] = (*text).into();
            }
            Say::Reasoning(number, text) => {
                let at = choice(*number);
                choices[at]["delta"]["reasoning_content"] = (*text).into();
            }
            Say::Refusal(number, text) => {
                let at = choice(*number);
                choices[at]["delta"]["refusal"] = (*text).into();
            }
            Say::Tool(number, index, known, arguments) => {
                let at = choice(*number);
                let mut call = json!({ "index": index, "function": { "arguments": arguments } });
                if let Some((id, name)) = known {
                    call["id"] = (*id).into();
                    call["function"]["name"] = (*name).into();
                }
                choices[at]["delta"]["tool_calls"] = json!([call]);
            }
            Say::Finish(number, reason) => {
                let at = choice(*number);
                choices[at]["finish_reason"] = (*reason).into();
            }
            Say::Usage(input, output) => {
                chunk["usage"] = json!({ "prompt_tokens": input, "completion_tokens": output });
            }
            Say::Error(message) => chunk["error"] = json!({ "code": "boom", "message": message }),
        }
    }
    chunk["choices"] = choices.into();
    Block { bytes: format!("data: {chunk}\n\n"), says: says.to_vec() }
}

pub(crate) fn text(text: &'static str) -> Block {
    chunk(&[Say::Text(0, text)])
}

impl Say {
    fn choice(&self) -> Option<u64> {
        match self {
            Say::Text(choice, _)
            | Say::Reasoning(choice, _)
            | Say::Refusal(choice, _)
            | Say::Finish(choice, _)
            | Say::Tool(choice, ..) => Some(*choice),
            Say::Meta | Say::Usage(..) | Say::Error(_) => None,
        }
    }

    fn event(&self) -> (&'static str, Value) {
        let (name, mut data) = match self {
            Say::Meta => ("meta", json!({ "model": MODEL, "upstream_id": "up-1" })),
            Say::Text(_, text) => ("text", json!({ "text": text })),
            Say::Reasoning(_, text) => ("reasoning", json!({ "text": text })),
            Say::Refusal(_, text) => ("refusal", json!({ "text": text })),
            Say::Tool(_, index, Some((id, name)), arguments) => {
                ("tool_call", json!({ "index": index, "id": id, "name": name, "arguments": arguments }))
            }
            Say::Tool(_, index, None, arguments) => {
                ("tool_call", json!({ "index": index, "arguments": arguments }))
            }
            Say::Finish(_, reason) => ("finish", json!({ "reason": reason })),
            Say::Usage(input, output) => ("usage", json!({ "input": input, "output": output })),
            Say::Error(message) => ("error", json!({ "code": "boom", "message": message })),
        };
        if let Some(choice @ 1..) = self.choice() {
            data["choice"] = choice.into();
        }
        (name, data)
    }
}

/// Whether the second event goes on where the first one stopped.
fn continues(first: &(&str, Value), second: &(&str, Value)) -> bool {
    let delta = matches!(first.0, "text" | "reasoning" | "refusal" | "tool_call");
    let same = |key: &str| first.1.get(key) == second.1.get(key);
    delta && first.0 == second.0 && same("choice") && same("index")
}

/// The events, without the end, that a viewer behind `after` sees of these frames.
pub(crate) fn expected(frames: &[Vec<Block>], after: u64) -> Vec<Event> {
    let (mut seen, mut seq, mut last_id) = (Vec::new(), 0, 0);
    for frame in frames {
        let first = seq + 1;
        let mut says = Vec::new();
        for block in frame {
            seq += 1;
            says.extend(block.says.iter().map(|say| (seq, say.event())));
        }
        if after < seq {
            let inside = after >= first;
            let behind: Vec<_> = says.iter().filter(|(seq, _)| *seq > after).cloned().collect();
            rendered(&behind, if inside { after + 1 } else { last_id + 1 }, &mut seen);
        }
        last_id = says.last().map_or(last_id, |(seq, _)| *seq);
    }
    seen
}

fn rendered(says: &[(u64, (&'static str, Value))], mut from: u64, seen: &mut Vec<Event>) {
    // Each with the blocks that it begins and ends in.
    let mut merged: Vec<(u64, u64, (&'static str, Value))> = Vec::new();
    for (seq, event) in says {
        match merged.last_mut() {
            Some((_, last, before)) if continues(before, event) => {
                *last = *seq;
                let key = if before.0 == "tool_call" { "arguments" } else { "text" };
                let both = [&before.1[key], &event.1[key]].map(|text| text.as_str().unwrap_or_default());
                before.1[key] = both.concat().into();
            }
            _ => merged.push((*seq, *seq, event.clone())),
        }
    }
    for (at, (_, last, (name, data))) in merged.iter().enumerate() {
        let is_whole = merged.get(at + 1).is_none_or(|(first, ..)| first > last);
        let mut data = data.clone();
        data["from"] = from.into();
        seen.push(Event { id: is_whole.then_some(*last), name: (*name).to_owned(), data });
        if is_whole {
            from = last + 1;
        }
    }
}
