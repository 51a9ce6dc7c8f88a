//! OpenAI's chat completions, and what compatible servers make of them.
//!
//! One chunk's events come in one order: meta; per choice reasoning, text, refusal, tool calls, finish;
//! usage; error.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod choice;
mod chunk;

use std::collections::BTreeMap;

use self::choice::Choice;
use self::chunk::{Chunk, Groq};
use super::json::{self, Text};
use super::told::Told;
use super::{Dialect, Verdict, fault, sse};
use crate::cast::event::Event;

/// Choices of one answer that are told apart; OpenAI allows as many. Those of a higher rank get no events.
const CHOICES_MAX: usize = 128;

/// What has to be remembered of one body to understand its next block.
#[derive(Debug, Default)]
pub(super) struct OpenAiChat {
    begun: bool,
    told: Told,
    choices: BTreeMap<u32, Choice>,
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    Marker,
    Error(String),
}

impl OpenAiChat {
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, events: &mut Vec<Event>) {
        self.told.introduce(chunk.model, chunk.id, events);
        for choice in &chunk.choices.0 {
            let number = match choice.index {
                None => 0,
                Some(_) => match json::number(choice.index) {
                    Some(number) => number,
                    None => continue,
                },
            };
            if self.choices.len() < CHOICES_MAX || self.choices.contains_key(&number) {
                self.choices.entry(number).or_insert_with(|| Choice::new(number)).read(choice, events);
            }
        }
        if let Some((input, output)) = usage(chunk) {
            self.told.usage(input, output, events);
        }
    }

    /// Says what the choices still hold back, because nothing more is read.
    fn settle(&mut self, events: &mut Vec<Event>) {
        for choice in self.choices.values_mut() {
            choice.settle(events);
        }
    }
}

impl Dialect for OpenAiChat {
    fn read(&mut self, block: &[u8], events: &mut Vec<Event>) {
        let first = !std::mem::replace(&mut self.begun, true);
        if self.end.is_some() {
            return;
        }
        let message = sse::parse(block, first).or_else(|| sse::parse_error_field(block, first));
        let Some(message) = message else { return };
        let data = message.data.trim();
        if data == "[DONE]" {
            self.settle(events);
            self.end = Some(End::Marker);
            return;
        }
        let chunk = json::object::<Chunk<'_>>(data);
        if let Some(chunk) = &chunk {
            self.chunk(chunk, events);
        }
        if let Some((code, message)) = error(message.event.as_deref(), data, &chunk.unwrap_or_default()) {
            self.settle(events);
            self.end = Some(End::Error(message.clone()));
            events.push(Event::Error { code, message });
        }
    }

    fn verdict(&self) -> Verdict {
        match &self.end {
            Some(End::Marker) => Verdict::Terminal,
            Some(End::Error(message)) => Verdict::Failed { message: message.clone() },
            None if self.choices.is_empty() => Verdict::Unfinished,
            None if self.choices.values().all(Choice::finished) => Verdict::Finished,
            None => Verdict::Unfinished,
        }
    }
}

/// The chunk's counts of input and output, wherever they stand.
fn usage(chunk: &Chunk<'_>) -> Option<(Option<u64>, Option<u64>)> {
    let groq = || json::object::<Groq<'_>>(chunk.x_groq?.get())?.usage;
    let choice = || chunk.choices.0.iter().rev().find_map(|choice| choice.usage);
    let usage = json::object::<chunk::Usage<'_>>(chunk.usage.or_else(groq).or_else(choice)?.get())?;
    let input = json::number(usage.prompt_tokens).or_else(|| json::number(usage.input_tokens));
    let output = json::number(usage.completion_tokens).or_else(|| json::number(usage.output_tokens));
    Some((input, output))
}

/// The error that a message holds, as code and message. It is one if it has an `error` that JavaScript would
/// call true, if it calls itself one, or if the event is named so.
fn error(event: Option<&str>, data: &str, chunk: &Chunk<'_>) -> Option<(Option<String>, String)> {
    let named_so = event == Some("error");
    let calls_itself_one = Text::of(chunk.object).is_some_and(|object| object.is("error"));
    let all_of_it = named_so || (calls_itself_one && chunk.message.is_some());
    fault::read(chunk.error).or_else(|| all_of_it.then(|| fault::of(data)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;
    use crate::dialect::fault::NO_MESSAGE;

    fn check(data: &[&str], expected: &[&str], verdict: &str) {
        let more = r#"{"choices":[{"delta":{"content":"more"}}],"error":"more"}"#;
        crate::dialect::shown::check(OpenAiChat::new(), data, more, expected, verdict);
    }

    /// Reads deltas of choice 0.
    fn check_deltas(deltas: &[&str], expected: &[&str]) {
        let data: Vec<_> =
            deltas.iter().map(|delta| format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#)).collect();
        check(&data.iter().map(String::as_str).collect::<Vec<_>>(), expected, "unfinished");
    }

    #[test]
    fn content() {
        let check = check_deltas;
        check(&[r#"{"role":"assistant","content":""}"#, r#"{"content":"Hel"}"#], &["text0 Hel"]);
        check(&[r#"{"content":null}"#, "{}", "null", "[]", "7", r#""x""#], &[]);
        check(&[r#"{"content":7}"#, r#"{"content":{"text":"x"}}"#, r#"{"content":[7,"x",{}]}"#], &[]);
        check(&[r#"{"content":"\u00e9\n\"","x":1e999}"#], &["text0 é\n\""]);
        check(&[r#"{"content":"a","content":"b"}"#], &["text0 b"]);
        check(&[r#"{"refusal":"No."}"#, r#"{"refusal":null}"#], &["refusal0 No."]);
        check(
            &[r#"{"refusal":"c","content":"b","reasoning":"a"}"#],
            &["reasoning0 a", "text0 b", "refusal0 c"],
        );
        check(&[r#"{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}"#], &["text0 ab"]);
        check(
            &[
                r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"t"}]}]}"#,
                r#"{"content":[{"type":"text","text":"a"}]}"#,
            ],
            &["reasoning0 t", "text0 a"],
        );
        check(
            &[r#"{"content":[{"type":"thinking","thinking":"t"},{"type":"reference","text":"x"}]}"#],
            &["reasoning0 t"],
        );
    }

    #[test]
    fn reasoning() {
        let check = check_deltas;
        check(&[r#"{"content":null,"reasoning_content":"H"}"#], &["reasoning0 H"]);
        check(&[r#"{"reasoning":"H","channel":"analysis"}"#], &["reasoning0 H"]);
        check(&[r#"{"reasoning":"H","reasoning_content":"H"}"#], &["reasoning0 H"]);
        check(&[r#"{"reasoning":"H","reasoning_content":""}"#], &["reasoning0 H"]);
        check(
            &[r#"{"reasoning":"H","reasoning_details":[{"type":"reasoning.text","text":"H"}]}"#],
            &["reasoning0 H"],
        );
        check(
            &[r#"{"reasoning":null,"reasoning_details":[{"type":"reasoning.text","text":"a"},
                {"type":"reasoning.summary","summary":"b"},{"type":"reasoning.encrypted","data":"c"}]}"#
                .replace('\n', "")
                .as_str()],
            &["reasoning0 ab"],
        );
        check(&[r#"{"reasoning_details":[{"type":"reasoning.text","signature":"s"}]}"#], &[]);
    }

    #[test]
    fn a_choice_that_cannot_be_is_none() {
        for index in ["-1", "99999999999", "\"x\"", "{}"] {
            let data = format!(r#"{{"choices":[{{"index":{index},"delta":{{"content":"a"}}}}]}}"#);
            check(&[&data], &[], "unfinished");
        }
        check(&[r#"{"choices":[{"index":null,"delta":{"content":"a"}}]}"#], &["text0 a"], "unfinished");
    }

    #[test]
    fn legacy_text() {
        check(&[r#"{"choices":[{"text":"a","index":0}]}"#], &["text0 a"], "unfinished");
        check(&[r#"{"choices":[{"text":"a","delta":{"content":"a"}}]}"#], &["text0 a"], "unfinished");
        check(&[r#"{"choices":[{"text":"a","delta":{"content":""}}]}"#], &[], "unfinished");
        check(&[r#"{"choices":[{"text":"a","delta":{"reasoning":"a"}}]}"#], &["reasoning0 a"], "unfinished");
    }

    #[test]
    fn tool_calls() {
        let check = check_deltas;
        check(
            &[
                r#"{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]}"#,
                r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]}"#,
                r#"{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":":1}"}}]}"#,
                r#"{"tool_calls":[{"index":0,"function":{"arguments":""}}]}"#,
                r#"{"tool_calls":[]}"#,
                r#"{"tool_calls":null}"#,
            ],
            &["call0.0 c f ", "call0.0 - - {\"a\"", "call0.0 - - :1}"],
        );
        // The index is the key, even under another id; an id or a name may come late.
        check(
            &[
                r#"{"tool_calls":[{"index":1,"function":{"arguments":"a"}},{"index":0,"id":"x"}]}"#,
                r#"{"tool_calls":[{"index":1,"id":"y","function":{"name":"f"}}]}"#,
                r#"{"tool_calls":[{"index":1,"id":"z","function":{"name":"g","arguments":"b"}}]}"#,
            ],
            &["call0.1 - - a", "call0.0 x - ", "call0.1 y f ", "call0.1 - - b"],
        );
        // Arguments that are no string.
        check(
            &[r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":{"a": [1, 1e999]}}}]}"#],
            &["call0.0 - f {\"a\": [1, 1e999]}"],
        );
        check(&[r#"{"tool_calls":[{"index":0,"function":{"arguments":7}}]}"#], &["call0.0 - - "]);
        check(&[r#"{"tool_calls":[{"function":null},7,{"index":-1}]}"#], &["call0.0 - - "]);
        check(
            &[
                r#"{"tool_calls":[{"index":0,"id":"c","type":"custom","custom":{"name":"f","input":"a"}}]}"#,
                r#"{"tool_calls":[{"index":0,"custom":{"input":"b"}}]}"#,
            ],
            &["call0.0 c f a", "call0.0 - - b"],
        );
        check(
            &[r#"{"function_call":{"name":"f","arguments":""}}"#, r#"{"function_call":{"arguments":"a"}}"#],
            &["call0.0 - f ", "call0.0 - - a"],
        );
    }

    #[test]
    fn tool_calls_without_an_index() {
        let check = check_deltas;
        check(
            &[
                r#"{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"1"}}]}"#,
                r#"{"tool_calls":[{"function":{"arguments":"2"}}]}"#,
                r#"{"tool_calls":[{"id":"b","function":{"name":"f","arguments":"3"}}]}"#,
                r#"{"tool_calls":[{"id":"","function":{"name":"","arguments":"4"}}]}"#,
                r#"{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"5"}}]}"#,
            ],
            &["call0.0 a f 1", "call0.0 - - 2", "call0.1 b f 3", "call0.1 - - 4", "call0.0 - - 5"],
        );
        check(
            &[r#"{"tool_calls":[{"id":"","function":{"name":"f"}},{"function":{"name":"f"}}]}"#],
            &["call0.0 - f ", "call0.1 - f "],
        );
        check(
            &[r#"{"tool_calls":[{"index":3,"id":"a"}]}"#, r#"{"tool_calls":[{"index":null,"id":"b"}]}"#],
            &["call0.3 a - ", "call0.4 b - "],
        );
    }

    #[test]
    fn halves_of_emoji() {
        let delta = check_deltas;
        delta(&[r#"{"content":"a\ud83d"}"#, r#"{"content":"\ude00"}"#], &["text0 a", "text0 😀"]);
        delta(&[r#"{"content":"\ud83d"}"#, r#"{"content":""}"#, r#"{"content":"\ude00b"}"#], &["text0 😀b"]);
        delta(&[r#"{"content":"\ud83d"}"#, r#"{"content":"b"}"#], &["text0 \u{FFFD}b"]);
        // Each channel has its own.
        delta(
            &[r#"{"content":"\ud83d"}"#, r#"{"reasoning":"\ude00"}"#, r#"{"content":"\ude00"}"#],
            &["reasoning0 \u{FFFD}", "text0 😀"],
        );
        delta(
            &[
                r#"{"tool_calls":[{"index":0,"id":"a","function":{"arguments":"\ud83d"}}]}"#,
                r#"{"tool_calls":[{"index":1,"id":"b","function":{"arguments":"\ud83d"}}]}"#,
                r#"{"tool_calls":[{"index":0,"function":{"arguments":"\ude00"}}]}"#,
                r#"{"tool_calls":[{"index":1,"function":{"arguments":{}}}]}"#,
            ],
            &["call0.0 a - ", "call0.1 b - ", "call0.0 - - 😀", "call0.1 - - \u{FFFD}{}"],
        );
        let call = r#"{"function":{"arguments":"\ud83d"}}"#;
        let half = format!(r#"{{"choices":[{{"delta":{{"content":"\ud83d","tool_calls":[{call}]}}}}]}}"#);
        let half = half.as_str();
        let finish = r#"{"choices":[{"finish_reason":"stop"}]}"#;
        check(
            &[half, finish],
            &["call0.0 - - ", "text0 \u{FFFD}", "call0.0 - - \u{FFFD}", "finish0 stop"],
            "finished",
        );
        check(&[half, "[DONE]"], &["call0.0 - - ", "text0 \u{FFFD}", "call0.0 - - \u{FFFD}"], "terminal");
        check(
            &[half, r#"{"error":"x"}"#],
            &["call0.0 - - ", "text0 \u{FFFD}", "call0.0 - - \u{FFFD}", "error -: x"],
            "failed x",
        );
    }

    #[test]
    fn ends() {
        let stop = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        check(&[], &[], "unfinished");
        check(&["[DONE]"], &[], "terminal");
        check(&["  [DONE] "], &[], "terminal");
        check(&["data: [DONE]\r\n\r\n\n\n"], &[], "terminal");
        check(&[stop], &["finish0 stop"], "finished");
        check(&[stop, "[DONE]"], &["finish0 stop"], "terminal");
        check(&[stop, stop.replace("stop", "length").as_str()], &["finish0 stop"], "finished");
        check(
            &[r#"{"choices":[{"finish_reason":null},{"finish_reason":""},{"finish_reason":7}]}"#],
            &[],
            "unfinished",
        );
        check(
            &[
                r#"{"choices":[{"index":1,"delta":{"content":"a"}},{"index":0,"delta":{"content":"b"}}]}"#,
                stop,
            ],
            &["text1 a", "text0 b", "finish0 stop"],
            "unfinished",
        );
        check(
            &[r#"{"choices":[{"index":1,"delta":{"content":"a"}}]}"#, stop, &stop.replace(":0", ":1")],
            &["text1 a", "finish0 stop", "finish1 stop"],
            "finished",
        );
    }

    #[test]
    fn meta() {
        check(
            &[
                r#"{"choices":[],"id":"","model":""}"#,
                r#"{"id":"i","model":"m"}"#,
                r#"{"id":"j","model":"n"}"#,
            ],
            &["meta m i"],
            "unfinished",
        );
        check(&[r#"{"id":7,"model":"m","choices":[{"text":"a"}]}"#], &["meta m -", "text0 a"], "unfinished");
    }

    #[test]
    fn usage() {
        let check = |data: &[&str], expected: &[&str]| check(data, expected, "unfinished");
        check(
            &[r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}"#, r#"{"usage":null}"#],
            &["usage Some(3) Some(5)"],
        );
        check(
            &[r#"{"x_groq":{"id":"r","usage":{"input_tokens":3,"output_tokens":5}}}"#],
            &["usage Some(3) Some(5)"],
        );
        check(&[r#"{"choices":[{"usage":{"prompt_tokens":3}}]}"#], &["usage Some(3) None"]);
        // Cumulative, in every chunk.
        check(
            &[
                r#"{"usage":{"prompt_tokens":3}}"#,
                r#"{"usage":{"prompt_tokens":3}}"#,
                r#"{"usage":{"completion_tokens":1}}"#,
                r#"{"usage":{"completion_tokens":2}}"#,
            ],
            &["usage Some(3) None", "usage Some(3) Some(1)", "usage Some(3) Some(2)"],
        );
        check(&[r#"{"usage":{}}"#, r#"{"usage":7}"#, r#"{"usage":{"prompt_tokens":1e999}}"#], &[]);
        check(
            &[
                r#"{"usage":{"prompt_tokens":-1,"completion_tokens":18446744073709551616}}"#,
                r#"{"x_groq":"x"}"#,
            ],
            &[],
        );
    }

    #[test]
    fn errors() {
        let none = [
            r#"{"error":null}"#,
            r#"{"error":false}"#,
            r#"{"error":0}"#,
            r#"{"error":""}"#,
            r#"{"object":"error"}"#,
        ];
        check(&none, &[], "unfinished");
        let check = |data: &str, code: &str, message: &str| {
            check(&[data], &[&format!("error {code}: {message}")], &format!("failed {message}"));
        };
        check(r#"{"error":{"message":"m","type":"t","code":"c"}}"#, "c", "m");
        check(r#"{"error":{"message":"m","type":"t","code":null}}"#, "t", "m");
        check(r#"{"error":{"message":"m","type":"t","code":502}}"#, "502", "m");
        check(r#"{"error":"m"}"#, "-", "m");
        check(r#"{"error":true}"#, "-", "true");
        check(r#"{"error":{"detail":["d"]}}"#, "-", r#"{"detail":["d"]}"#);
        check(r#"{"error":{}}"#, "-", NO_MESSAGE);
        check("event: error\ndata: {\"error\":{\"message\":\"m\"}}\n\n", "-", "m");
        check("event: error\ndata: {\"message\":\"m\",\"code\":\"c\"}\n\n", "c", "m");
        check("event: error\ndata: {\"error\":null,\"detail\":1}\n\n", "-", r#"{"error":null,"detail":1}"#);
        check("event: error\ndata: boom\n\n", "-", "boom");
        check("event: error\ndata: \"boom\"\n\n", "-", "boom");
        check("event: error\ndata:\n\n", "-", NO_MESSAGE);
        check(r#"{"object":"error","message":"m","type":"t","code":400}"#, "400", "m");
        check("error: {\"code\":500,\"message\":\"m\",\"type\":\"server_error\"}\n\n", "500", "m");
    }

    #[test]
    fn an_error_comes_last_in_its_chunk() {
        check(
            &[
                r#"{"id":"i","choices":[{"delta":{"content":"a"},"finish_reason":"length"}]}"#,
                r#"{"error":"m","usage":{"prompt_tokens":1},"choices":[{"text":"b","finish_reason":"x"}]}"#,
                "[DONE]",
            ],
            &["meta - i", "text0 a", "finish0 length", "text0 b", "usage Some(1) None", "error -: m"],
            "failed m",
        );
    }

    #[test]
    fn what_is_not_understood_yields_nothing() {
        check(
            &[
                ": OPENROUTER PROCESSING\n\n",
                "event: ping\ndata: {}\n\n",
                "",
                "null",
                "[]",
                "[{\"error\":\"x\"}]",
                "\"[DONE]\"",
                "[DONE",
                "{\"choices\":[{\"delta\":{\"content\":\"a\"}}]",
                "{\"choices\":{\"delta\":{\"content\":\"a\"}}}",
                "{\"choices\":[null,7,\"x\",[]]}",
            ],
            &[],
            "unfinished",
        );
        check(&["\u{FEFF}data: {\"error\":\"x\"}\n\n"], &["error -: x"], "failed x");
    }

    #[test]
    fn what_is_remembered_is_limited() {
        let mut dialect = OpenAiChat::new();
        let mut events = Vec::new();
        for index in 0..1_000 {
            let call = format!(r#"{{"index":{index},"function":{{"arguments":"a"}}}}"#);
            let block = format!(
                "data: {{\"choices\":[{{\"index\":{index},\"delta\":{{\"tool_calls\":[{call}]}}}}]}}\n\n"
            );
            dialect.read(block.as_bytes(), &mut events);
            let block =
                format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{call}]}}}}]}}\n\n");
            dialect.read(block.as_bytes(), &mut events);
        }
        assert_eq!(dialect.choices.len(), CHOICES_MAX);
        // Choice 0 took 256 calls, call 0 twice; the others one each.
        assert_eq!(events.len(), 257 + CHOICES_MAX - 1);
    }
}
