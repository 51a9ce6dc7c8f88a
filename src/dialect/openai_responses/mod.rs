//! OpenAI's responses.
//!
//! There is one answer, choice 0. Its text is that of all messages, one behind the other; a call of any kind is a tool
//! call. Servers say everything up to four times: in deltas, in the `done` of a part, in that of its item, and in the
//! whole response at the end. What was not said before is said then.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod chunk;
mod item;
mod print;

use self::chunk::{Chunk, Response};
use self::item::{Channel, Item};
use self::print::Print;
use super::json::{self, Leaf, Text};
use super::{Dialect, Verdict, fault, sse};
use crate::cast::event::{Event, Usage};

/// Items of one response, and parts of each, that are told apart. Those beyond get no events.
const ITEMS_MAX: usize = 1024;
const PARTS_MAX: usize = 64;

/// What has to be remembered of one body to understand its next block.
#[derive(Debug, Default)]
pub(super) struct OpenAiResponses {
    begun: bool,
    introduced: bool,
    items: Vec<Item>,
    calls: u32,
    /// Whether a call waits for an answer of whoever asked.
    asks: bool,
    usage: Option<Usage>,
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    Marker,
    Error(String),
}

/// How a response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Completed,
    Incomplete,
    Failed,
    Cancelled,
}

impl Outcome {
    /// The outcome that an event of type `kind` tells. Some servers say `completed` whatever the status is.
    fn told(kind: &str, response: &Response<'_>) -> Option<Self> {
        let status = || Text::of(response.status);
        let is = |name: &str| status().is_some_and(|status| status.is(name));
        match kind {
            "response.incomplete" => Some(Self::Incomplete),
            "response.failed" => Some(Self::Failed),
            "response.cancelled" => Some(Self::Cancelled),
            "response.completed" | "response.done" if is("incomplete") => Some(Self::Incomplete),
            "response.completed" | "response.done" if is("failed") => Some(Self::Failed),
            "response.completed" | "response.done" if is("cancelled") => Some(Self::Cancelled),
            "response.completed" | "response.done" => Some(Self::Completed),
            _ => None,
        }
    }
}

impl OpenAiResponses {
    fn chunk(&mut self, kind: &str, chunk: &Chunk<'_>, events: &mut Vec<Event>) {
        if let Some(response) = chunk.response {
            return self.response(kind, response.get(), events);
        }
        if let Some(item) = chunk.item.and_then(|item| json::object::<chunk::Item<'_>>(item.get())) {
            let id = print(item.id).or_else(|| print(chunk.item_id));
            match kind {
                "response.output_item.added" => {
                    self.added(id, json::number(chunk.output_index), &item, events)
                }
                "response.output_item.done" => self.done(id, json::number(chunk.output_index), &item, events),
                _ => {}
            }
            return;
        }
        let Some((channel, last)) = channel(kind) else { return };
        let part = match channel {
            Channel::Text | Channel::Refusal | Channel::Reasoning => chunk.content_index,
            Channel::Summary => chunk.summary_index,
            Channel::Arguments => chunk.command_index,
        };
        let part = json::number(part).unwrap_or_default();
        let Some(at) = self.find(print(chunk.item_id), json::number(chunk.output_index), true) else {
            return;
        };
        let Some(item) = self.items.get_mut(at) else { return };
        if item.parts() >= PARTS_MAX && !item.has_part(channel, part) {
            return;
        }
        if channel == Channel::Arguments {
            item.announce(&mut self.calls, None, None, events);
        }
        if !last {
            return item.delta(channel, part, chunk.delta, events);
        }
        let wholes =
            [chunk.text, chunk.refusal, chunk.arguments, chunk.input, chunk.code, chunk.command, chunk.diff];
        if let Some(whole) = wholes.into_iter().find_map(json::string) {
            item.complete(channel, part, &whole, events);
        }
    }

    fn response(&mut self, kind: &str, response: &str, events: &mut Vec<Event>) {
        let Some(response) = json::object::<Response<'_>>(response) else { return };
        let (model, upstream_id) = (json::string(response.model), json::string(response.id));
        if !self.introduced && (model.is_some() || upstream_id.is_some()) {
            self.introduced = true;
            events.push(Event::Meta { model, upstream_id });
        }
        let outcome = Outcome::told(kind, &response);
        if outcome.is_some() {
            self.whole(&response.output.0, events);
            self.settle(events);
        }
        let reason = match outcome {
            Some(Outcome::Completed) if self.asks => Some("tool_calls".to_owned()),
            Some(Outcome::Completed) => Some("stop".to_owned()),
            Some(Outcome::Incomplete) => {
                json::string(response.incomplete_details.0.reason).or(Some("incomplete".to_owned()))
            }
            Some(Outcome::Failed | Outcome::Cancelled) | None => None,
        };
        if let Some(reason) = reason {
            self.end = Some(End::Marker);
            events.push(Event::Finish { choice: 0, reason });
        }
        self.usage(response.usage, events);
        match outcome {
            Some(Outcome::Failed) => {
                self.fail(fault::of(response.error.map_or("", |error| error.get())), events);
            }
            Some(Outcome::Cancelled) => {
                let message = "the provider says that the response was cancelled";
                self.fail((Some("cancelled".to_owned()), message.to_owned()), events);
            }
            _ => {}
        }
    }

    fn added(
        &mut self,
        id: Option<Print>,
        index: Option<u32>,
        item: &chunk::Item<'_>,
        events: &mut Vec<Event>,
    ) {
        // In another place it is another item, even if all of them are called the same.
        let is = |item: &Item| if index.is_some() { item.has_index(index) } else { item.has_id(id) };
        let at = self.items.iter().rposition(is).or_else(|| self.push(id, index));
        if let Some(at) = at {
            self.announce(at, item, events);
        }
    }

    fn done(
        &mut self,
        id: Option<Print>,
        index: Option<u32>,
        item: &chunk::Item<'_>,
        events: &mut Vec<Event>,
    ) {
        let Some(at) = self.find(id, index, true) else { return };
        self.announce(at, item, events);
        if let Some(known) = self.items.get_mut(at) {
            known.complete_all(item, events);
        }
    }

    /// The whole output, at the end. An item that is in it and was never spoken of counts only where everything like
    /// it is missing: a server that names its items otherwise at the end has said it already.
    fn whole(&mut self, output: &[chunk::Item<'_>], events: &mut Vec<Event>) {
        let says = |channel| self.items.iter().any(|item| item.says(channel));
        let text = says(Channel::Text) || says(Channel::Refusal);
        let (reasoning, calls) = (says(Channel::Reasoning), self.items.iter().any(Item::is_call));
        for (position, item) in (0..).zip(output) {
            let at = match self.find(print(item.id), Some(position), false) {
                Some(at) => Some(at),
                None => {
                    let kind = json::string(item.kind).unwrap_or_default();
                    let silent = match &*kind {
                        "message" => !text,
                        "reasoning" => !reasoning,
                        _ => !calls,
                    };
                    silent.then(|| self.push(print(item.id), Some(position))).flatten()
                }
            };
            if let Some(at) = at {
                self.announce(at, item, events);
                if let Some(known) = self.items.get_mut(at) {
                    known.complete_all(item, events);
                }
            }
        }
    }

    /// Says of an item that it is a call, if it is one.
    fn announce(&mut self, at: usize, item: &chunk::Item<'_>, events: &mut Vec<Event>) {
        let kind = json::string(item.kind).unwrap_or_default();
        let tool = kind.strip_suffix("_call");
        if tool.is_none() && kind != "mcp_approval_request" {
            return;
        }
        let call_id = json::string(item.call_id);
        // By this id its caller would name it in the answer; what the provider runs has none.
        self.asks |= call_id.is_some();
        let id = call_id.or_else(|| json::string(item.id));
        let name = json::string(item.name).or_else(|| Some(tool?.to_owned()));
        if let Some(known) = self.items.get_mut(at) {
            known.announce(&mut self.calls, id, name, events);
        }
    }

    /// The item that is meant: the one with this id, else the one in this place, because ids can change between the
    /// events of one item and places can be missing. Whoever gives neither means the last one.
    fn find(&mut self, id: Option<Print>, index: Option<u32>, or_new: bool) -> Option<usize> {
        let by = |is: &dyn Fn(&Item) -> bool| self.items.iter().rposition(is);
        let found = by(&|item| item.has_id(id) && item.has_index(index))
            .or_else(|| by(&|item| item.has_id(id)))
            .or_else(|| by(&|item| item.has_index(index)))
            .or_else(|| by(&|_| id.is_none() && index.is_none()));
        if found.is_none() && or_new { self.push(id, index) } else { found }
    }

    fn push(&mut self, id: Option<Print>, index: Option<u32>) -> Option<usize> {
        let at = self.items.len();
        (at < ITEMS_MAX).then(|| {
            self.items.push(Item::new(id, index));
            at
        })
    }

    fn usage(&mut self, usage: Leaf<'_>, events: &mut Vec<Event>) {
        let Some(said) = usage.and_then(|usage| json::object::<chunk::Usage<'_>>(usage.get())) else {
            return;
        };
        let last = self.usage.unwrap_or_default();
        let usage = Usage {
            input: json::number(said.input_tokens).or(last.input),
            output: json::number(said.output_tokens).or(last.output),
        };
        if usage != last {
            self.usage = Some(usage);
            events.push(Event::Usage(usage));
        }
    }

    fn fail(&mut self, (code, message): (Option<String>, String), events: &mut Vec<Event>) {
        self.end = Some(End::Error(message.clone()));
        events.push(Event::Error { code, message });
    }

    /// Says what the items still hold back, because nothing more is read of them.
    fn settle(&mut self, events: &mut Vec<Event>) {
        for item in &mut self.items {
            item.settle(events);
        }
    }
}

impl Dialect for OpenAiResponses {
    fn read(&mut self, block: &[u8], events: &mut Vec<Event>) {
        let first = !std::mem::replace(&mut self.begun, true);
        if self.end.is_some() {
            return;
        }
        let Some(message) = sse::parse(block, first) else { return };
        let data = message.data.trim();
        // OpenAI itself does not send it, servers that speak like it do.
        if data == "[DONE]" {
            self.settle(events);
            self.end = Some(End::Marker);
            return;
        }
        let chunk = json::object::<Chunk<'_>>(data).unwrap_or_default();
        // The name of the event says the same; where they differ, the type counts.
        let kind = json::string(chunk.kind).or(message.event).unwrap_or_default();
        let error = fault::read(chunk.error).or_else(|| (kind == "error").then(|| fault::of(data)));
        let Some(error) = error else { return self.chunk(&kind, &chunk, events) };
        self.settle(events);
        self.fail(error, events);
    }

    fn verdict(&self) -> Verdict {
        match &self.end {
            Some(End::Marker) => Verdict::Terminal,
            Some(End::Error(message)) => Verdict::Failed { message: message.clone() },
            None => Verdict::Unfinished,
        }
    }
}

/// What an event of this type tells of, and whether it tells it as a whole.
fn channel(kind: &str) -> Option<(Channel, bool)> {
    let kind = kind.strip_prefix("response.")?;
    let (what, whole) = match kind.strip_suffix(".delta") {
        Some(what) => (what, false),
        None => (kind.strip_suffix(".done")?, true),
    };
    let channel = match what {
        "output_text" => Channel::Text,
        "refusal" => Channel::Refusal,
        "reasoning" | "reasoning_text" => Channel::Reasoning,
        "reasoning_summary" | "reasoning_summary_text" => Channel::Summary,
        // Whatever part of whichever call: `function_call_arguments`, `custom_tool_call_input`, …
        call if call.contains("_call") => Channel::Arguments,
        _ => return None,
    };
    Some((channel, whole))
}

/// The fingerprint of an id as it is written.
fn print(id: Leaf<'_>) -> Option<Print> {
    id.filter(|_| Text::of(id).is_some()).map(|id| Print::of(id.get()))
}

#[cfg(test)]
mod tests;
