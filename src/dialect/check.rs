//! Tests of a dialect as data: messages in, events out, one line each.

use super::{Dialect, Verdict};
use crate::cast::event::{Event, Prose};

fn shown(event: &Event) -> String {
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
    assert_eq!(events.iter().map(shown).collect::<Vec<_>>(), expected, "{data:?}");
    let read = match dialect.verdict() {
        Verdict::Unfinished => "unfinished".to_owned(),
        Verdict::Finished => "finished".to_owned(),
        Verdict::Terminal => "terminal".to_owned(),
        Verdict::Failed { message } => format!("failed {message}"),
    };
    assert_eq!(read, verdict, "{data:?}");
    let count = events.len();
    dialect.read(format!("data: {more}\n\n").as_bytes(), &mut events);
    assert_eq!(events.len() == count, read == "terminal" || read.starts_with("failed"), "{data:?}");
}
