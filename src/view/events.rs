//! The native view: what the blocks mean, with ids that are cursors. docs/protocol.md is its specification.

use std::io::Write;

use serde::Serialize;

use crate::cast::Now;
use crate::cast::block::Seq;
use crate::cast::end::End;
use crate::cast::event::{Event, Prose, Usage};
use crate::cast::fold::Choices;
use crate::cast::log::{Part, Rendering};
use crate::cast::thread::Thread;

/// The native view as Server-Sent Events.
#[derive(Debug)]
pub struct Sse;

/// The native view as `,{"id","event","data"}` each, to be put into a JSON array.
#[derive(Debug)]
pub struct Poll;

/// The native view as one line of JSON for each event.
#[derive(Debug)]
pub struct Lines;

impl Rendering for Sse {
    fn slot(&self) -> usize {
        0
    }

    fn frame(&self, part: &Part<'_>, _: &mut Thread, out: &mut Vec<u8>) {
        each(part, |id, event| sse(out, id, event.name(), event));
    }

    fn end(&self, end: &End, _: &mut Thread, out: &mut Vec<u8>) {
        sse(out, Some(end.seq()), "end", &end.wire());
    }
}

impl Rendering for Poll {
    fn slot(&self) -> usize {
        1
    }

    fn frame(&self, part: &Part<'_>, _: &mut Thread, out: &mut Vec<u8>) {
        each(part, |id, event| poll(out, id, event.name(), event));
    }

    fn end(&self, end: &End, _: &mut Thread, out: &mut Vec<u8>) {
        json(out, &end.wire());
    }
}

impl Rendering for Lines {
    fn slot(&self) -> usize {
        5
    }

    fn frame(&self, part: &Part<'_>, _: &mut Thread, out: &mut Vec<u8>) {
        each(part, |id, event| line(out, id, event.name(), event));
    }

    fn end(&self, end: &End, _: &mut Thread, out: &mut Vec<u8>) {
        line(out, Some(end.seq()), "end", &end.wire());
    }
}

/// The first event of every connection.
#[derive(Debug, Serialize)]
pub struct Open<'a> {
    pub stream: &'a str,
    pub after: Seq,
    pub tail: Seq,
    pub status: &'a str,
    pub started_at: String,
}

impl Open<'_> {
    /// With the reconnection time in the same SSE block: alone, it would break some parsers.
    pub fn sse(&self, retry_ms: u64) -> Vec<u8> {
        let mut out = format!("retry: {retry_ms}\n").into_bytes();
        sse(&mut out, Some(self.after), "open", self);
        out
    }

    pub fn line(&self) -> Vec<u8> {
        let mut out = Vec::new();
        line(&mut out, Some(self.after), "open", self);
        out
    }
}

/// Everything up to a block in one event.
#[derive(Debug, Serialize)]
pub struct Snapshot<'a> {
    upto: Seq,
    choices: &'a Choices,
    usage: Option<Usage>,
}

impl<'a> Snapshot<'a> {
    pub fn of(now: &Now<'a>) -> Self {
        Self { upto: now.log.tail(), choices: &now.fold.choices, usage: now.fold.usage }
    }

    /// The block that it reaches to: the cursor behind it.
    pub fn upto(&self) -> Seq {
        self.upto
    }

    /// Writes the event and gives the cursor behind it.
    pub fn sse(&self, out: &mut Vec<u8>) -> Seq {
        sse(out, Some(self.upto), "snapshot", self);
        self.upto
    }

    /// Writes the event and gives the cursor behind it.
    pub fn line(&self, out: &mut Vec<u8>) -> Seq {
        line(out, Some(self.upto), "snapshot", self);
        self.upto
    }

    /// Writes the event and gives the cursor behind it.
    pub fn poll(&self, out: &mut Vec<u8>) -> Seq {
        poll(out, Some(self.upto), "snapshot", self);
        self.upto
    }
}

/// The end of a viewing, which is not an end of the stream and has no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bye {
    pub code: &'static str,
    pub retry_ms: u64,
}

impl Bye {
    pub fn sse(&self) -> Vec<u8> {
        let mut out = Vec::new();
        sse(&mut out, None, "bye", self);
        out
    }

    pub fn line(&self) -> Vec<u8> {
        let mut out = Vec::new();
        line(&mut out, None, "bye", self);
        out
    }
}

/// Merges the adjacent deltas of one channel and finds each event's id: the block that it completes, unless the next
/// event is from that block, too.
pub(super) fn each(part: &Part<'_>, mut write: impl FnMut(Option<Seq>, &Wire<'_>)) {
    let mut from = part.from;
    let mut events = part.events.iter().peekable();
    let mut merged;
    while let Some((seq, event)) = events.next() {
        let (mut last, mut event) = (*seq, event);
        if events.peek().is_some_and(|(_, next)| event.continues_in(next)) {
            merged = event.clone();
            while let Some((seq, more)) = events.next_if(|(_, next)| merged.continues_in(next)) {
                merged.extend(more);
                last = *seq;
            }
            event = &merged;
        }
        let completes = events.peek().is_none_or(|(next, _)| *next > last);
        write(completes.then_some(last), &Wire { from, event });
        if completes {
            from = last + 1;
        }
    }
}

/// An event as it stands on the wire.
pub(super) struct Wire<'a> {
    from: Seq,
    event: &'a Event,
}

impl Wire<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self.event {
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
}

impl Wire<'_> {
    /// The choice that it is about, unless that goes without saying.
    fn choice(&self) -> Option<u32> {
        self.event.choice().filter(|choice| *choice != 0)
    }

    /// How many members it has: MessagePack says so first, and would else have to keep them.
    fn members(&self) -> usize {
        let own = match self.event {
            Event::Prose { .. } | Event::Finish { .. } => 1,
            Event::ToolCall { id, name, .. } => 2 + usize::from(id.is_some()) + usize::from(name.is_some()),
            Event::Meta { .. } | Event::Usage(_) | Event::Error { .. } => 2,
        };
        1 + usize::from(self.choice().is_some()) + own
    }
}

impl Serialize for Wire<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut out = serializer.serialize_map(Some(self.members()))?;
        out.serialize_entry("from", &self.from)?;
        if let Some(choice) = self.choice() {
            out.serialize_entry("choice", &choice)?;
        }
        match self.event {
            Event::Meta { model, upstream_id } => {
                out.serialize_entry("model", model)?;
                out.serialize_entry("upstream_id", upstream_id)?;
            }
            Event::Prose { text, .. } => out.serialize_entry("text", text)?,
            Event::ToolCall { index, id, name, arguments, .. } => {
                out.serialize_entry("index", index)?;
                if let Some(id) = id {
                    out.serialize_entry("id", id)?;
                }
                if let Some(name) = name {
                    out.serialize_entry("name", name)?;
                }
                out.serialize_entry("arguments", arguments)?;
            }
            Event::Usage(usage) => {
                out.serialize_entry("input", &usage.input)?;
                out.serialize_entry("output", &usage.output)?;
            }
            Event::Finish { reason, .. } => out.serialize_entry("reason", reason)?,
            Event::Error { code, message } => {
                out.serialize_entry("code", code)?;
                out.serialize_entry("message", message)?;
            }
        }
        out.end()
    }
}

/// One SSE event. JSON has no line ends of its own, so its data is one line.
fn sse(out: &mut Vec<u8>, id: Option<Seq>, name: &str, data: &(impl Serialize + ?Sized)) {
    if let Some(id) = id {
        put(out, format_args!("id: {id}\n"));
    }
    put(out, format_args!("event: {name}\ndata: "));
    json(out, data);
    out.extend_from_slice(b"\n\n");
}

fn poll(out: &mut Vec<u8>, id: Option<Seq>, name: &str, data: &(impl Serialize + ?Sized)) {
    match id {
        Some(id) => put(out, format_args!(",{{\"id\":{id},")),
        None => out.extend_from_slice(b",{\"id\":null,"),
    }
    put(out, format_args!("\"event\":\"{name}\",\"data\":"));
    json(out, data);
    out.push(b'}');
}

fn line(out: &mut Vec<u8>, id: Option<Seq>, name: &str, data: &(impl Serialize + ?Sized)) {
    let begin = out.len();
    poll(out, id, name, data);
    // Without the comma that stands between members of an array.
    out.remove(begin);
    out.push(b'\n');
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes everything");
}

fn json(out: &mut Vec<u8>, data: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, data).expect("plain data is JSON");
}

#[cfg(test)]
mod tests;
