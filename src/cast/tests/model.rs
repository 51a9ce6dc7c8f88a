//! What every viewer has to be told, from nothing but a list of blocks. It shares no code with the log: what stands
//! here is docs/protocol.md once more, in the words of JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::cast::block::Seq;
use crate::cast::event::{Event, Prose};
use crate::cast::frame::Frame;
use crate::crypto::{hex, sha256};

/// The log, as simple as can be.
#[derive(Debug, Default)]
pub(super) struct Model {
    blocks: Vec<Block>,
    frames: usize,
}

#[derive(Debug)]
struct Block {
    frame: usize,
    bytes: Vec<u8>,
    events: Vec<Event>,
}

/// One event as it came over the wire.
#[derive(Debug, PartialEq)]
pub(super) struct Said {
    pub(super) id: Option<Seq>,
    pub(super) event: String,
    pub(super) data: Value,
}

impl Model {
    /// Appends a frame of blocks of these lengths, each with bytes that only it has, and gives it as the log takes it.
    pub(super) fn append(&mut self, blocks: Vec<(usize, Vec<Event>)>) -> Frame {
        let first = self.tail() + 1;
        let mut frame = Frame { first, ..Frame::default() };
        let mut all = Vec::new();
        for (seq, (len, events)) in (first..).zip(blocks) {
            let bytes: Vec<u8> = format!("<{seq}>").bytes().cycle().take(len).collect();
            all.extend_from_slice(&bytes);
            frame.ends.push(all.len() as u32);
            frame.events.extend(events.iter().map(|event| (seq, event.clone())));
            self.blocks.push(Block { frame: self.frames, bytes, events });
        }
        self.frames += 1;
        frame.bytes = all.into();
        frame
    }

    pub(super) fn tail(&self) -> Seq {
        self.blocks.len() as Seq
    }

    /// Whether a frame ends at this block, or the log begins there.
    pub(super) fn is_border(&self, cursor: Seq) -> bool {
        cursor == 0 || cursor >= self.tail() || self.frame_of(cursor) != self.frame_of(cursor + 1)
    }

    pub(super) fn frame_of(&self, seq: Seq) -> usize {
        self.blocks[seq as usize - 1].frame
    }

    fn behind(&self, cursor: Seq) -> &[Block] {
        self.blocks.get(cursor as usize..).unwrap_or_default()
    }

    pub(super) fn raw(&self, after: Seq) -> Vec<u8> {
        self.behind(after).iter().flat_map(|block| block.bytes.iter().copied()).collect()
    }

    /// Bytes up to and including the block at the cursor.
    pub(super) fn offset(&self, cursor: Seq) -> u64 {
        self.blocks.iter().take(cursor as usize).map(|block| block.bytes.len() as u64).sum()
    }

    pub(super) fn text(&self, after: Seq) -> String {
        let events = self.behind(after).iter().flat_map(|block| &block.events);
        let text = events.filter_map(|event| match event {
            Event::Prose { choice: 0, kind: Prose::Text, text } => Some(text.as_str()),
            _ => None,
        });
        text.collect()
    }

    /// What the native view says behind a cursor.
    pub(super) fn events(&self, after: Seq) -> Vec<Said> {
        let numbered = (after + 1..).zip(self.behind(after));
        let events: Vec<(Seq, &Event)> =
            numbered.flat_map(|(seq, block)| block.events.iter().map(move |event| (seq, event))).collect();
        let last_spoken = |below: Seq| {
            let spoken = |seq: &Seq| !self.blocks[*seq as usize - 1].events.is_empty();
            (1..below).rev().find(spoken).unwrap_or(0)
        };
        // Inside a frame the cursor itself stands for the last id; every other frame is the same for everybody.
        let mut frame = (!self.is_border(after)).then(|| self.frame_of(after));
        let mut id = after;
        let (mut said, mut rest) = (Vec::new(), &events[..]);
        while let Some((seq, event)) = rest.first() {
            if frame != Some(self.frame_of(*seq)) {
                frame = Some(self.frame_of(*seq));
                id = last_spoken(*seq);
            }
            let same = |(other, next): &&(Seq, &Event)| {
                self.frame_of(*other) == self.frame_of(*seq)
                    && channel(event).is_some()
                    && channel(event) == channel(next)
            };
            let run = rest.iter().take_while(same).count().max(1);
            let (told, behind) = rest.split_at(run);
            let mut data = merge(told);
            data.insert("from".into(), json!(id + 1));
            // An id says that nothing of its block is missing.
            let last = told[run - 1].0;
            let is_whole = behind.first().is_none_or(|(next, _)| *next != last);
            id = if is_whole { last } else { id };
            said.push(Said { id: is_whole.then_some(last), event: name(event).into(), data: data.into() });
            rest = behind;
        }
        said
    }

    /// The data of the end, less how it ended.
    pub(super) fn end(&self) -> Value {
        let events = self.blocks.iter().flat_map(|block| &block.events);
        let (mut finish, mut usage) = (Value::Null, Value::Null);
        for event in events {
            match event {
                Event::Finish { choice: 0, reason } => finish = json!(reason),
                Event::Usage(counted) => usage = json!({ "input": counted.input, "output": counted.output }),
                _ => {}
            }
        }
        let raw = self.raw(0);
        json!({
            "finish": finish,
            "usage": usage,
            "blocks": self.tail(),
            "bytes": raw.len(),
            "hash": hex(&sha256(&raw)),
        })
    }

    /// All choices, folded.
    pub(super) fn choices(&self) -> Value {
        #[derive(Default)]
        struct Choice(Map<String, Value>, BTreeMap<u32, Value>);
        let mut choices: BTreeMap<u32, Choice> = BTreeMap::new();
        for event in self.blocks.iter().flat_map(|block| &block.events) {
            let Some(number) = event.choice() else { continue };
            let Choice(choice, calls) = choices.entry(number).or_default();
            match event {
                Event::Prose { text, .. } => {
                    let so_far = choice.get(name(event)).and_then(Value::as_str).unwrap_or_default();
                    choice.insert(name(event).into(), json!(format!("{so_far}{text}")));
                }
                Event::ToolCall { index, id, name, arguments, .. } => {
                    let new = json!({ "index": index, "id": null, "name": null, "arguments": "" });
                    add(calls.entry(*index).or_insert(new), id.as_ref(), name.as_ref(), arguments);
                }
                Event::Finish { reason, .. } => drop(choice.insert("finish".into(), json!(reason))),
                _ => {}
            }
        }
        let whole = choices.into_iter().map(|(number, Choice(mut said, calls))| {
            let mut choice = Map::new();
            if number > 0 {
                choice.insert("choice".into(), json!(number));
            }
            for (key, none) in [
                ("text", json!("")),
                ("reasoning", json!("")),
                ("refusal", json!("")),
                ("finish", json!(null)),
            ] {
                choice.insert(key.into(), said.remove(key).unwrap_or(none));
            }
            choice.insert("tool_calls".into(), calls.into_values().collect());
            Value::Object(choice)
        });
        whole.collect()
    }
}

fn name(event: &Event) -> &'static str {
    match event {
        Event::Meta { .. } => "meta",
        Event::Prose { kind: Prose::Text, .. } => "text",
        Event::Prose { kind: Prose::Reasoning, .. } => "reasoning",
        Event::Prose { kind: Prose::Refusal, .. } => "refusal",
        Event::ToolCall { .. } => "tool_call",
        Event::Usage(_) => "usage",
        Event::Finish { .. } => "finish",
        Event::Error { .. } => "error",
    }
}

/// What has to agree for two events to be deltas of one channel.
fn channel(event: &Event) -> Option<(&'static str, u32, u32)> {
    match event {
        Event::Prose { choice, .. } => Some((name(event), *choice, 0)),
        Event::ToolCall { choice, index, .. } => Some((name(event), *choice, *index)),
        _ => None,
    }
}

/// The data of one event, or of some deltas of one channel.
fn merge(told: &[(Seq, &Event)]) -> Map<String, Value> {
    let mut data = match told[0].1 {
        Event::Meta { model, upstream_id } => json!({ "model": model, "upstream_id": upstream_id }),
        Event::Prose { .. } => {
            let text: String = told.iter().map(|(_, event)| prose(event)).collect();
            json!({ "text": text })
        }
        Event::ToolCall { index, .. } => {
            let mut call = json!({ "index": index, "arguments": "" });
            for (_, event) in told {
                if let Event::ToolCall { id, name, arguments, .. } = event {
                    add(&mut call, id.as_ref(), name.as_ref(), arguments);
                }
            }
            call
        }
        Event::Usage(usage) => json!({ "input": usage.input, "output": usage.output }),
        Event::Finish { reason, .. } => json!({ "reason": reason }),
        Event::Error { code, message } => json!({ "code": code, "message": message }),
    };
    if let Some(choice) = told[0].1.choice().filter(|choice| *choice > 0) {
        data["choice"] = json!(choice);
    }
    data.as_object().cloned().expect("an object")
}

fn prose(event: &Event) -> &str {
    match event {
        Event::Prose { text, .. } => text,
        _ => "",
    }
}

/// Adds a delta to a tool call. The first id and the first name count.
fn add(call: &mut Value, id: Option<&String>, name: Option<&String>, arguments: &str) {
    for (key, value) in [("id", id), ("name", name)] {
        if let Some(value) = value.filter(|_| call[key].is_null()) {
            call[key] = json!(value);
        }
    }
    call["arguments"] = json!(format!("{}{arguments}", call["arguments"].as_str().unwrap_or_default()));
}
