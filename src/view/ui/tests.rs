//! The exact chunks, and the order rules of the AI SDK for every stream, however it was cut into frames and wherever
//! it ended.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::cast::end::{Outcome, Why};
use crate::cast::fold::Fold;
use crate::cast::frame::Frame;
use crate::cast::log::{Log, Read};
use crate::view::View;

fn prose(kind: Prose, text: &str) -> Event {
    Event::Prose { choice: 0, kind, text: text.into() }
}

fn tool(index: u32, id: Option<&str>, name: Option<&str>, arguments: &str) -> Event {
    let own = |text: Option<&str>| text.map(str::to_owned);
    Event::ToolCall { choice: 0, index, id: own(id), name: own(name), arguments: arguments.into() }
}

fn finished(reason: &str) -> Event {
    Event::Finish { choice: 0, reason: reason.into() }
}

/// A block for each event, so many to a frame.
fn frames(events: &[Event], sizes: &[usize]) -> Vec<Frame> {
    let (mut frames, mut rest, mut first) = (Vec::new(), events, 1);
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at((*size).clamp(1, rest.len()));
        let events = (first..).zip(now.iter().cloned()).collect();
        let ends = (1..=now.len() as u32).collect();
        frames.push(Frame { first, at_ms: 0, bytes: vec![b'x'; now.len()].into(), ends, events });
        first += now.len() as Seq;
        rest = later;
    }
    frames
}

fn ended(log: &mut Log, why: Why) {
    let message = (why != Why::Completed).then(|| "a sentence".to_owned());
    let end = log.conclude(Outcome { why, message }, 1);
    log.finish(end);
}

fn named() -> Log {
    Log::default().named(&Id::parse("s").unwrap())
}

/// What a viewer behind `after` gets now, and its cursor.
fn read(log: &mut Log, mut after: Seq, bytes_max: usize, out: &mut Vec<u8>) -> Seq {
    loop {
        match log.read(View::Ui.source(), after, bytes_max) {
            Read::Batch { bytes, upto, .. } => {
                out.extend_from_slice(&bytes);
                after = upto;
            }
            Read::End { bytes, .. } => {
                out.extend_from_slice(&bytes);
                return after;
            }
            Read::Pending => return after,
            Read::Gone => panic!("nothing was erased"),
            Read::Broken => panic!("no rendering panics"),
        }
    }
}

fn chunks(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap().strip_suffix("data: [DONE]\n\n").expect("the last line");
    let chunks = text.strip_suffix("\n\n").unwrap().split("\n\n");
    chunks.map(|chunk| serde_json::from_str(chunk.strip_prefix("data: ").unwrap()).unwrap()).collect()
}

fn said(events: &[Event], sizes: &[usize], why: Why) -> Vec<Value> {
    let mut log = named();
    frames(events, sizes).into_iter().for_each(|frame| log.append(frame));
    ended(&mut log, why);
    let mut out = opening("msg-s");
    read(&mut log, 0, usize::MAX, &mut out);
    chunks(&out)
}

/// Without the cursors, which are where the frames are.
fn without_cursors(mut chunks: Vec<Value>) -> Vec<Value> {
    chunks.retain(|chunk| chunk["type"] != "data-tokencast");
    chunks
}

#[test]
fn every_kind_of_part_is_written_like_this() {
    let events = [
        Event::Meta { model: Some("m".into()), upstream_id: None },
        prose(Prose::Reasoning, "hm"),
        prose(Prose::Text, ""),
        prose(Prose::Text, "Hel"),
        Event::Usage(Usage { input: Some(1), output: None }),
        Event::Prose { choice: 1, kind: Prose::Text, text: "of another choice".into() },
        prose(Prose::Text, "lo\n\n"),
        prose(Prose::Refusal, "no"),
        tool(0, Some("call_1"), Some("search"), "{\"q\":"),
        tool(0, None, None, "\n1}"),
        tool(3, None, Some("now"), ""),
        tool(4, Some("call_4"), Some("half"), "{\"a"),
        finished("tool_calls"),
        Event::Usage(Usage { input: Some(12), output: Some(80) }),
    ];
    let start = [json!({ "type": "start", "messageId": "msg-s" }), json!({ "type": "start-step" })];
    let cursor = json!({ "type": "data-tokencast", "data": { "id": "s", "cursor": 14 }, "transient": true });
    let parts = [
        json!({ "type": "reasoning-start", "id": "reasoning-1" }),
        json!({ "type": "reasoning-delta", "id": "reasoning-1", "delta": "hm" }),
        json!({ "type": "reasoning-end", "id": "reasoning-1" }),
        json!({ "type": "text-start", "id": "text-2" }),
        json!({ "type": "text-delta", "id": "text-2", "delta": "Hello\n\n" }),
        json!({ "type": "text-end", "id": "text-2" }),
        json!({ "type": "text-start", "id": "text-3" }),
        json!({ "type": "text-delta", "id": "text-3", "delta": "no" }),
        json!({ "type": "text-end", "id": "text-3" }),
        json!({ "type": "tool-input-start", "toolCallId": "call_1", "toolName": "search" }),
        json!({ "type": "tool-input-delta", "toolCallId": "call_1", "inputTextDelta": "{\"q\":\n1}" }),
        json!({ "type": "tool-input-available", "toolCallId": "call_1", "toolName": "search", "input": { "q": 1 } }),
        json!({ "type": "tool-input-start", "toolCallId": "call_3_s", "toolName": "now" }),
        json!({ "type": "tool-input-start", "toolCallId": "call_4", "toolName": "half" }),
        json!({ "type": "tool-input-delta", "toolCallId": "call_4", "inputTextDelta": "{\"a" }),
        json!({ "type": "tool-input-available", "toolCallId": "call_3_s", "toolName": "now", "input": {} }),
        json!({
            "type": "tool-input-error", "toolCallId": "call_4", "toolName": "half", "input": "{\"a",
            "errorText": "the arguments are no JSON: EOF while parsing a string at line 1 column 3",
        }),
    ];
    let usage = json!({ "usage": { "inputTokens": 12, "outputTokens": 80, "totalTokens": 92 } });
    let finish = [
        json!({ "type": "finish-step" }),
        json!({ "type": "finish", "finishReason": "tool-calls", "messageMetadata": usage }),
    ];
    let all = [&start[..], &parts, &[cursor], &finish].concat();
    assert_eq!(said(&events, &[100], Why::Completed), all);
}

#[test]
fn how_a_stream_ends() {
    let usage = Event::Usage(Usage { input: None, output: Some(2) });
    let last = |why, events: &[Event]| {
        let chunks = without_cursors(said(&[&[prose(Prose::Text, "a")], events].concat(), &[1], why));
        assert_eq!(chunks[4], json!({ "type": "text-end", "id": "text-1" }), "{why:?}");
        chunks[5..].to_vec()
    };
    let metadata = json!({ "usage": { "outputTokens": 2 } });
    assert_eq!(
        last(Why::UpstreamCut, std::slice::from_ref(&usage)),
        [
            json!({ "type": "message-metadata", "messageMetadata": metadata }),
            json!({ "type": "error", "errorText": "a sentence" }),
        ]
    );
    for why in [Why::UpstreamEof, Why::UpstreamError, Why::TotalTimeout, Why::Restart, Why::Drain] {
        assert_eq!(last(why, &[]), [json!({ "type": "error", "errorText": "a sentence" })]);
    }
    assert_eq!(
        last(Why::Stopped, &[usage]),
        [
            json!({ "type": "abort", "reason": "stopped" }),
            json!({ "type": "finish-step" }),
            json!({ "type": "finish", "finishReason": "other", "messageMetadata": metadata }),
        ]
    );
    // A call that was cut is not one that somebody may run.
    let cut = last(Why::UpstreamCut, &[tool(0, Some("c"), Some("f"), "{}")]);
    assert_eq!(cut[0]["type"], "tool-input-start");
    assert_eq!(cut.last().unwrap()["type"], "error");
    assert!(cut.iter().all(|chunk| chunk["type"] != "tool-input-available"), "{cut:?}");
    assert_eq!(
        said(&[], &[1], Why::UpstreamConnect)[2],
        json!({ "type": "error", "errorText": "a sentence" })
    );
}

#[test]
fn finish_reasons_are_in_the_words_of_the_ai_sdk() {
    let check = |said: Option<&str>, wanted| assert_eq!(finish_reason(said, false), wanted, "{said:?}");
    check(None, "stop");
    check(Some("stop"), "stop");
    check(Some("STOP"), "stop");
    check(Some("end_turn"), "stop");
    check(Some("MAX_TOKENS"), "length");
    check(Some("length"), "length");
    check(Some("function_call"), "tool-calls");
    check(Some("tool_use"), "tool-calls");
    check(Some("content_filter"), "content-filter");
    check(Some("SAFETY"), "content-filter");
    check(Some("error"), "error");
    check(Some("pause_turn"), "other");
    check(Some(""), "other");
    assert_eq!(finish_reason(Some("STOP"), true), "tool-calls");
    assert_eq!(finish_reason(Some("length"), true), "length");
}

/// What the AI SDK makes of chunks, with its rules.
#[derive(Debug, Default)]
struct Message {
    text: String,
    reasoning: String,
    open: BTreeSet<String>,
    calls: BTreeMap<String, String>,
    closed: BTreeSet<String>,
    over: bool,
}

impl Message {
    fn of(chunks: &[Value]) -> Self {
        let mut message = Self::default();
        assert_eq!((&chunks[0]["type"], &chunks[1]["type"]), (&json!("start"), &json!("start-step")));
        chunks[2..].iter().for_each(|chunk| message.take(chunk));
        assert!(message.over, "there is an end: {chunks:?}");
        assert!(message.open.is_empty(), "every part was closed: {chunks:?}");
        message
    }

    fn take(&mut self, chunk: &Value) {
        assert!(!self.over, "nothing follows the end: {chunk}");
        let text = |key: &str| chunk[key].as_str().unwrap_or_else(|| panic!("{key} of {chunk}")).to_owned();
        match &*text("type") {
            "text-start" | "reasoning-start" => assert!(self.open.insert(text("id")), "{chunk}"),
            "text-end" | "reasoning-end" => assert!(self.open.remove(&text("id")), "{chunk}"),
            kind @ ("text-delta" | "reasoning-delta") => {
                assert!(self.open.contains(&text("id")), "{chunk}");
                let all = if kind == "text-delta" { &mut self.text } else { &mut self.reasoning };
                all.push_str(&text("delta"));
            }
            "tool-input-start" => {
                text("toolName");
                assert!(self.calls.insert(text("toolCallId"), String::new()).is_none(), "{chunk}");
            }
            "tool-input-delta" => {
                assert!(!self.closed.contains(&text("toolCallId")), "{chunk}");
                self.calls.get_mut(&text("toolCallId")).expect("it began").push_str(&text("inputTextDelta"));
            }
            "tool-input-available" => {
                let said = &self.calls[&text("toolCallId")];
                let said = if said.trim().is_empty() { "{}" } else { said };
                assert_eq!(serde_json::from_str::<Value>(said).unwrap(), chunk["input"]);
                assert!(self.closed.insert(text("toolCallId")), "{chunk}");
            }
            "tool-input-error" => {
                assert_eq!(self.calls[&text("toolCallId")], text("input"));
                assert!(self.closed.insert(text("toolCallId")), "{chunk}");
            }
            "data-tokencast" => assert_eq!(chunk["transient"], true),
            "message-metadata" | "abort" | "finish-step" => {}
            "finish" | "error" => self.over = true,
            other => panic!("{other} is no type"),
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    let words = || select(vec!["", "a", "\n\n", "é😀", "\"\\", "\u{2028}", "data: "]);
    let parts = select(vec!["{", "{\"a\":1}", "", "}", "{}", "\n", "1", "\"x\""]);
    let kind = select(vec![Prose::Text, Prose::Text, Prose::Reasoning, Prose::Refusal]);
    let name = prop::option::of(select(vec!["f", "g"]).prop_map(str::to_owned));
    prop_oneof![
        6 => (0..2_u32, kind, words()).prop_map(|(choice, kind, text)| {
            Event::Prose { choice, kind, text: text.into() }
        }),
        4 => (0..2_u32, 0..3_u32, name, parts).prop_map(|(choice, index, name, arguments)| {
            Event::ToolCall { choice, index, id: None, name, arguments: arguments.into() }
        }),
        1 => Just(Event::Usage(Usage { input: Some(1), output: Some(2) })),
        1 => select(vec!["stop", "tool_calls"]).prop_map(finished),
    ]
}

const WAYS: [Why; 3] = [Why::Completed, Why::UpstreamCut, Why::Stopped];

proptest! {
    #[test]
    fn the_rules_hold_for_every_stream_however_it_was_cut(
        events in prop::collection::vec(event(), 0..14),
        sizes in prop::collection::vec(1..5_usize, 1..4),
        why in select(WAYS.to_vec()),
        bytes_max in select(vec![1, 300, usize::MAX]),
    ) {
        let chunks = said(&events, &sizes, why);
        let message = Message::of(&chunks);
        let mut fold = Fold::default();
        events.iter().for_each(|event| fold.apply(event));
        let fold = serde_json::to_value(&fold.choices).unwrap();
        let zero = fold.as_array().unwrap().iter().find(|choice| choice["choice"].is_null());
        let reasoning = zero.map_or("", |choice| choice["reasoning"].as_str().unwrap());
        prop_assert_eq!(&message.reasoning, reasoning);
        let long = zero.map_or(0, |choice| {
            choice["text"].as_str().unwrap().len() + choice["refusal"].as_str().unwrap().len()
        });
        prop_assert_eq!(message.text.len(), long);
        if why == Why::Completed {
            prop_assert_eq!(message.calls.len(), message.closed.len());
        }
        // A frame for each block, and all in one: the same message.
        for sizes in [[1], [usize::MAX]] {
            let other = Message::of(&said(&events, &sizes, why));
            prop_assert_eq!((&other.text, &other.reasoning), (&message.text, &message.reasoning));
            prop_assert_eq!((&other.calls, &other.closed), (&message.calls, &message.closed));
        }
        // Live, a batch at a time: the same bytes.
        let (mut log, mut live, mut cursor) = (named(), Vec::new(), 0);
        for frame in frames(&events, &sizes) {
            log.append(frame);
            cursor = read(&mut log, cursor, bytes_max, &mut live);
        }
        ended(&mut log, why);
        read(&mut log, cursor, bytes_max, &mut live);
        prop_assert_eq!(crate::view::ui::tests::chunks(&[opening("msg-s"), live].concat()), chunks);
    }
}
