//! Any interleaving of appends, cursors, slow readers, end and erasure, against the model.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::model::{Model, Said};
use super::now;
use super::{STALL, about, cast};
use crate::cast::account::Stake;
use crate::cast::block::Seq;
use crate::cast::end::{End, Outcome, Why};
use crate::cast::event::{Event, Prose, Usage};
use crate::cast::log::{Part, Read, Rendering, Source};
use crate::cast::memory::Budget;
use crate::cast::thread::Thread;
use crate::cast::{Cast, Producer};
use crate::journal::memory::Memory;
use crate::view::View;
use crate::view::events::Sse;

const VIEWS: [View; 6] = [View::Events, View::Lines, View::Packed, View::Poll, View::Raw, View::Text];

/// One thing that happens.
#[derive(Debug, Clone)]
enum Op {
    /// A frame of blocks: their lengths and what they mean.
    Append(Vec<(usize, Vec<Event>)>),
    /// Somebody comes, anywhere from the beginning to beyond the tail.
    Attach(View, Seq),
    /// One of those who are there takes a batch.
    Read(usize, usize),
    End(Why),
    Erase,
}

fn event() -> impl Strategy<Value = Event> {
    let word = || select(vec!["a", "\n", "é😀", "\"\\", "\u{2028}", "</x>", "", "data: "]);
    let words = move || {
        let long = (word(), 1_000_usize..20_000).prop_map(|(word, times)| word.repeat(times));
        let short = prop::collection::vec(word(), 0..4).prop_map(|words| words.concat());
        prop_oneof![40 => short, 1 => long]
    };
    let maybe = move || prop::option::of(word().prop_map(str::to_owned));
    let kind = || select(vec![Prose::Text, Prose::Text, Prose::Reasoning, Prose::Refusal]);
    let count = || prop::option::of(any::<u64>());
    prop_oneof![
        8 => (0..2_u32, kind(), words()).prop_map(|(choice, kind, text)| Event::Prose { choice, kind, text: text.into() }),
        4 => (0..2_u32, 0..2_u32, maybe(), maybe(), words())
            .prop_map(|(choice, index, id, name, arguments)| Event::ToolCall { choice, index, id, name, arguments: arguments.into() }),
        1 => (maybe(), maybe()).prop_map(|(model, upstream_id)| Event::Meta { model, upstream_id }),
        1 => (count(), count()).prop_map(|(input, output)| Event::Usage(Usage { input, output })),
        1 => (0..2_u32, words()).prop_map(|(choice, reason)| Event::Finish { choice, reason }),
        1 => (maybe(), words()).prop_map(|(code, message)| Event::Error { code, message }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![1 => Just(0), 40 => 1_usize..60, 1 => 30_000_usize..100_000];
    let events = prop_oneof![2 => Just(Vec::new()), 5 => prop::collection::vec(event(), 1..4)];
    let blocks = prop::collection::vec((len, events), 1..6);
    let bytes_max = select(vec![0, 1, 10, 100, 1000, 64 * 1024, usize::MAX]);
    prop_oneof![
        80 => blocks.prop_map(Op::Append),
        60 => (select(VIEWS.to_vec()), any::<Seq>()).prop_map(|(view, at)| Op::Attach(view, at)),
        160 => (any::<usize>(), bytes_max).prop_map(|(who, bytes_max)| Op::Read(who, bytes_max)),
        2 => select(vec![Why::Completed, Why::UpstreamCut, Why::Stopped]).prop_map(Op::End),
        1 => Just(Op::Erase),
    ]
}

/// A viewer and everything that it was told.
struct Seat {
    view: View,
    begin: Seq,
    cursor: Seq,
    said: Vec<u8>,
    end: Option<Bytes>,
}

struct World {
    model: Model,
    budget: Arc<Budget>,
    cast: Cast,
    producer: Option<Producer>,
    why: Option<Why>,
    erased: bool,
    seats: Vec<Seat>,
}

impl World {
    fn new() -> Self {
        let budget = Budget::new(usize::MAX / 2);
        let (about, stake) = (Arc::new(about("cast")), Stake::unlimited());
        let (cast, producer) = Cast::new(about, None, stake, budget.share(), Arc::new(Memory));
        let (producer, seats) = (Some(producer), Vec::new());
        Self { model: Model::default(), budget, cast, producer, why: None, erased: false, seats }
    }

    async fn run(&mut self, op: Op) {
        match op {
            Op::Append(blocks) => {
                let Some(producer) = &mut self.producer else { return };
                producer.append(self.model.append(blocks)).await.expect("there is room");
            }
            Op::Attach(view, at) => {
                let begin = at % (self.model.tail() + 3);
                self.seats.push(Seat { view, begin, cursor: begin, said: Vec::new(), end: None });
            }
            Op::Read(who, bytes_max) => {
                let Some(who) = who.checked_rem(self.seats.len()) else { return };
                let mut seat = self.seats.swap_remove(who);
                self.read(&mut seat, bytes_max);
                self.seats.push(seat);
            }
            Op::End(why) => self.end(why).await,
            Op::Erase => {
                self.cast.erase();
                self.erased = true;
            }
        }
        let held = self.budget.held();
        match self.erased {
            true => assert_eq!(held, self.cast.overhead(), "what is erased is not held"),
            false => assert!((self.model.raw(0).len()..1 << 40).contains(&held), "held: {held}"),
        }
        assert_eq!(self.budget.running(), usize::from(self.producer.is_some()));
    }

    async fn end(&mut self, why: Why) {
        let Some(producer) = self.producer.take() else { return };
        producer.end(Outcome { why, message: None }, STALL).await;
        self.why = Some(why);
        let end = self.cast.end().expect("it has ended");
        let (end, mut model) = (about_end(&serde_json::to_value(end.wire()).unwrap(), why), self.model.end());
        if self.erased {
            // What it said is forgotten; how much there was, and its hash, are not.
            model["finish"] = Value::Null;
            model["usage"] = Value::Null;
        }
        assert_eq!(end, model);
    }

    /// Takes one batch. Gives whether there was one.
    fn read(&self, seat: &mut Seat, bytes_max: usize) -> bool {
        let tail = self.model.tail();
        match self.cast.read(seat.view.source(), seat.cursor, bytes_max) {
            Read::Batch { bytes, upto, .. } => {
                assert!(!self.erased && seat.cursor < upto && upto <= tail);
                assert!(self.model.is_border(upto), "a batch has whole frames");
                let frames = self.model.frame_of(upto) - self.model.frame_of(seat.cursor + 1);
                assert!(
                    bytes.len() <= bytes_max || frames == 0,
                    "more than one frame was more than asked for"
                );
                assert!(frames == 0 || self.model.is_border(seat.cursor), "the rest of a frame comes alone");
                seat.said.extend_from_slice(&bytes);
                seat.cursor = upto;
                return true;
            }
            Read::Pending => assert!(!self.erased && self.why.is_none() && seat.cursor >= tail),
            Read::End { bytes, end } => {
                assert!(!self.erased && seat.cursor >= tail);
                assert_eq!(Some(end.why), self.why);
                assert!(seat.end.as_ref().is_none_or(|said| *said == bytes), "the end is the same for ever");
                seat.end = Some(bytes);
            }
            Read::Gone => assert!(self.erased),
            Read::Broken => panic!("no rendering panics"),
        }
        false
    }

    /// Reads to the end, and compares everything that was said with what the model says.
    fn check(&self, mut seat: Seat, bytes_max: usize) {
        while self.read(&mut seat, bytes_max) {}
        let is_whole = seat.end.is_some();
        assert!(is_whole || self.erased, "the end is for everybody");
        match seat.view {
            View::Raw => is_prefix(&seat.said, &self.model.raw(seat.begin), is_whole),
            View::Text => is_prefix(&seat.said, self.model.text(seat.begin).as_bytes(), is_whole),
            View::Events => is_prefix(&parse_sse(&seat.said), &self.model.events(seat.begin), is_whole),
            View::Packed => is_prefix(&parse_packed(&seat.said), &self.model.events(seat.begin), is_whole),
            View::Lines => is_prefix(&parse_lines(&seat.said), &self.model.events(seat.begin), is_whole),
            View::Poll => is_prefix(&parse_poll(&seat.said), &self.model.events(seat.begin), is_whole),
            // It begins at borders only: `view::ui` has its own table.
            View::Ui => unreachable!("not among the views"),
        }
        let Some(end) = seat.end else { return };
        let why = self.why.expect("it has ended");
        let data = match seat.view {
            View::Raw | View::Text | View::Ui => return assert!(end.is_empty()),
            View::Poll => serde_json::from_slice(&end).unwrap(),
            View::Events | View::Packed | View::Lines => {
                let parse = match seat.view {
                    View::Events => parse_sse,
                    View::Packed => parse_packed,
                    _ => parse_lines,
                };
                let said = parse(&end).pop().expect("the end is an event");
                assert_eq!((said.id, said.event.as_str()), (Some(self.model.tail() + 1), "end"));
                said.data
            }
        };
        assert_eq!(about_end(&data, why), self.model.end());
        // Whoever began at a border has bytes that everybody has.
        if self.model.is_border(seat.begin) && !self.erased {
            let mut whole = Seat { begin: 0, cursor: 0, said: Vec::new(), end: None, ..seat };
            while self.read(&mut whole, usize::MAX) {}
            assert!(whole.said.ends_with(&seat.said), "one frame has one rendering");
        }
    }

    fn check_offsets(&self) {
        let bytes = self.model.offset(Seq::MAX);
        let step = (bytes / 500).max(1) as usize;
        for offset in (0..=bytes).step_by(step) {
            let (after, skip) = now(self.cast.at_offset(offset)).unwrap().expect("not beyond the tail");
            assert_eq!(now(self.cast.offset(after)), Ok(self.model.offset(after)));
            assert_eq!(self.model.offset(after) + skip as u64, offset);
            let is_inside = offset < self.model.offset(after + 1);
            assert!(is_inside || offset == bytes && (after, skip) == (self.model.tail(), 0));
        }
        assert_eq!(now(self.cast.at_offset(bytes + 1)), Ok(None));
    }
}

/// Less how it ended, which the caller knows.
fn about_end(data: &Value, why: Why) -> Value {
    let mut data = data.clone();
    let (reason, code) = why.wire();
    for (key, want) in [("reason", json!(reason)), ("code", json!(code)), ("message", json!(null))] {
        assert_eq!(data.as_object_mut().unwrap().remove(key), Some(want));
    }
    data
}

fn is_prefix<T: PartialEq + std::fmt::Debug>(said: &[T], all: &[T], is_whole: bool) {
    let same = said.iter().zip(all).take_while(|(said, all)| said == all).count();
    assert!(same == said.len(), "at {same}: {:?}, and not {:?}", &said[same..], all.get(same));
    assert!(!is_whole || same == all.len(), "{:?} was not said", &all[same..]);
}

fn parse_sse(bytes: &[u8]) -> Vec<Said> {
    let text = std::str::from_utf8(bytes).unwrap();
    let Some(text) = text.strip_suffix("\n\n") else {
        assert_eq!(text, "", "an event is whole");
        return Vec::new();
    };
    let parse = |event: &str| {
        let (id, event) = match event.strip_prefix("id: ").map(|rest| rest.split_once('\n').unwrap()) {
            Some((id, rest)) => (Some(id.parse().unwrap()), rest),
            None => (None, event),
        };
        let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        assert!(!data.contains(['\n', '\r']), "data is one line");
        Said { id, event: name.into(), data: serde_json::from_str(data).unwrap() }
    };
    text.split("\n\n").map(parse).collect()
}

fn parse_lines(bytes: &[u8]) -> Vec<Said> {
    let lines =
        bytes.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").expect("whole"));
    lines.flat_map(|line| parse_poll(&[b",", line].concat())).collect()
}

fn parse_poll(bytes: &[u8]) -> Vec<Said> {
    let members = std::str::from_utf8(bytes).unwrap();
    let members: Vec<Value> = match members.strip_prefix(',') {
        Some(members) => serde_json::from_str(&format!("[{members}]")).unwrap(),
        None => Vec::new(),
    };
    let parse = |mut said: Value| Said {
        id: said["id"].as_u64(),
        event: said["event"].as_str().unwrap().into(),
        data: said["data"].take(),
    };
    members.into_iter().map(parse).collect()
}

/// Records, each with its length: frames, and the end.
fn parse_packed(bytes: &[u8]) -> Vec<Said> {
    let (mut rest, mut said) = (bytes, Vec::new());
    while let Some((len, more)) = rest.split_first_chunk() {
        let (record, more) = more.split_at(u32::from_be_bytes(*len) as usize);
        rest = more;
        let (kind, content): (u8, Value) = rmp_serde::from_slice(record).unwrap();
        let events = match (kind, content) {
            (1, Value::Array(events)) if !events.is_empty() => events,
            (5, end) => vec![end],
            other => panic!("{other:?}"),
        };
        said.extend(events.into_iter().map(|mut event| Said {
            id: event[0].as_u64(),
            event: event[1].as_str().unwrap().into(),
            data: event[2].take(),
        }));
    }
    assert!(rest.is_empty());
    said
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_viewer_is_told_every_block_once_in_order_and_the_end(
        ops in prop::collection::vec(op(), 1..80),
        cursors in prop::collection::vec((select(VIEWS.to_vec()), any::<Seq>(), 0_usize..5000), 12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut world = World::new();
        for op in ops {
            runtime.block_on(world.run(op));
        }
        if !world.erased {
            let choices = now(world.cast.look(|now| serde_json::to_value(&now.fold.choices).unwrap())).unwrap();
            assert_eq!(choices, world.model.choices());
            world.check_offsets();
        }
        runtime.block_on(world.end(Why::Completed));

        for seat in std::mem::take(&mut world.seats) {
            world.check(seat, 100);
        }
        for (view, at, bytes_max) in cursors {
            let begin = at % (world.model.tail() + 1);
            world.check(Seat { view, begin, cursor: begin, said: Vec::new(), end: None }, bytes_max);
        }
        let World { budget, cast, .. } = world;
        drop(cast);
        assert_eq!((budget.held(), budget.running()), (0, 0));
    }
}

/// The native view, counting what it renders.
#[derive(Debug, Default)]
struct Counting(std::sync::Mutex<Vec<(Seq, usize)>>);

impl Rendering for Counting {
    fn slot(&self) -> usize {
        3
    }

    fn frame(&self, part: &Part<'_>, thread: &mut Thread, out: &mut Vec<u8>) {
        self.0.lock().unwrap().push((part.from, part.events.len()));
        Sse.frame(part, thread, out);
    }

    fn end(&self, end: &End, thread: &mut Thread, out: &mut Vec<u8>) {
        self.0.lock().unwrap().push((end.seq(), 0));
        Sse.end(end, thread, out);
    }
}

#[tokio::test]
async fn a_frame_is_rendered_once_and_the_rest_of_one_for_whoever_asks() {
    let counting: &'static Counting = Box::leak(Box::default());
    let (cast, mut producer) = cast();
    let read = |after, bytes_max| cast.read(Source::Rendered(counting), after, bytes_max);
    let upto = |after, bytes_max| match read(after, bytes_max) {
        Read::Batch { upto, .. } => upto,
        other => panic!("{other:?}"),
    };
    producer.append(super::frame(1, &["a", "b"])).await.unwrap();
    producer.append(super::frame(3, &["c", "d", "e"])).await.unwrap();
    assert_eq!([upto(0, 1), upto(0, 1), upto(0, 1000), upto(2, 1)], [2, 2, 5, 5]);
    producer.append(super::frame(6, &["", "f"])).await.unwrap();
    assert_eq!([upto(0, 1000), upto(5, 1), upto(2, 1)], [7, 7, 5]);
    producer.end(Outcome::completed(), STALL).await;
    assert!(matches!((read(7, 1), read(7, 1)), (Read::End { .. }, Read::End { .. })));
    assert_eq!(*counting.0.lock().unwrap(), [(1, 2), (3, 3), (6, 1), (8, 0)]);

    assert_eq!([upto(4, 1000), upto(4, 1000), upto(6, 1)], [5, 5, 7]);
    assert_eq!(counting.0.lock().unwrap()[4..], [(5, 1), (5, 1), (7, 1)]);
}

#[test]
fn viewers_at_one_border_share_the_bytes() {
    let model = |texts: &[&str]| {
        let (cast, mut producer) = cast();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(producer.append(super::frame(1, texts))).unwrap();
        (cast, producer)
    };
    let long = "x".repeat(100_000);
    for texts in [&["a", "b"][..], &[&long, "b"]] {
        let (cast, _producer) = model(texts);
        for view in VIEWS {
            let [one, two] = [(); 2].map(|()| match cast.read(view.source(), 0, 1) {
                Read::Batch { bytes, .. } => bytes,
                other => panic!("{other:?}"),
            });
            assert_eq!(one.as_ptr(), two.as_ptr(), "{view:?}");
        }
    }
}
