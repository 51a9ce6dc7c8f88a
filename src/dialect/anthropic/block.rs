//! One content block: text, thinking or a tool call.

use crate::cast::event::{Delta, Event, Prose};
use crate::dialect::json::{Joint, Text};

/// What has to be remembered of a block to understand its next delta.
#[derive(Debug, Default)]
pub(super) struct Block {
    text: Joint,
    thinking: Joint,
    call: Option<Call>,
}

#[derive(Debug)]
struct Call {
    /// Its rank among the tool calls of the message.
    index: u32,
    arguments: Joint,
    state: Arguments,
}

/// Where the arguments of a call come from.
#[derive(Debug, PartialEq)]
enum Arguments {
    /// Nothing was said of them yet.
    Awaited,
    /// Its start had `{}` for a place holder, which they are if no delta comes.
    Empty,
    Deltas,
    /// Its start had them all: deltas would repeat them.
    Whole,
}

impl Block {
    pub(super) fn text(&mut self, text: Option<Text<'_>>, events: &mut Vec<Event>) {
        say(Prose::Text, &mut self.text, text, events);
    }

    pub(super) fn thinking(&mut self, text: Option<Text<'_>>, events: &mut Vec<Event>) {
        say(Prose::Reasoning, &mut self.thinking, text, events);
    }

    pub(super) fn is_call(&self) -> bool {
        self.call.is_some()
    }

    /// Says that this block is call number `index`. `input` is the JSON of its arguments, where they are known.
    pub(super) fn open(
        &mut self,
        index: u32,
        id: Option<String>,
        name: Option<String>,
        input: Option<&str>,
        events: &mut Vec<Event>,
    ) {
        let empty = input.is_some_and(|input| matches!(input.trim_matches(['{', '}']).trim(), ""));
        let (state, arguments) = match input {
            None => (Arguments::Awaited, ""),
            Some(_) if empty => (Arguments::Empty, ""),
            Some(input) => (Arguments::Whole, input),
        };
        self.call = Some(Call { index, arguments: Joint::default(), state });
        events.push(Event::ToolCall { choice: 0, index, id, name, arguments: arguments.into() });
    }

    /// More of the arguments of the call that this block is.
    pub(super) fn arguments(&mut self, text: Option<Text<'_>>, events: &mut Vec<Event>) {
        let Some(call) = self.call.as_mut().filter(|call| call.state != Arguments::Whole) else { return };
        let Some(text) = text else { return };
        call.state = Arguments::Deltas;
        let mut arguments = Delta::default();
        call.arguments.push(text, &mut arguments);
        call.say(arguments, events);
    }

    /// Says what was held back: halves of emoji whose other half never came, and the arguments of a call that got
    /// none.
    pub(super) fn settle(&mut self, events: &mut Vec<Event>) {
        for (kind, joint) in [(Prose::Reasoning, &mut self.thinking), (Prose::Text, &mut self.text)] {
            let mut text = Delta::default();
            joint.settle(&mut text);
            prose(kind, text, events);
        }
        if let Some(call) = &mut self.call {
            let mut arguments = Delta::default();
            call.arguments.settle(&mut arguments);
            if call.state == Arguments::Empty {
                call.state = Arguments::Whole;
                arguments.push_str("{}");
            }
            call.say(arguments, events);
        }
    }
}

impl Call {
    fn say(&self, arguments: Delta, events: &mut Vec<Event>) {
        if !arguments.is_empty() {
            events.push(Event::ToolCall { choice: 0, index: self.index, id: None, name: None, arguments });
        }
    }
}

fn say(kind: Prose, joint: &mut Joint, more: Option<Text<'_>>, events: &mut Vec<Event>) {
    let mut text = Delta::default();
    if let Some(more) = more {
        joint.push(more, &mut text);
    }
    prose(kind, text, events);
}

fn prose(kind: Prose, text: Delta, events: &mut Vec<Event>) {
    if !text.is_empty() {
        events.push(Event::Prose { choice: 0, kind, text });
    }
}
