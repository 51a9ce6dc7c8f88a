//! Ollama's own lines of JSON: `/api/chat` and `/api/generate`.
//!
//! One line's events come in one order: meta; reasoning, text, tool calls, finish; usage; error.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::json::{self, Any, Joint, Leaf, Text, shape};
use super::told::Told;
use super::{Dialect, Verdict, fault};
use crate::cast::event::{Delta, Event, Prose};

/// Tool calls that get events.
const TOOL_CALLS_MAX: u32 = 256;

shape! {
    /// One line of the stream. `/api/generate` has on top what `/api/chat` has in its message.
    Line {
        model: Leaf<'a> = b"model",
        message: Any<Message<'a>> = b"message",
        response: Leaf<'a> = b"response",
        thinking: Leaf<'a> = b"thinking",
        tool_calls: Leaf<'a> = b"tool_calls",
        done: Leaf<'a> = b"done",
        done_reason: Leaf<'a> = b"done_reason",
        prompt_eval_count: Leaf<'a> = b"prompt_eval_count",
        eval_count: Leaf<'a> = b"eval_count",
        error: Leaf<'a> = b"error",
    }
}

shape! {
    Message {
        content: Leaf<'a> = b"content",
        thinking: Leaf<'a> = b"thinking",
        tool_calls: Leaf<'a> = b"tool_calls",
    }
}

shape! {
    ToolCall {
        id: Leaf<'a> = b"id",
        function: Any<Function<'a>> = b"function",
    }
}

shape! {
    Function {
        name: Leaf<'a> = b"name",
        arguments: Leaf<'a> = b"arguments",
    }
}

/// What has to be remembered of one body to understand its next block.
#[derive(Debug, Default)]
pub(super) struct Ollama {
    told: Told,
    text: Joint,
    reasoning: Joint,
    /// Tool calls so far, each of which has its place in their order as its index.
    tool_calls: u32,
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    Done,
    Error(String),
}

impl Ollama {
    fn line(&mut self, line: &Line<'_>, events: &mut Vec<Event>) {
        self.told.introduce(line.model, None, events);
        let message = &line.message.0;
        self.say(Prose::Reasoning, Text::of(message.thinking).or_else(|| Text::of(line.thinking)), events);
        self.say(Prose::Text, Text::of(message.content).or_else(|| Text::of(line.response)), events);
        for call in json::list::<ToolCall<'_>>(message.tool_calls.or(line.tool_calls)) {
            self.call(&call, events);
        }
        if json::is_true(line.done) {
            self.settle(events);
            self.end = Some(End::Done);
            if let Some(reason) = json::string(line.done_reason) {
                events.push(Event::Finish { choice: 0, reason });
            }
        }
        let (input, output) = (json::number(line.prompt_eval_count), json::number(line.eval_count));
        self.told.usage(input, output, events);
    }

    fn say(&mut self, kind: Prose, text: Option<Text<'_>>, events: &mut Vec<Event>) {
        let mut said = Delta::default();
        let joint = self.joint(kind);
        if let Some(text) = text {
            joint.push(text, &mut said);
        }
        if !said.is_empty() {
            events.push(Event::Prose { choice: 0, kind, text: said });
        }
    }

    fn joint(&mut self, kind: Prose) -> &mut Joint {
        if kind == Prose::Reasoning { &mut self.reasoning } else { &mut self.text }
    }

    /// A call comes whole. The `index` that some of them have is not to be relied on: it may be 0 for all.
    fn call(&mut self, call: &ToolCall<'_>, events: &mut Vec<Event>) {
        if self.tool_calls >= TOOL_CALLS_MAX {
            return;
        }
        let index = self.tool_calls;
        self.tool_calls = self.tool_calls.saturating_add(1);
        let function = &call.function.0;
        let (id, name) = (json::string(call.id), json::string(function.name));
        let arguments = json::whole(function.arguments);
        events.push(Event::ToolCall { choice: 0, index, id, name, arguments });
    }

    /// Says halves of emoji whose other half never came.
    fn settle(&mut self, events: &mut Vec<Event>) {
        for kind in [Prose::Reasoning, Prose::Text] {
            let mut text = Delta::default();
            self.joint(kind).settle(&mut text);
            if !text.is_empty() {
                events.push(Event::Prose { choice: 0, kind, text });
            }
        }
    }
}

impl Dialect for Ollama {
    fn read(&mut self, block: &[u8], events: &mut Vec<Event>) {
        if self.end.is_some() {
            return;
        }
        let text = String::from_utf8_lossy(block);
        let Some(line) = json::object::<Line<'_>>(&text) else { return };
        self.line(&line, events);
        if let Some((code, message)) = fault::read(line.error) {
            self.settle(events);
            self.end = Some(End::Error(message.clone()));
            events.push(Event::Error { code, message });
        }
    }

    fn verdict(&self) -> Verdict {
        match &self.end {
            Some(End::Done) => Verdict::Terminal,
            Some(End::Error(message)) => Verdict::Failed { message: message.clone() },
            None => Verdict::Unfinished,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::shown::shown;

    /// Reads `lines` and compares events and verdict. Whatever the verdict is final for yields nothing more.
    fn check(lines: &[&str], expected: &[&str], verdict: &str) {
        for end in ["\n", "\r\n", ""] {
            let mut dialect = Ollama::default();
            let mut events = Vec::new();
            lines.iter().for_each(|line| dialect.read(format!("{line}{end}").as_bytes(), &mut events));
            let (events_shown, read) = shown(&events, &dialect.verdict());
            assert_eq!(events_shown, expected, "{lines:?}");
            assert_eq!(read, verdict, "{lines:?}");
            let count = events.len();
            dialect.read(b"{\"response\":\"more\",\"error\":\"more\"}\n", &mut events);
            assert_eq!(events.len() == count, verdict != "unfinished", "{lines:?}");
        }
    }

    #[test]
    fn prose() {
        let check = |lines: &[&str], expected: &[&str]| check(lines, expected, "unfinished");
        check(
            &[
                r#"{"model":"m","message":{"role":"assistant","content":"","thinking":"Hm"},"done":false}"#,
                r#"{"model":"m","message":{"role":"assistant","content":"a"},"done":false}"#,
            ],
            &["meta m -", "reasoning0 Hm", "text0 a"],
        );
        check(
            &[r#"{"model":"m","response":"","thinking":"Hm","done":false}"#, r#"{"response":"a"}"#],
            &["meta m -", "reasoning0 Hm", "text0 a"],
        );
        check(&[r#"{"message":{"content":"b","thinking":"a"}}"#], &["reasoning0 a", "text0 b"]);
        check(&[r#"{"message":{"content":"\u00e9\n"},"total_duration":1e999}"#], &["text0 é\n"]);
        check(
            &[r#"{"model":"m"}"#, r#"{"model":"n"}"#, r#"{"model":""}"#, r#"{"response":null}"#],
            &["meta m -"],
        );
        check(&[r#"{"message":{"content":7},"response":{}}"#, r#"{"message":"x","response":["y"]}"#], &[]);
    }

    #[test]
    fn tool_calls_come_whole() {
        let check = |lines: &[&str], expected: &[&str]| check(lines, expected, "unfinished");
        let call = r#"{"function":{"index":0,"name":"f","arguments":{"b": 1.0e2,"a":"\u2028\/"}}}"#;
        let line = format!(r#"{{"message":{{"content":"","tool_calls":[{call},{call}]}}}}"#);
        let shown = |index| format!(r#"call0.{index} - f {{"b": 1.0e2,"a":"\u2028\/"}}"#);
        check(&[&line, &line], &[&shown(0), &shown(1), &shown(2), &shown(3)]);
        check(
            &[r#"{"message":{"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{\"a\":1}"}}]}}"#],
            &[r#"call0.0 c f {"a":1}"#],
        );
        check(
            &[r#"{"response":"","tool_calls":[{"id":"","function":{"name":"f"}},7,{}]}"#],
            &["call0.0 - f ", "call0.1 - - "],
        );
        check(&[r#"{"message":{"tool_calls":null}}"#, r#"{"message":{"tool_calls":{}}}"#], &[]);
        let many = format!(r#"{{"message":{{"tool_calls":[{}]}}}}"#, vec!["{}"; 300].join(","));
        let expected: Vec<_> = (0..TOOL_CALLS_MAX).map(|index| format!("call0.{index} - - ")).collect();
        check(&[&many, &many], &expected.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn ends() {
        check(&[], &[], "unfinished");
        check(&[r#"{"response":"a","done":false}"#], &["text0 a"], "unfinished");
        check(
            &[r#"{"response":"a","done":"true"}"#, r#"{"done_reason":"stop"}"#],
            &["text0 a"],
            "unfinished",
        );
        check(
            &[r#"{"model":"m","message":{"content":"a"},"done":true,"done_reason":"stop",
                    "prompt_eval_count":26,"eval_count":7}"#
                .replace('\n', "")
                .as_str()],
            &["meta m -", "text0 a", "finish0 stop", "usage Some(26) Some(7)"],
            "terminal",
        );
        // As old servers had it, and as a model is loaded.
        check(&[r#"{"response":"a","done":true}"#], &["text0 a"], "terminal");
        check(
            &[r#"{"model":"m","response":"","done":true,"done_reason":"load"}"#],
            &["meta m -", "finish0 load"],
            "terminal",
        );
        check(&[r#"{"done":true,"done_reason":"stop"}"#, r#"{"error":"x"}"#], &["finish0 stop"], "terminal");
    }

    #[test]
    fn usage_is_said_when_it_changes() {
        check(
            &[
                r#"{"prompt_eval_count":3}"#,
                r#"{"prompt_eval_count":3,"eval_count":null}"#,
                r#"{"eval_count":1}"#,
                r#"{"eval_count":-1,"prompt_eval_count":1e999}"#,
            ],
            &["usage Some(3) None", "usage Some(3) Some(1)"],
            "unfinished",
        );
    }

    #[test]
    fn errors() {
        check(
            &[r#"{"response":"a"}"#, r#"{"error":"model runner has stopped"}"#, r#"{"done":true}"#],
            &["text0 a", "error -: model runner has stopped"],
            "failed model runner has stopped",
        );
        check(
            &[r#"{"response":"a","done":true,"error":{"code":"c","message":"m"}}"#],
            &["text0 a", "error c: m"],
            "failed m",
        );
        check(&[r#"{"error":null}"#, r#"{"error":""}"#, r#"{"error":false}"#], &[], "unfinished");
    }

    #[test]
    fn halves_of_emoji() {
        let high = r#"{"message":{"content":"a\ud83d","thinking":"\ud83d"}}"#;
        check(&[high, r#"{"message":{"content":"\ude00"}}"#], &["text0 a", "text0 😀"], "unfinished");
        let settled = ["text0 a", "reasoning0 \u{FFFD}", "text0 \u{FFFD}"];
        let and = |last: &'static str| settled.into_iter().chain([last]).collect::<Vec<_>>();
        check(&[high, r#"{"done":true,"done_reason":"stop"}"#], &and("finish0 stop"), "terminal");
        check(&[high, r#"{"error":"x"}"#], &and("error -: x"), "failed x");
    }

    #[test]
    fn what_is_not_understood_yields_nothing() {
        let lines = [
            "",
            " \t",
            "null",
            "[]",
            "[{\"error\":\"x\"}]",
            "{",
            "{}{}",
            "data: {\"done\":true}",
            "{\"a\":1}",
        ];
        check(&lines, &[], "unfinished");
        let (mut dialect, mut events) = (Ollama::default(), Vec::new());
        dialect.read(b"{\"response\":\"a\xFFb\"}\n", &mut events);
        assert_eq!(shown(&events, &dialect.verdict()).0, ["text0 a\u{FFFD}b"]);
    }
}
