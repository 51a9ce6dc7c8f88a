//! What a stream has said so far.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::collections::BTreeMap;

use super::item::{Said, Usage};

/// All events so far, folded into one value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fold {
    pub model: Option<String>,
    pub choices: BTreeMap<u32, Choice>,
    pub usage: Option<Usage>,
    /// What the provider said went wrong.
    pub errors: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    pub text: String,
    pub reasoning: String,
    pub refusal: String,
    pub tool_calls: BTreeMap<u32, ToolCall>,
    pub finish: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolCall {
    pub id: Option<String>,
    pub name: Option<String>,
    pub arguments: String,
}

impl Fold {
    pub fn apply(&mut self, said: &Said) {
        match said {
            Said::Meta { model, .. } => self.model.clone_from(model),
            Said::Text { choice, text } => self.choice(*choice).text.push_str(text),
            Said::Reasoning { choice, text } => self.choice(*choice).reasoning.push_str(text),
            Said::Refusal { choice, text } => self.choice(*choice).refusal.push_str(text),
            Said::ToolCall { choice, index, id, name, arguments } => {
                let call = self.choice(*choice).tool_calls.entry(*index).or_default();
                call.id = call.id.take().or_else(|| id.clone());
                call.name = call.name.take().or_else(|| name.clone());
                call.arguments.push_str(arguments);
            }
            Said::Usage(usage) => self.usage = Some(*usage),
            Said::Finish { choice, reason } => self.choice(*choice).finish = Some(reason.clone()),
            Said::Error { message, .. } => self.errors.push(message.clone()),
            Said::Unknown => {}
        }
    }

    /// Text of choice 0.
    pub fn text(&self) -> &str {
        self.choices.get(&0).map_or("", |choice| &choice.text)
    }

    fn choice(&mut self, number: u32) -> &mut Choice {
        self.choices.entry(number).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_stay_apart() {
        let call = |choice, index, id: Option<&str>, arguments: &str| Said::ToolCall {
            choice,
            index,
            id: id.map(Into::into),
            name: id.map(|_| "f".into()),
            arguments: arguments.into(),
        };
        let text = |choice, text: &str| Said::Text { choice, text: text.into() };
        let mut fold = Fold::default();
        for said in [
            text(0, "a"),
            text(1, "x"),
            Said::Reasoning { choice: 0, text: "r".into() },
            call(0, 0, Some("c0"), "{"),
            call(0, 1, Some("c1"), "["),
            call(0, 0, None, "}"),
            text(0, "b"),
            Said::Finish { choice: 0, reason: "stop".into() },
            Said::Usage(Usage { input: None, output: Some(1) }),
            Said::Usage(Usage { input: None, output: Some(2) }),
        ] {
            fold.apply(&said);
        }
        let first = &fold.choices[&0];
        assert_eq!((fold.text(), first.reasoning.as_str(), fold.choices[&1].text.as_str()), ("ab", "r", "x"));
        assert_eq!(
            (first.tool_calls[&0].arguments.as_str(), first.tool_calls[&0].id.as_deref()),
            ("{}", Some("c0"))
        );
        assert_eq!(first.tool_calls[&1].arguments, "[");
        assert_eq!((first.finish.as_deref(), fold.usage.unwrap().output), (Some("stop"), Some(2)));
    }
}
