//! Anthropic's messages.
//!
//! There is one answer, choice 0. Its text is that of all text blocks, its reasoning that of all thinking blocks, one
//! behind the other; its tool calls are the blocks whose type ends in `tool_use`, whoever runs the tool.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod block;
mod chunk;

use std::collections::BTreeMap;

use self::block::Block;
use self::chunk::{Chunk, Message, Start};
use super::json::{self, Leaf, Text};
use super::told::Told;
use super::{Dialect, Verdict, fault, sse};
use crate::cast::event::Event;

/// Content blocks of one message that are told apart. Those beyond get no events.
const BLOCKS_MAX: usize = 4096;

/// What has to be remembered of one body to understand its next block.
#[derive(Debug, Default)]
pub(super) struct Anthropic {
    begun: bool,
    told: Told,
    blocks: BTreeMap<u32, Block>,
    calls: u32,
    finished: bool,
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    Marker,
    Error(String),
}

impl Anthropic {
    fn chunk(&mut self, kind: &str, chunk: &Chunk<'_>, events: &mut Vec<Event>) {
        match kind {
            "message_start" => self.message(chunk.message, events),
            "content_block_start" => self.start(chunk, events),
            "content_block_delta" => self.delta(chunk, events),
            "content_block_stop" => {
                if let Some(block) = json::number(chunk.index).and_then(|index| self.blocks.get_mut(&index)) {
                    block.settle(events);
                }
            }
            "message_delta" => {
                if let Some(reason) = json::string(chunk.delta.0.stop_reason)
                    && !self.finished
                {
                    self.settle(events);
                    self.finished = true;
                    events.push(Event::Finish { choice: 0, reason });
                }
                self.usage(chunk.usage, events);
            }
            "message_stop" => {
                self.settle(events);
                self.end = Some(End::Marker);
            }
            _ => {}
        }
    }

    fn message(&mut self, message: Leaf<'_>, events: &mut Vec<Event>) {
        let message =
            message.and_then(|message| json::object::<Message<'_>>(message.get())).unwrap_or_default();
        self.told.introduce(message.model, message.id, events);
        self.usage(message.usage, events);
    }

    fn start(&mut self, chunk: &Chunk<'_>, events: &mut Vec<Event>) {
        let Some(start) = chunk.content_block.and_then(|start| json::object::<Start<'_>>(start.get())) else {
            return;
        };
        let Some((block, calls)) = self.block(chunk.index) else { return };
        match json::word(start.kind).as_deref() {
            Some("text") => block.text(Text::of(start.text), events),
            Some("thinking") => block.thinking(Text::of(start.thinking), events),
            Some(kind) if kind.ends_with("tool_use") && !block.is_call() => {
                let input = start.input.map(|input| input.get()).filter(|input| input.starts_with('{'));
                block.open(next(calls), json::string(start.id), json::string(start.name), input, events);
            }
            _ => {}
        }
    }

    /// A delta says by itself what it is of: its block need not have been started.
    fn delta(&mut self, chunk: &Chunk<'_>, events: &mut Vec<Event>) {
        let delta = &chunk.delta.0;
        let Some(kind) = Text::of(delta.kind) else { return };
        if kind.is("text_delta") {
            let Some((block, _)) = self.block(chunk.index) else { return };
            block.text(Text::of(delta.text), events);
        } else if kind.is("thinking_delta") {
            let Some((block, _)) = self.block(chunk.index) else { return };
            block.thinking(Text::of(delta.thinking), events);
        } else if kind.is("input_json_delta") {
            let Some((block, calls)) = self.block(chunk.index) else { return };
            if !block.is_call() {
                block.open(next(calls), None, None, None, events);
            }
            block.arguments(Text::of(delta.partial_json), events);
        }
    }

    /// The block with this index, 0 where there is none, and how many calls there are.
    fn block(&mut self, index: Leaf<'_>) -> Option<(&mut Block, &mut u32)> {
        let index = if index.is_some() { json::number(index)? } else { 0 };
        if self.blocks.len() >= BLOCKS_MAX && !self.blocks.contains_key(&index) {
            return None;
        }
        Some((self.blocks.entry(index).or_default(), &mut self.calls))
    }

    /// Both counts are cumulative, and one that is left out is still what it was.
    fn usage(&mut self, usage: Leaf<'_>, events: &mut Vec<Event>) {
        let Some(said) = usage.and_then(|usage| json::object::<chunk::Usage<'_>>(usage.get())) else {
            return;
        };
        self.told.usage(json::number(said.input_tokens), json::number(said.output_tokens), events);
    }

    /// Says what the blocks still hold back, because nothing more is read of them.
    fn settle(&mut self, events: &mut Vec<Event>) {
        for block in self.blocks.values_mut() {
            block.settle(events);
        }
    }
}

impl Dialect for Anthropic {
    fn read(&mut self, block: &[u8], events: &mut Vec<Event>) {
        let first = !std::mem::replace(&mut self.begun, true);
        if self.end.is_some() {
            return;
        }
        let Some(message) = sse::parse(block, first) else { return };
        let data = message.data.trim();
        // Anthropic itself does not send it, servers that speak like it do.
        if data == "[DONE]" {
            self.settle(events);
            self.end = Some(End::Marker);
            return;
        }
        let chunk = json::object::<Chunk<'_>>(data).unwrap_or_default();
        // The name of the event says the same; where they differ, the type counts.
        let kind = json::word(chunk.kind).or(message.event).unwrap_or_default();
        let Some((code, message)) =
            fault::read(chunk.error).or_else(|| (kind == "error").then(|| fault::of(data)))
        else {
            return self.chunk(&kind, &chunk, events);
        };
        self.settle(events);
        self.end = Some(End::Error(message.clone()));
        events.push(Event::Error { code, message });
    }

    fn verdict(&self) -> Verdict {
        match &self.end {
            Some(End::Marker) => Verdict::Terminal,
            Some(End::Error(message)) => Verdict::Failed { message: message.clone() },
            None if self.finished => Verdict::Finished,
            None => Verdict::Unfinished,
        }
    }
}

/// The number of the next call.
fn next(calls: &mut u32) -> u32 {
    let index = *calls;
    *calls = calls.saturating_add(1);
    index
}

#[cfg(test)]
mod tests;
