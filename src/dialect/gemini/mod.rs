//! Google's Gemini, by `streamGenerateContent?alt=sse`, as the Gemini API and Vertex AI have it.
//!
//! One chunk's events come in one order: meta; per candidate its parts in their order, finish; a prompt that was
//! blocked; usage; error. There is no marker: a body is whole when it ends after every candidate has finished.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod candidate;
mod chunk;
mod partial;

use std::borrow::Cow;
use std::collections::BTreeMap;

use self::candidate::Candidate;
use self::chunk::{Chunk, PromptFeedback};
use super::json::{self, Leaf};
use super::told::Told;
use super::{Dialect, Verdict, fault, sse};
use crate::cast::event::{Event, Prose};

/// Candidates of one answer that are told apart; the rest get no events. Google allows eight.
const CANDIDATES_MAX: usize = 128;

/// What has to be remembered of one body to understand its next block.
#[derive(Debug, Default)]
pub(super) struct Gemini {
    begun: bool,
    told: Told,
    candidates: BTreeMap<u32, Candidate>,
    failed: Option<String>,
}

impl Gemini {
    fn chunk(&mut self, chunk: &Chunk<'_>, events: &mut Vec<Event>) {
        self.told.introduce(chunk.model, chunk.id, events);
        for candidate in &chunk.candidates.0 {
            // Of the first one some servers leave it out.
            let number = match candidate.index {
                None => 0,
                Some(_) => match json::number(candidate.index) {
                    Some(number) => number,
                    None => continue,
                },
            };
            if let Some(known) = self.candidate(number) {
                known.read(candidate, events);
            }
        }
        self.blocked(chunk.prompt_feedback, events);
        if let Some((input, output)) = usage(chunk.usage) {
            self.told.usage(input, output, events);
        }
    }

    fn candidate(&mut self, number: u32) -> Option<&mut Candidate> {
        let has_room = self.candidates.len() < CANDIDATES_MAX || self.candidates.contains_key(&number);
        has_room.then(|| self.candidates.entry(number).or_insert_with(|| Candidate::new(number)))
    }

    /// A prompt that was blocked has no candidates: the answer is a refusal, and whole.
    fn blocked(&mut self, feedback: Leaf<'_>, events: &mut Vec<Event>) {
        if !self.candidates.is_empty() {
            return;
        }
        let feedback = feedback.and_then(|feedback| json::object::<PromptFeedback<'_>>(feedback.get()));
        let Some(feedback) = feedback else { return };
        // Google's words for a reason that is not given.
        let is_given =
            |reason: &String| !matches!(&**reason, "BLOCK_REASON_UNSPECIFIED" | "BLOCKED_REASON_UNSPECIFIED");
        let Some(reason) = json::string(feedback.block_reason).filter(is_given) else { return };
        if let Some(text) = json::word(feedback.message) {
            events.push(Event::Prose { choice: 0, kind: Prose::Refusal, text: text.into() });
        }
        if let Some(candidate) = self.candidate(0) {
            candidate.finish(reason, events);
        }
    }

    fn fail(&mut self, error: Leaf<'_>, events: &mut Vec<Event>) {
        let Some((code, message)) = fault::read(error) else { return };
        for candidate in self.candidates.values_mut() {
            candidate.settle(events);
        }
        self.failed = Some(message.clone());
        events.push(Event::Error { code, message });
    }

    /// An error that stands there without `data:`, as Google's front end writes it into a stream that has begun.
    fn bare(&mut self, block: &[u8], events: &mut Vec<Event>) {
        let text = bare(block);
        if let Some(chunk) = json::object::<Chunk<'_>>(&text) {
            self.fail(chunk.error, events);
        }
    }
}

impl Dialect for Gemini {
    fn read(&mut self, block: &[u8], events: &mut Vec<Event>) {
        let first = !std::mem::replace(&mut self.begun, true);
        if self.failed.is_some() {
            return;
        }
        let Some(message) = sse::parse(block, first) else { return self.bare(block, events) };
        if let Some(chunk) = json::object::<Chunk<'_>>(&message.data) {
            self.chunk(&chunk, events);
            self.fail(chunk.error, events);
        }
    }

    fn read_rest(&mut self, rest: &[u8], events: &mut Vec<Event>) {
        if self.failed.is_none() {
            self.bare(rest, events);
        }
    }

    fn verdict(&self) -> Verdict {
        match &self.failed {
            Some(message) => Verdict::Failed { message: message.clone() },
            None if self.candidates.is_empty() => Verdict::Unfinished,
            None if self.candidates.values().all(Candidate::finished) => Verdict::Finished,
            None => Verdict::Unfinished,
        }
    }
}

/// The text of a block that is JSON as it stands there.
fn bare(block: &[u8]) -> Cow<'_, str> {
    let block = block.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(block).trim_ascii();
    if block.starts_with(b"{") { String::from_utf8_lossy(block) } else { Cow::Borrowed("") }
}

/// The counts of input and output of a chunk, each of which says how many there are so far. What the model was given by
/// tools is input, and what it thought is output: together they are Google's `totalTokenCount`.
fn usage(usage: Leaf<'_>) -> Option<(Option<u64>, Option<u64>)> {
    let usage = json::object::<chunk::Usage<'_>>(usage?.get())?;
    let sum = |a: Leaf<'_>, b: Leaf<'_>| {
        let counts = [a, b].map(json::number::<u64>);
        counts.into_iter().flatten().reduce(u64::saturating_add)
    };
    let input = sum(usage.prompt, usage.tool_use_prompt);
    let output = sum(usage.candidates, usage.thoughts);
    Some((input, output))
}

#[cfg(test)]
mod tests;
