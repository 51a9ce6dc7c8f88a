//! One item of the output: a message, reasoning, or a call.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::chunk;
use super::mark::Mark;
use super::print::Print;
use crate::cast::event::{Delta, Event, Prose};
use crate::dialect::json::{self, Joint, Leaf, Text};

/// What a part of an item is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Channel {
    Text,
    Refusal,
    /// Reasoning as it is, and what the provider made of it for people.
    Reasoning,
    Summary,
    Arguments,
}

/// Parts of one item that are told apart. Those beyond get no events.
pub(super) const PARTS_MAX: usize = 64;

/// What has to be remembered of an item to understand what comes next of it.
#[derive(Debug)]
pub(super) struct Item {
    /// As it was first named.
    mark: Mark,
    call: Option<Call>,
    parts: BTreeMap<(Channel, u32), Part>,
}

#[derive(Debug)]
struct Call {
    /// Its rank among the calls of the response.
    index: u32,
    identified: bool,
    named: bool,
}

#[derive(Debug, Default)]
struct Part {
    joint: Joint,
    said: Print,
}

impl Channel {
    /// Where readers find it; none for arguments, which are no prose.
    fn prose(self) -> Option<Prose> {
        match self {
            Channel::Text => Some(Prose::Text),
            Channel::Refusal => Some(Prose::Refusal),
            Channel::Reasoning | Channel::Summary => Some(Prose::Reasoning),
            Channel::Arguments => None,
        }
    }
}

impl Item {
    pub(super) fn new(mark: Mark) -> Self {
        Self { mark, call: None, parts: BTreeMap::new() }
    }

    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Whether it has said what an item of this type says.
    pub(super) fn says_as(&self, kind: &str) -> bool {
        match kind {
            "message" => self.says(Channel::Text) || self.says(Channel::Refusal),
            "reasoning" => self.says(Channel::Reasoning),
            _ => self.call.is_some(),
        }
    }

    /// Whether anything was said where readers find this channel.
    fn says(&self, channel: Channel) -> bool {
        let same = |other: Channel| other.prose() == channel.prose();
        self.parts.iter().any(|((other, _), part)| same(*other) && !part.said.is_empty())
    }

    fn part(&mut self, channel: Channel, part: u32) -> Option<&mut Part> {
        let room = self.parts.len() < PARTS_MAX || self.parts.contains_key(&(channel, part));
        room.then(|| self.parts.entry((channel, part)).or_default())
    }

    /// The first event of a call announces it, whatever is known; a later one must have something new.
    pub(super) fn announce(
        &mut self,
        calls: &mut u32,
        id: Option<String>,
        name: Option<String>,
        events: &mut Vec<Event>,
    ) {
        let new = self.call.is_none();
        let call = self.call.get_or_insert_with(|| {
            let index = *calls;
            *calls = calls.saturating_add(1);
            Call { index, identified: false, named: false }
        });
        let id = id.filter(|_| !call.identified);
        let name = name.filter(|_| !call.named);
        call.identified |= id.is_some();
        call.named |= name.is_some();
        if new || id.is_some() || name.is_some() {
            let arguments = Delta::default();
            events.push(Event::ToolCall { choice: 0, index: call.index, id, name, arguments });
        }
    }

    /// Says one delta. A call's arguments can also come as JSON that is in no string.
    pub(super) fn delta(&mut self, channel: Channel, part: u32, delta: Leaf<'_>, events: &mut Vec<Event>) {
        let mut text = Delta::default();
        let Some(Part { joint, .. }) = self.part(channel, part) else { return };
        match (Text::of(delta), delta) {
            (Some(more), _) => joint.push(more, &mut text),
            (None, Some(json)) if channel == Channel::Arguments && json.get().starts_with(['{', '[']) => {
                joint.settle(&mut text);
                text.push_str(json.get());
            }
            _ => {}
        }
        self.say(channel, part, text, events);
    }

    /// Says what a part that is told as a whole has beyond what was said of it. What contradicts that is not said:
    /// nothing can be taken back.
    pub(super) fn complete(&mut self, channel: Channel, part: u32, whole: &str, events: &mut Vec<Event>) {
        let Some(known) = self.part(channel, part) else { return };
        let mut text = Delta::default();
        match known.said.rest_of(whole) {
            // Half an emoji that is held back is in it.
            Some(rest) if !rest.is_empty() => {
                known.joint = Joint::default();
                text.push_str(rest);
            }
            _ => known.joint.settle(&mut text),
        }
        self.say(channel, part, text, events);
    }

    /// Says what an item that is told as a whole has beyond what was said of it. A part of which nothing was said
    /// counts only where its channel is silent: servers differ in how they number parts.
    pub(super) fn complete_all(&mut self, item: &chunk::Item<'_>, events: &mut Vec<Event>) {
        let reasons = item.content.0.iter().any(|part| Text::of(part.text).is_some());
        let summary = item.summary.0.iter().filter(|_| !reasons).map(|part| (part, true));
        let content = item.content.0.iter().map(|part| (part, false));
        let mut wholes = Vec::new();
        for (position, (part, summary)) in (0..).zip(content).chain((0..).zip(summary)) {
            let channel = match Text::of(part.kind) {
                _ if summary => Channel::Summary,
                Some(kind) if kind.is("output_text") => Channel::Text,
                Some(kind) if kind.is("refusal") => Channel::Refusal,
                Some(kind) if kind.is("reasoning_text") => Channel::Reasoning,
                _ => continue,
            };
            if let Some(whole) = json::word(part.text).or_else(|| json::word(part.refusal)) {
                wholes.push((channel, position, whole));
            }
        }
        if self.call.is_some()
            && let Some(whole) = arguments(item)
        {
            wholes.push((Channel::Arguments, 0, whole));
        }
        let said = |part: &Part| !part.said.is_empty();
        wholes.retain(|(channel, part, _)| {
            self.parts.get(&(*channel, *part)).is_some_and(said) || !self.says(*channel)
        });
        for (channel, part, whole) in wholes {
            self.complete(channel, part, &whole, events);
        }
    }

    fn say(&mut self, channel: Channel, part: u32, text: Delta, events: &mut Vec<Event>) {
        if text.is_empty() {
            return;
        }
        if let Some(part) = self.part(channel, part) {
            part.said.push(&text);
        }
        match (channel.prose(), &self.call) {
            (Some(kind), _) => events.push(Event::Prose { choice: 0, kind, text }),
            (None, Some(call)) => {
                let index = call.index;
                events.push(Event::ToolCall { choice: 0, index, id: None, name: None, arguments: text });
            }
            (None, None) => {}
        }
    }

    /// Says what was held back: halves of emoji whose other half never came.
    pub(super) fn settle(&mut self, events: &mut Vec<Event>) {
        let held: Vec<_> = self
            .parts
            .iter_mut()
            .map(|(key, part)| {
                let mut text = Delta::default();
                part.joint.settle(&mut text);
                (*key, text)
            })
            .collect();
        for ((channel, part), text) in held {
            self.say(channel, part, text, events);
        }
    }
}

/// The arguments of a call that is told as a whole: a string in one of its spellings, else JSON as it stands.
fn arguments<'a>(item: &chunk::Item<'a>) -> Option<Cow<'a, str>> {
    let strings = [item.arguments, item.input, item.code];
    let objects = [item.arguments, item.action, item.operation, item.queries];
    let object =
        || objects.into_iter().flatten().map(|leaf| leaf.get()).find(|json| json.starts_with(['{', '[']));
    strings.into_iter().find_map(json::word).or_else(|| object().map(Cow::Borrowed))
}
