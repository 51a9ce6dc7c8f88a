//! What any provider may send → events → every rendering of them.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value;

use super::client::{records, sse};
use crate::cast::block::Seq;
use crate::cast::end::Outcome;
use crate::cast::event::{Event, Prose};
use crate::cast::frame::Frame;
use crate::cast::log::{Log, Read};
use crate::dialect::{Family, Verdict};
use crate::upstream::split::Splitter;
use crate::view::View;

const DIALECTS: [(Family, &str); 5] = [
    (Family::Openai, "/chat/completions"),
    (Family::Openai, "/responses"),
    (Family::Anthropic, "/v1/messages"),
    (Family::Gemini, "/v1beta/models/m:streamGenerateContent"),
    (Family::Ollama, "/api/chat"),
];

/// What events may hold for each byte that was read: an invalid one becomes three, and what is kept of it may be said
/// of several things at once.
const EVENT_BYTES_PER_BYTE: usize = 8;

/// Every dialect survives the body, says nothing after the end, and each thing once; all renderings say the same.
pub fn dialect(body: &[u8]) {
    for (family, path) in DIALECTS {
        let frames = read(family, path, body);
        let one = one(&frames);
        let (apart, together) = (Rendered::of(frames), Rendered::of(one));
        assert_eq!(apart.raw, body);
        assert_eq!(apart.text, together.text, "{family:?}: borders of frames change nothing");
        assert_eq!(apart.fold, together.fold);
    }
}

/// The body as one frame for each block.
fn read(family: Family, path: &str, body: &[u8]) -> Vec<Frame> {
    let (mut splitter, mut pieces) = (Splitter::new(family.framing(), 1 << 20), Vec::new());
    let cut = splitter.push(Bytes::copy_from_slice(body), &mut pieces);
    assert!(cut.is_ok());
    pieces.extend(splitter.finish());
    let (mut dialect, mut said, mut heap) = (family.dialect(path), Said::default(), 0);
    let mut frames = Vec::new();
    for (piece, seq) in pieces.into_iter().zip(1..) {
        let before = dialect.verdict();
        let mut events = Vec::new();
        match piece.complete {
            true => dialect.read(&piece.bytes, &mut events),
            false => dialect.read_rest(&piece.bytes, &mut events),
        }
        if matches!(before, Verdict::Terminal | Verdict::Failed { .. }) {
            assert_eq!((&events[..], dialect.verdict()), (&[][..], before), "{family:?}: nothing follows");
        }
        events.iter().for_each(|event| said.hear(event));
        heap += events.iter().map(Event::heap_bytes).sum::<usize>();
        let ends = [piece.bytes.len() as u32].into_iter().collect();
        let events = events.into_iter().map(|event| (seq, event)).collect();
        frames.push(Frame { first: seq, at_ms: 0, bytes: piece.bytes, ends, events });
    }
    assert!(heap <= EVENT_BYTES_PER_BYTE * body.len() + 1024, "{family:?}: {heap} bytes of events");
    frames
}

/// The same blocks in one frame.
fn one(frames: &[Frame]) -> Vec<Frame> {
    let mut frames = frames.iter().cloned();
    let Some(mut one) = frames.next() else { return Vec::new() };
    for frame in frames {
        one.bytes = [&one.bytes[..], &frame.bytes].concat().into();
        one.ends.push(one.bytes.len() as u32);
        one.events.extend(frame.events);
    }
    vec![one]
}

/// What is said at most once.
#[derive(Default)]
struct Said(BTreeSet<(&'static str, u32, u32)>);

impl Said {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::Meta { .. } => self.once("meta", 0, 0),
            Event::Finish { choice, .. } => self.once("finish", *choice, 0),
            Event::Error { .. } => self.once("error", 0, 0),
            Event::ToolCall { choice, index, id, name, .. } => {
                id.iter().for_each(|_| self.once("id", *choice, *index));
                name.iter().for_each(|_| self.once("name", *choice, *index));
            }
            Event::Prose { .. } | Event::Usage(_) => {}
        }
    }

    fn once(&mut self, what: &'static str, choice: u32, index: u32) {
        assert!(self.0.insert((what, choice, index)), "{what} of {choice}.{index} is said twice");
    }
}

/// What viewers are shown.
struct Rendered {
    raw: Vec<u8>,
    text: String,
    fold: Value,
}

impl Rendered {
    fn of(frames: Vec<Frame>) -> Self {
        let prose: Vec<(Prose, String)> = frames
            .iter()
            .flat_map(|frame| &frame.events)
            .filter_map(|(_, event)| match event {
                Event::Prose { choice: 0, kind, text } => Some((*kind, text.to_string())),
                _ => None,
            })
            .collect();
        let joined = |wanted: fn(&Prose) -> bool| -> String {
            prose.iter().filter(|(kind, _)| wanted(kind)).map(|(_, text)| text.as_str()).collect()
        };
        let mut log = Log::of(frames);
        log.finish(log.conclude(Outcome::completed(), 0));

        let native = sse(&[&all(&mut log, View::Events)]).expect("it is our wire");
        let packed = records(&[&all(&mut log, View::Packed)]).expect("it is our wire");
        assert_eq!(native, packed, "both transports say the same");
        let lines = all(&mut log, View::Lines);
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).expect("a line")).collect();
        let wanted = native.iter().map(
            |message| serde_json::json!({ "id": message.id, "event": message.name, "data": message.data }),
        );
        assert_eq!(lines, wanted.collect::<Vec<_>>());
        let ids: Vec<Seq> = native.iter().filter_map(|message| message.id).collect();
        assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");

        let ui = all(&mut log, View::Ui);
        let deltas = |wanted: &str| -> String {
            let chunks = super::whatwg::events(&ui).into_iter().filter(|(_, data)| data != "[DONE]");
            let chunks = chunks.map(|(_, data)| serde_json::from_str::<Value>(&data).expect("a chunk"));
            let wanted = chunks.filter(|chunk| chunk["type"] == wanted);
            wanted.map(|chunk| chunk["delta"].as_str().expect("a delta").to_owned()).collect()
        };
        assert_eq!(deltas("text-delta"), joined(|kind| *kind != Prose::Reasoning));
        assert_eq!(deltas("reasoning-delta"), joined(|kind| *kind == Prose::Reasoning));

        let text = String::from_utf8(all(&mut log, View::Text)).expect("it is text");
        assert_eq!(text, joined(|kind| *kind == Prose::Text));
        let fold = serde_json::to_value(&log.fold().choices).expect("plain data is JSON");
        Self { raw: all(&mut log, View::Raw), text, fold }
    }
}

/// A view from the beginning to the end.
fn all(log: &mut Log, view: View) -> Vec<u8> {
    let (mut out, mut after) = (Vec::new(), 0);
    loop {
        match log.read(view.source(), after, 1 << 16) {
            Read::Batch { bytes, upto, .. } => {
                assert!(upto > after);
                after = upto;
                out.extend_from_slice(&bytes);
            }
            Read::End { bytes, .. } => {
                out.extend_from_slice(&bytes);
                return out;
            }
            other => panic!("{other:?}"),
        }
    }
}
