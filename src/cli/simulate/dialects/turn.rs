//! What was said, put together again, for answers and parts of answers that are whole.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::script::{EMOJI, Field, Say, Script};
use super::WHOLE_BYTES_MAX;

/// One choice of a whole answer.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) content: String,
    pub(super) reasoning: String,
    pub(super) refusal: String,
    pub(super) calls: Vec<Call>,
    pub(super) reason: &'static str,
}

/// One call of a tool.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    /// A JSON object.
    pub(super) arguments: String,
}

impl Turn {
    /// Every choice of a script, to its end. `None` when they are over [`WHOLE_BYTES_MAX`] together.
    pub(super) fn all(script: &mut Script) -> Option<Vec<Self>> {
        let mut turns = Vec::new();
        let mut bytes = 0;
        for say in script {
            if let Say::Role { .. } = say {
                turns.push(Self::default());
            }
            bytes += turns.get_mut(say.choice() as usize).map_or(0, |turn| turn.hear(&say));
            if bytes > WHOLE_BYTES_MAX {
                return None;
            }
        }
        Some(turns)
    }

    /// What a dialect without refusals says: whichever of the two there is.
    pub(super) fn text(&self) -> String {
        format!("{}{}", self.content, self.refusal)
    }

    /// Takes in what was said and returns how many bytes it was.
    fn hear(&mut self, say: &Say) -> usize {
        match say {
            Say::Tick | Say::Role { .. } => 0,
            Say::Delta { field, text, .. } => {
                self.field(*field).push_str(text);
                text.len()
            }
            Say::Half { field, escape, .. } => {
                hear_half(self.field(*field), escape);
                EMOJI.len_utf8()
            }
            Say::Call { id, name, .. } => {
                self.calls.push(Call { id: id.clone(), name: name.clone(), arguments: String::new() });
                name.len()
            }
            Say::Arguments { text, .. } => {
                if let Some(call) = self.calls.last_mut() {
                    call.arguments.push_str(text);
                }
                text.len()
            }
            Say::Finish { reason, .. } => {
                self.reason = reason;
                0
            }
        }
    }

    fn field(&mut self, field: Field) -> &mut String {
        match field {
            Field::Reasoning => &mut self.reasoning,
            Field::Content => &mut self.content,
            Field::Refusal => &mut self.refusal,
        }
    }
}

impl Call {
    pub(super) fn arguments(&self) -> Value {
        serde_json::from_str(&self.arguments).unwrap_or_default()
    }
}

/// The first half of an emoji brings the emoji, the second one nothing.
pub(super) fn hear_half(text: &mut String, escape: &str) {
    if escape.starts_with("\\ud8") {
        text.push(EMOJI);
    }
}

/// The call that each choice is making, for dialects that say them whole.
#[derive(Debug, Default)]
pub(super) struct Calls(BTreeMap<u64, Call>);

impl Calls {
    /// The call that is complete, now that this is said.
    pub(super) fn hear(&mut self, say: &Say) -> Option<Call> {
        match say {
            Say::Call { choice, id, name, .. } => {
                self.0.insert(*choice, Call { id: id.clone(), name: name.clone(), arguments: String::new() })
            }
            Say::Arguments { choice, text, .. } => {
                self.0.get_mut(choice)?.arguments.push_str(text);
                None
            }
            Say::Finish { choice, .. } => self.0.remove(choice),
            _ => None,
        }
    }
}
