//! What a body says, folded; on the way the rules that events keep.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tokencast::cast::event::{Event, Prose, Usage};
use tokencast::dialect::Verdict;
use tokencast::upstream::split::Piece;

use crate::spoken::Spoken;

/// Everything that a body says, folded; beside it the rules that events keep.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Folded {
    pub(crate) meta: Option<(Option<String>, Option<String>)>,
    pub(crate) choices: BTreeMap<u32, Choice>,
    pub(crate) usage: Option<Usage>,
    pub(crate) error: Option<(Option<String>, String)>,
}

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Choice {
    pub(crate) text: String,
    pub(crate) reasoning: String,
    pub(crate) refusal: String,
    pub(crate) tool_calls: BTreeMap<u32, ToolCall>,
    pub(crate) finish: Option<String>,
}

#[derive(Debug, Default, PartialEq)]
pub(crate) struct ToolCall {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) arguments: String,
}

impl Folded {
    fn apply(&mut self, event: Event) {
        assert!(self.error.is_none(), "{event:?} after an error");
        match event {
            Event::Meta { model, upstream_id } => {
                assert!(model.is_some() || upstream_id.is_some());
                assert_eq!(self.meta.replace((model, upstream_id)), None, "meta is said once");
            }
            Event::Prose { choice, kind, text } => {
                assert!(!text.is_empty(), "an empty delta says nothing");
                let choice = self.choices.entry(choice).or_default();
                match kind {
                    Prose::Text => &mut choice.text,
                    Prose::Reasoning => &mut choice.reasoning,
                    Prose::Refusal => &mut choice.refusal,
                }
                .push_str(&text);
            }
            Event::ToolCall { choice, index, id, name, arguments } => {
                let calls = &mut self.choices.entry(choice).or_default().tool_calls;
                let says_something = id.is_some() || name.is_some() || !arguments.is_empty();
                assert!(says_something || !calls.contains_key(&index), "only the first event may be empty");
                let call = calls.entry(index).or_default();
                assert!(id.is_none() || call.id.is_none(), "an id is said once");
                assert!(name.is_none() || call.name.is_none(), "a name is said once");
                call.id = call.id.take().or(id);
                call.name = call.name.take().or(name);
                call.arguments.push_str(&arguments);
            }
            Event::Usage(usage) => {
                assert_ne!(self.usage.replace(usage), Some(usage), "usage is not repeated");
            }
            Event::Finish { choice, reason } => {
                let finish = &mut self.choices.entry(choice).or_default().finish;
                assert_eq!(finish.replace(reason), None, "a choice finishes once");
            }
            Event::Error { code, message } => self.error = Some((code, message)),
        }
    }

    pub(crate) fn to_json(&self, verdict: &Verdict) -> Value {
        let choice = |choice: &Choice| {
            let call =
                |call: &ToolCall| json!({"id": call.id, "name": call.name, "arguments": call.arguments});
            let calls: Map<_, _> = choice.tool_calls.iter().map(|(i, c)| (i.to_string(), call(c))).collect();
            json!({
                "text": choice.text,
                "reasoning": choice.reasoning,
                "refusal": choice.refusal,
                "tool_calls": calls,
                "finish": choice.finish,
            })
        };
        let choices: Map<_, _> = self.choices.iter().map(|(i, c)| (i.to_string(), choice(c))).collect();
        let (model, upstream_id) = self.meta.clone().unwrap_or_default();
        let error = self.error.as_ref().map(|(code, message)| json!({"code": code, "message": message}));
        let verdict = match verdict {
            Verdict::Unfinished => "unfinished",
            Verdict::Finished => "finished",
            Verdict::Terminal => "terminal",
            Verdict::Failed { .. } => "failed",
        };
        json!({
            "model": model,
            "upstream_id": upstream_id,
            "choices": choices,
            "usage": self.usage,
            "error": error,
            "verdict": verdict,
        })
    }
}

/// Reads a body to its clean end and checks on the way that nothing follows a final verdict.
pub(crate) fn read(spoken: &Spoken, blocks: &[Piece]) -> (Folded, Verdict) {
    let mut dialect = spoken.family.dialect(spoken.path);
    let mut folded = Folded::default();
    for block in blocks {
        let before = dialect.verdict();
        let mut events = Vec::new();
        if block.complete {
            dialect.read(&block.bytes, &mut events);
        } else {
            dialect.read_rest(&block.bytes, &mut events);
        }
        if matches!(before, Verdict::Terminal | Verdict::Failed { .. }) {
            assert_eq!(events, [], "after {before:?}");
            assert_eq!(dialect.verdict(), before);
        }
        events.into_iter().for_each(|event| folded.apply(event));
    }
    let verdict = dialect.verdict();
    let failed = folded.error.as_ref().map(|(_, message)| Verdict::Failed { message: message.clone() });
    assert_eq!(failed.is_some(), matches!(verdict, Verdict::Failed { .. }));
    assert!(failed.is_none_or(|failed| failed == verdict));
    (folded, verdict)
}
