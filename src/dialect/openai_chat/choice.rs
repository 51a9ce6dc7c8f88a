//! One choice: its channels of prose, its tool calls, and whether it has finished.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::chunk;
use crate::cast::event::{Delta, Event, Prose};
use crate::dialect::json::{self, Joint, Leaf, List, Text};

/// Tool calls of one choice that are told apart. A provider that numbers more of them gets no events for
/// those.
const TOOL_CALLS_MAX: usize = 256;

/// What has to be remembered of a choice to understand its next delta.
#[derive(Debug)]
pub(super) struct Choice {
    number: u32,
    text: Joint,
    reasoning: Joint,
    refusal: Joint,
    tools: BTreeMap<u32, Tool>,
    /// The index of the tool call that was spoken of last.
    last_tool: Option<u32>,
    finished: bool,
}

#[derive(Debug, Default)]
struct Tool {
    id: Option<String>,
    named: bool,
    arguments: Joint,
}

impl Choice {
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            text: Joint::default(),
            reasoning: Joint::default(),
            refusal: Joint::default(),
            tools: BTreeMap::new(),
            last_tool: None,
            finished: false,
        }
    }

    pub(super) fn finished(&self) -> bool {
        self.finished
    }

    /// Appends what a chunk says of this choice.
    pub(super) fn read(&mut self, choice: &chunk::Choice<'_>, events: &mut Vec<Event>) {
        let delta = &choice.delta.0;
        let parts =
            json::list::<chunk::Part<'_>>(delta.content.filter(|content| content.get().starts_with('[')));
        let reasoned = self.say(Prose::Reasoning, reasoning(delta, &parts), events);
        match delta.content {
            Some(_) if !parts.is_empty() => self.say(Prose::Text, texts(&parts, "text"), events),
            Some(_) => self.say(Prose::Text, Text::of(delta.content), events),
            None if !reasoned => self.say(Prose::Text, Text::of(choice.text), events),
            None => false,
        };
        self.say(Prose::Refusal, Text::of(delta.refusal), events);
        for (position, call) in json::list::<chunk::ToolCall<'_>>(delta.tool_calls).iter().enumerate() {
            self.call(u32::try_from(position).unwrap_or(u32::MAX), call, events);
        }
        if delta.function_call.is_some() {
            self.callee(0, None, delta.function_call, events);
        }
        if let Some(reason) = json::string(choice.finish_reason)
            && !self.finished
        {
            self.settle(events);
            self.finished = true;
            events.push(Event::Finish { choice: self.number, reason });
        }
    }

    /// Says one delta of prose, and whether there was anything to say.
    fn say<'a>(
        &mut self,
        kind: Prose,
        texts: impl IntoIterator<Item = Text<'a>>,
        events: &mut Vec<Event>,
    ) -> bool {
        let joint = match kind {
            Prose::Text => &mut self.text,
            Prose::Reasoning => &mut self.reasoning,
            Prose::Refusal => &mut self.refusal,
        };
        let mut said = false;
        let mut text = Delta::default();
        for more in texts {
            joint.push(more, &mut text);
            said = true;
        }
        if !text.is_empty() {
            events.push(Event::Prose { choice: self.number, kind, text });
        }
        said
    }

    fn call(&mut self, position: u32, call: &chunk::ToolCall<'_>, events: &mut Vec<Event>) {
        let id = json::word(call.id);
        let callee = call.function.or(call.custom);
        let index =
            json::number(call.index).unwrap_or_else(|| self.missing_index(position, id.as_deref(), callee));
        self.callee(index, id, callee, events);
    }

    /// Which call a fragment without an index belongs to: the one with its id; a new one if the id is new, or
    /// if there is no id but a name where the last call has its name already; else the last one.
    fn missing_index(&self, position: u32, id: Option<&str>, callee: Leaf<'_>) -> u32 {
        let Some(last) = self.last_tool else { return position };
        if let Some(id) = id
            && let Some((known, _)) = self.tools.iter().find(|(_, tool)| tool.id.as_deref() == Some(id))
        {
            return *known;
        }
        let last_is_named = self.tools.get(&last).is_some_and(|tool| tool.named);
        let named =
            || callee.and_then(|callee| Text::of(json::object::<chunk::Callee<'_>>(callee.get())?.name));
        if id.is_some() || (last_is_named && named().is_some()) {
            return self.tools.last_key_value().map_or(0, |(index, _)| index.saturating_add(1));
        }
        last
    }

    /// The first fragment of a call announces it, whatever it holds; a later one must have something new.
    fn callee(&mut self, index: u32, id: Option<Cow<'_, str>>, callee: Leaf<'_>, events: &mut Vec<Event>) {
        let known = self.tools.contains_key(&index);
        if !known && self.tools.len() >= TOOL_CALLS_MAX {
            return;
        }
        self.last_tool = Some(index);
        let tool = self.tools.entry(index).or_default();
        let callee =
            callee.and_then(|callee| json::object::<chunk::Callee<'_>>(callee.get())).unwrap_or_default();

        let id = id.filter(|_| tool.id.is_none()).map(Cow::into_owned);
        tool.id = tool.id.take().or_else(|| id.clone());
        let name = json::word(callee.name).filter(|_| !tool.named).map(Cow::into_owned);
        tool.named |= name.is_some();
        let mut arguments = Delta::default();
        let input = callee.arguments.or(callee.input);
        if let Some(text) = Text::of(input) {
            tool.arguments.push(text, &mut arguments);
        } else if let Some(json) = input.filter(|input| input.get().starts_with(['{', '['])) {
            tool.arguments.settle(&mut arguments);
            arguments.push_str(json.get());
        }
        if !known || id.is_some() || name.is_some() || !arguments.is_empty() {
            events.push(Event::ToolCall { choice: self.number, index, id, name, arguments });
        }
    }

    /// Says what was held back: halves of emoji whose other half never came.
    pub(super) fn settle(&mut self, events: &mut Vec<Event>) {
        let prose = [
            (Prose::Reasoning, &mut self.reasoning),
            (Prose::Text, &mut self.text),
            (Prose::Refusal, &mut self.refusal),
        ];
        for (kind, joint) in prose {
            let mut text = Delta::default();
            joint.settle(&mut text);
            if !text.is_empty() {
                events.push(Event::Prose { choice: self.number, kind, text });
            }
        }
        for (index, tool) in &mut self.tools {
            let mut arguments = Delta::default();
            tool.arguments.settle(&mut arguments);
            if !arguments.is_empty() {
                let (choice, index) = (self.number, *index);
                events.push(Event::ToolCall { choice, index, id: None, name: None, arguments });
            }
        }
    }
}

/// The reasoning of a delta in the first of its spellings that says something: a server that sends two of
/// them says the same thing twice.
fn reasoning<'a>(delta: &chunk::Delta<'a>, parts: &[chunk::Part<'a>]) -> List<Text<'a>> {
    let mut found = List::new();
    if let Some(text) = Text::of(delta.reasoning_content).or_else(|| Text::of(delta.reasoning)) {
        found.push(text);
        return found;
    }
    for detail in json::list::<chunk::Part<'a>>(delta.reasoning_details) {
        match Text::of(detail.kind) {
            Some(kind) if kind.is("reasoning.text") => found.extend(Text::of(detail.text)),
            Some(kind) if kind.is("reasoning.summary") => found.extend(Text::of(detail.summary)),
            _ => {}
        }
    }
    if found.is_empty() {
        for part in parts {
            found.extend(Text::of(part.thinking));
            found.extend(texts(&json::list(part.thinking), "text"));
        }
    }
    found
}

/// The texts of those parts that are of type `kind`.
fn texts<'a, 'p>(
    parts: &'p [chunk::Part<'a>],
    kind: &'p str,
) -> impl Iterator<Item = Text<'a>> + use<'a, 'p> {
    let of_kind = move |part: &&chunk::Part<'a>| Text::of(part.kind).is_some_and(|text| text.is(kind));
    parts.iter().filter(of_kind).filter_map(|part| Text::of(part.text))
}
