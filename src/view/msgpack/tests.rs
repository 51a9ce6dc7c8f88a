//! The bytes on the wire, against fixtures that other clients are tested with, too.

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::cast::Now;
use crate::cast::end::{Outcome, Why};
use crate::cast::event::{Event, Prose, Usage};
use crate::cast::log::Log;
use crate::cast::tests::frame;

/// Compares with `NAME.bin`, whose records or messages are what `NAME.json` says.
pub(crate) fn check(name: &str, bytes: &[u8]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/webtransport").join(name);
    let mut records = Vec::new();
    let mut rest = bytes;
    while let Some((len, more)) = rest.split_first_chunk() {
        let (record, more) = more.split_at(u32::from_be_bytes(*len) as usize);
        records.push(rmp_serde::from_slice::<Value>(record).unwrap());
        rest = more;
    }
    assert!(rest.is_empty(), "{name}: records fill their stream");
    let wanted = std::fs::read_to_string(file.with_extension("json")).unwrap();
    assert_eq!(records, serde_json::from_str::<Vec<Value>>(&wanted).unwrap(), "{name}");
    assert_eq!(bytes, std::fs::read(file.with_extension("bin")).unwrap(), "{name}");
}

fn open(after: Seq, status: &'static str) -> Open<'static> {
    let started_at = "2026-11-20T12:53:16.313Z".into();
    Open { stream: "mine", after, tail: 9, status, started_at }
}

/// A log with every kind of event in it.
fn everything() -> Log {
    let prose = |choice, kind, text: &str| Event::Prose { choice, kind, text: text.into() };
    let call = |id: Option<&str>, arguments: &str| Event::ToolCall {
        choice: 0,
        index: 1,
        id: id.map(Into::into),
        name: id.map(|_| "search".into()),
        arguments: arguments.into(),
    };
    let frames = [
        vec![
            Event::Meta { model: Some("a-model".into()), upstream_id: None },
            prose(0, Prose::Text, "Grüße, "),
            prose(0, Prose::Text, "世界 🌍"),
        ],
        vec![prose(0, Prose::Reasoning, "hm"), prose(1, Prose::Refusal, "no")],
        vec![call(Some("call_1"), "{\"q\":"), call(None, "1}")],
        vec![Event::Usage(Usage { input: Some(12), output: Some(70_000) })],
        vec![Event::Finish { choice: 0, reason: "stop".into() }],
        vec![Event::Error { code: None, message: "boom".into() }],
    ];
    let (mut log, mut first) = (Log::default(), 1);
    for events in frames {
        let texts = vec![""; events.len()];
        let mut frame = frame(first, &texts);
        frame.events = (first..).zip(events).collect();
        first = frame.last() + 1;
        log.append(frame);
    }
    log
}

fn said(log: &mut Log) -> Vec<u8> {
    let (mut out, mut cursor) = (Vec::new(), 0);
    loop {
        match log.read(crate::view::View::Packed.source(), cursor, 1) {
            crate::cast::log::Read::Batch { bytes, upto, .. } => {
                out.extend_from_slice(&bytes);
                cursor = upto;
            }
            crate::cast::log::Read::End { bytes, .. } => {
                out.extend_from_slice(&bytes);
                return out;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_whole_stream() {
    let mut log = everything();
    let outcome = Outcome::because(Why::UpstreamError, "boom".to_owned());
    let end = log.conclude(outcome, 1000);
    log.finish(end);
    let bytes = [header(0, &open(0, "running"), 640), HEARTBEAT.to_vec(), said(&mut log)].concat();
    check("stream", &bytes);
}

#[test]
fn a_snapshot_stands_for_what_was_before() {
    let mut bytes = header(7, &open(0, "failed"), 300);
    let log = everything();
    let now = Now { log: &log, fold: log.fold(), first_token_ms: None };
    assert_eq!(super::snapshot(&Snapshot::of(&now), &mut bytes), 10);
    bytes.extend(bye(&Bye { code: "draining", retry_ms: 2500 }));
    check("snapshot", &bytes);
}

#[test]
fn a_refusal() {
    check("refusal", &error("cursor_ahead", "begin at or below detail.tail", Some(&json!({ "tail": 9 }))));
}

#[test]
fn a_frame_without_events_is_silent() {
    let mut log = Log::default();
    log.append(frame(1, &["", ""]));
    log.append(frame(3, &["a"]));
    let end = log.conclude(Outcome::because(Why::Completed, String::new()), 1);
    log.finish(end);
    let bytes = said(&mut log);
    assert_eq!(bytes.iter().filter(|byte| **byte == ARRAY_32).count(), 1, "one FRAME for two frames");
}
