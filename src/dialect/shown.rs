//! What a dialect says, as tables of tests have it.

use super::{Dialect, Verdict};
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

/// Reads `data`, each a message's data or a whole block, and compares events and verdict. Whatever the verdict is
/// final for yields nothing more, not even `more`, which otherwise yields something.
pub(super) fn check(mut dialect: impl Dialect, data: &[&str], more: &str, expected: &[&str], verdict: &str) {
    let mut events = Vec::new();
    for data in data {
        let block = if data.ends_with("\n\n") { (*data).to_owned() } else { format!("data: {data}\n\n") };
        dialect.read(block.as_bytes(), &mut events);
    }
    let (lines, read) = shown(&events, &dialect.verdict());
    assert_eq!(lines, expected, "{data:?}");
    assert_eq!(read, verdict, "{data:?}");
    dialect.read(format!("data: {more}\n\n").as_bytes(), &mut events);
    let nothing_more = events.len() == lines.len();
    assert_eq!(nothing_more, read == "terminal" || read.starts_with("failed"), "{data:?}");
}
