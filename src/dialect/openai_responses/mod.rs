//! OpenAI's responses.
//!
//! There is one answer, choice 0. Its text is that of all messages, one behind the other; a call of any kind is a tool
//! call. Servers say everything up to four times: in deltas, in the `done` of a part, in that of its item, and in the
//! whole response at the end. What was not said before is said then.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod chunk;
mod item;
mod items;
mod mark;
mod print;

use self::chunk::{Chunk, Response};
use self::item::Channel;
use self::items::{Items, Said};
use self::mark::Mark;
use super::json::{self, Leaf, Text};
use super::told::Told;
use super::{Dialect, Verdict, fault, sse};
use crate::cast::event::Event;

/// What has to be remembered of one body to understand its next block.
#[derive(Debug, Default)]
pub(super) struct OpenAiResponses {
    begun: bool,
    told: Told,
    items: Items,
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
            let mark = Mark::new(item.id.or(chunk.item_id), chunk.output_index);
            match kind {
                "response.output_item.added" => self.items.added(mark, &item, events),
                "response.output_item.done" => self.items.done(mark, &item, events),
                _ => {}
            }
            return;
        }
        let Some((channel, whole)) = channel(kind) else { return };
        let part = match channel {
            Channel::Text | Channel::Refusal | Channel::Reasoning => chunk.content_index,
            Channel::Summary => chunk.summary_index,
            Channel::Arguments => chunk.command_index,
        };
        let part = (channel, json::number(part).unwrap_or_default());
        let mark = Mark::new(chunk.item_id, chunk.output_index);
        let wholes =
            [chunk.text, chunk.refusal, chunk.arguments, chunk.input, chunk.code, chunk.command, chunk.diff];
        if !whole {
            self.items.part(mark, part, Said::More(chunk.delta), events);
        } else if let Some(whole) = wholes.into_iter().find_map(json::word) {
            self.items.part(mark, part, Said::All(whole), events);
        }
    }

    fn response(&mut self, kind: &str, response: &str, events: &mut Vec<Event>) {
        let Some(response) = json::object::<Response<'_>>(response) else { return };
        self.told.introduce(response.model, response.id, events);
        let outcome = Outcome::told(kind, &response);
        if outcome.is_some() {
            self.items.output(&response.output.0, events);
            self.items.settle(events);
        }
        let reason = match outcome {
            Some(Outcome::Completed) if self.items.ask() => Some("tool_calls".to_owned()),
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

    fn usage(&mut self, usage: Leaf<'_>, events: &mut Vec<Event>) {
        let Some(said) = usage.and_then(|usage| json::object::<chunk::Usage<'_>>(usage.get())) else {
            return;
        };
        self.told.usage(json::number(said.input_tokens), json::number(said.output_tokens), events);
    }

    fn fail(&mut self, (code, message): (Option<String>, String), events: &mut Vec<Event>) {
        self.end = Some(End::Error(message.clone()));
        events.push(Event::Error { code, message });
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
            self.items.settle(events);
            self.end = Some(End::Marker);
            return;
        }
        let chunk = json::object::<Chunk<'_>>(data).unwrap_or_default();
        // The name of the event says the same; where they differ, the type counts.
        let kind = json::word(chunk.kind).or(message.event).unwrap_or_default();
        let error = fault::read(chunk.error).or_else(|| (kind == "error").then(|| fault::of(data)));
        let Some(error) = error else { return self.chunk(&kind, &chunk, events) };
        self.items.settle(events);
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

#[cfg(test)]
mod tests;
