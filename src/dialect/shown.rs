//! What a dialect says, as tables of tests have it.

use super::Verdict;
use crate::cast::event::{Event, Prose};

/// Each event in a line, and the verdict.
pub(super) fn shown(events: &[Event], verdict: &Verdict) -> (Vec<String>, String) {
    let verdict = match verdict {
        Verdict::Unfinished => "unfinished".to_owned(),
        Verdict::Finished => "finished".to_owned(),
        Verdict::Terminal => "terminal".to_owned(),
        Verdict::Failed { message } => format!("failed {message}"),
    };
    (events.iter().map(event).collect(), verdict)
}

fn event(event: &Event) -> String {
    let or_dash = |s: &Option<String>| s.clone().unwrap_or("-".to_owned());
    match event {
        Event::Meta { model, upstream_id } => format!("meta {} {}", or_dash(model), or_dash(upstream_id)),
        Event::Prose { choice, kind: Prose::Text, text } => format!("text{choice} {text}"),
        Event::Prose { choice, kind: Prose::Reasoning, text } => format!("reasoning{choice} {text}"),
        Event::Prose { choice, kind: Prose::Refusal, text } => format!("refusal{choice} {text}"),
        Event::ToolCall { choice, index, id, name, arguments } => {
            format!("call{choice}.{index} {} {} {arguments}", or_dash(id), or_dash(name))
        }
        Event::Usage(usage) => format!("usage {:?} {:?}", usage.input, usage.output),
        Event::Finish { choice, reason } => format!("finish{choice} {reason}"),
        Event::Error { code, message } => format!("error {}: {message}", or_dash(code)),
    }
}
