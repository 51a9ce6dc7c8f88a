//! One candidate: its prose, its calls, and whether it has finished.

use super::chunk::{self, FunctionCall, Part, PartialArg};
use super::partial::Writer;
use crate::cast::event::{Delta, Event, Prose};
use crate::dialect::json::{self, Joint, Text};

/// Calls of one candidate that get events.
const CALLS_MAX: u32 = 256;

/// What has to be remembered of a candidate to understand its next chunk.
#[derive(Debug)]
pub(super) struct Candidate {
    number: u32,
    text: Joint,
    reasoning: Joint,
    /// Calls so far, each of which has its place in their order as its index.
    calls: u32,
    streamed: Option<Streamed>,
    finished: bool,
}

/// The call whose arguments are being streamed.
#[derive(Debug)]
struct Streamed {
    index: u32,
    id: Option<String>,
    arguments: Writer,
}

impl Candidate {
    pub(super) fn new(number: u32) -> Self {
        let (text, reasoning) = (Joint::default(), Joint::default());
        Self { number, text, reasoning, calls: 0, streamed: None, finished: false }
    }

    pub(super) fn finished(&self) -> bool {
        self.finished
    }

    /// Appends what a chunk says of this candidate: its parts in their order, then the finish.
    pub(super) fn read(&mut self, candidate: &chunk::Candidate<'_>, events: &mut Vec<Event>) {
        for part in &candidate.content.0.parts.0 {
            self.part(part, events);
        }
        let reason = json::string(candidate.finish_reason);
        // Google's word for a reason that is not given.
        if let Some(reason) = reason.filter(|reason| reason != "FINISH_REASON_UNSPECIFIED") {
            self.finish(reason, events);
        }
    }

    /// Finishes the candidate, once.
    pub(super) fn finish(&mut self, reason: String, events: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.finished, true) {
            self.settle(events);
            events.push(Event::Finish { choice: self.number, reason });
        }
    }

    fn part(&mut self, part: &Part<'_>, events: &mut Vec<Event>) {
        if let Some(text) = Text::of(part.text) {
            let thought = json::is_true(part.thought);
            let (kind, joint) = match thought {
                true => (Prose::Reasoning, &mut self.reasoning),
                false => (Prose::Text, &mut self.text),
            };
            let mut said = Delta::default();
            joint.push(text, &mut said);
            self.say(kind, said, events);
        }
        if let Some(call) = part.function_call.and_then(|call| json::object::<FunctionCall<'_>>(call.get())) {
            self.call(&call, events);
        }
    }

    fn say(&self, kind: Prose, text: Delta, events: &mut Vec<Event>) {
        if !text.is_empty() {
            events.push(Event::Prose { choice: self.number, kind, text });
        }
    }

    /// A call that has a name, or another id than the streamed one, is a new one; anything else belongs to the
    /// streamed one, which ends where neither it nor a value of it says that it continues.
    fn call(&mut self, call: &FunctionCall<'_>, events: &mut Vec<Event>) {
        let (id, name) = (json::string(call.id), json::string(call.name));
        let values = json::list::<PartialArg<'_>>(call.partial_args);
        let continues = json::is_true(call.will_continue)
            || values.iter().any(|value| json::is_true(value.will_continue));
        let is_more = |streamed: &mut Streamed| match (&id, &streamed.id) {
            (Some(id), Some(known)) => id == known,
            _ => name.is_none(),
        };
        let known = self.streamed.take_if(is_more);
        let is_new = known.is_none();
        let says_nothing = id.is_none() && name.is_none() && call.args.is_none() && values.is_empty();
        let mut streamed = match known {
            Some(streamed) => streamed,
            None => {
                self.end_streamed(events);
                if says_nothing || self.calls >= CALLS_MAX {
                    return;
                }
                let index = self.calls;
                self.calls = self.calls.saturating_add(1);
                Streamed { index, id: None, arguments: Writer::default() }
            }
        };
        let (choice, index) = (self.number, streamed.index);
        let is_whole = is_new && !continues && values.is_empty();
        let mut arguments = json::whole(call.args.filter(|_| is_whole));
        values.iter().for_each(|value| streamed.arguments.push(value, &mut arguments));
        let id = id.filter(|_| streamed.id.is_none());
        let name = name.filter(|_| is_new);
        if continues {
            streamed.id = streamed.id.or_else(|| id.clone());
            self.streamed = Some(streamed);
        } else {
            streamed.arguments.finish(&mut arguments);
        }
        if is_new || id.is_some() || !arguments.is_empty() {
            events.push(Event::ToolCall { choice, index, id, name, arguments });
        }
    }

    fn end_streamed(&mut self, events: &mut Vec<Event>) {
        let Some(Streamed { index, arguments: writer, .. }) = self.streamed.take() else { return };
        let mut arguments = Delta::default();
        writer.finish(&mut arguments);
        if !arguments.is_empty() {
            events.push(Event::ToolCall { choice: self.number, index, id: None, name: None, arguments });
        }
    }

    /// Says what was held back: halves of emoji whose other half never came, and what arguments lack to be JSON.
    pub(super) fn settle(&mut self, events: &mut Vec<Event>) {
        for kind in [Prose::Reasoning, Prose::Text] {
            let mut text = Delta::default();
            match kind {
                Prose::Reasoning => self.reasoning.settle(&mut text),
                _ => self.text.settle(&mut text),
            }
            self.say(kind, text, events);
        }
        self.end_streamed(events);
    }
}
