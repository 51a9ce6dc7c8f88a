//! What a stream has said so far, folded.

use std::collections::BTreeMap;

use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};

use super::event::{Event, Prose, Usage};

/// All events up to some block, folded into one value.
#[derive(Debug, Clone, Default)]
pub struct Fold {
    pub model: Option<String>,
    pub upstream_id: Option<String>,
    pub choices: Choices,
    pub usage: Option<Usage>,
}

/// Choices by their number.
#[derive(Debug, Clone, Default)]
pub struct Choices(BTreeMap<u32, Choice>);

/// What one choice has said.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    pub text: String,
    pub reasoning: String,
    pub refusal: String,
    pub tool_calls: BTreeMap<u32, ToolCall>,
    pub finish: Option<String>,
}

/// One tool call, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct ToolCall {
    pub id: Option<String>,
    pub name: Option<String>,
    pub arguments: String,
}

impl Fold {
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Meta { model, upstream_id } => {
                self.model.clone_from(model);
                self.upstream_id.clone_from(upstream_id);
            }
            Event::Prose { choice, kind, text } => {
                let choice = self.choices.0.entry(*choice).or_default();
                match kind {
                    Prose::Text => &mut choice.text,
                    Prose::Reasoning => &mut choice.reasoning,
                    Prose::Refusal => &mut choice.refusal,
                }
                .push_str(text);
            }
            Event::ToolCall { choice, index, id, name, arguments } => {
                let choice = self.choices.0.entry(*choice).or_default();
                let call = choice.tool_calls.entry(*index).or_default();
                call.id = call.id.take().or_else(|| id.clone());
                call.name = call.name.take().or_else(|| name.clone());
                call.arguments.push_str(arguments);
            }
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Finish { choice, reason } => {
                self.choices.0.entry(*choice).or_default().finish = Some(reason.clone());
            }
            Event::Error { .. } => {}
        }
    }

    /// Bytes of all that was said.
    pub fn said_bytes(&self) -> usize {
        let of_choice = |Choice { text, reasoning, refusal, tool_calls, .. }: &Choice| -> usize {
            let calls = tool_calls.values().map(|call| call.arguments.len());
            text.len() + reasoning.len() + refusal.len() + calls.sum::<usize>()
        };
        self.choices.0.values().map(of_choice).sum()
    }

    /// Finish reason of choice 0.
    pub fn finish(&self) -> Option<&str> {
        self.choices.0.get(&0)?.finish.as_deref()
    }
}

impl Serialize for Choices {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Numbered<'a>(u32, &'a Choice);
        impl Serialize for Numbered<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let Numbered(number, choice) = self;
                let fields = if *number == 0 { 5 } else { 6 };
                let mut out = serializer.serialize_struct("choice", fields)?;
                if *number == 0 {
                    out.skip_field("choice")?;
                } else {
                    out.serialize_field("choice", number)?;
                }
                out.serialize_field("text", &choice.text)?;
                out.serialize_field("reasoning", &choice.reasoning)?;
                out.serialize_field("refusal", &choice.refusal)?;
                out.serialize_field("tool_calls", &ToolCalls(&choice.tool_calls))?;
                out.serialize_field("finish", &choice.finish)?;
                out.end()
            }
        }
        let mut out = serializer.serialize_seq(Some(self.0.len()))?;
        for (number, choice) in &self.0 {
            out.serialize_element(&Numbered(*number, choice))?;
        }
        out.end()
    }
}

struct ToolCalls<'a>(&'a BTreeMap<u32, ToolCall>);

impl Serialize for ToolCalls<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            index: u32,
            id: &'a Option<String>,
            name: &'a Option<String>,
            arguments: &'a str,
        }
        let mut out = serializer.serialize_seq(Some(self.0.len()))?;
        for (index, call) in self.0 {
            let ToolCall { id, name, arguments } = call;
            out.serialize_element(&Wire { index: *index, id, name, arguments })?;
        }
        out.end()
    }
}
