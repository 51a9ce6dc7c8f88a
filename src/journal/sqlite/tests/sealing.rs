//! Streams that are sealed while they run, and in steps.

use std::collections::{BTreeMap, VecDeque};

use super::{Directory, about, ended, frame, unlocked};
use crate::cast::durable::{Known, State};
use crate::crypto::hex;
use crate::journal::sqlite::*;

/// A writer without a thread, and what it has found.
fn writer(directory: &Directory) -> (Writer, Vec<Known>, BTreeMap<Number, recover::Tally>) {
    let database = unlocked(|| schema::open(&directory.path(), Durability::Process));
    let recover::Recovered { known, running, unsealed, next_row } =
        recover::read(&database.connection, &[]).unwrap();
    let debts = Debts::open(&directory.path(), &database.connection).0;
    let writer = Writer {
        database,
        unsealed,
        health: Health::default(),
        next_row,
        owed: Vec::new(),
        asked: VecDeque::new(),
        debts,
        traces: false,
        meter: telemetry::Journal::opened(),
    };
    (writer, known, running)
}

fn rows(writer: &Writer, table: &str) -> i64 {
    let count = format!("SELECT count(*) FROM {table}");
    writer.database.connection.query_row(&count, [], |row| row.get::<_, i64>(0)).unwrap()
}

/// The first block of each frame that a stream has in its chunks.
fn sealed(writer: &Writer, stream: Number) -> Vec<Seq> {
    let (mut seqs, mut begin) = (Vec::new(), 0);
    for mark in seal::marks(&writer.database.connection, stream).unwrap() {
        assert_eq!(mark.begin, begin);
        let frames = seal::frames(&writer.database.connection, stream, mark.first).unwrap();
        begin += frames.iter().map(|frame| frame.bytes.len() as u64).sum::<u64>();
        seqs.extend(frames.iter().map(|frame| frame.first));
    }
    seqs
}

/// A stream that goes on for long does not keep the rows of all others.
#[test]
fn a_long_stream_leaves_the_journal_before_it_ends() {
    let directory = Directory::new();
    let (mut first, ..) = writer(&directory);
    first.unsealed.bytes_max = 2_000;
    first.settle(vec![Record::Begin(about(1)), Record::Begin(about(2))]).unwrap();
    let text = "x".repeat(100);
    for seq in 1..=200 {
        first.settle(vec![Record::Frame(1, frame(seq, &text)), Record::Frame(2, frame(seq, &text))]).unwrap();
        while first.unsealed.is_large() {
            assert!(first.tidy());
        }
    }
    while first.tidy() {}
    assert!(rows(&first, "journal") < 10, "{}", rows(&first, "journal"));
    assert!(rows(&first, "chunks") > 10);
    first.settle(vec![Record::End(2, ended(200))]).unwrap();
    drop(first);

    // One was running, the other had ended and was not whole in chunks.
    let (mut second, mut known, running) = writer(&directory);
    let records = recover::settle(&mut known, running, Vec::new());
    let State::Ended(cut) = &known[0].state else { panic!("{:?}", known[0].state) };
    assert_eq!((cut.end.blocks, cut.end.bytes, cut.frames), (200, 20_000, 200));
    assert_eq!(cut.end.hash, hex(&crate::crypto::sha256(text.repeat(200).as_bytes())));
    second.settle(records).unwrap();
    while second.tidy() {}
    assert_eq!(rows(&second, "journal"), 0);
    for stream in [1, 2] {
        assert_eq!(sealed(&second, stream), (1..=200).collect::<Vec<_>>(), "stream {stream}");
    }
}

/// Whoever commits waits for one step of sealing at most, however long a stream was and whoever waits for it.
#[test]
fn a_long_stream_is_sealed_step_by_step() {
    const FRAMES: u64 = 40;
    let directory = Directory::new();
    let (mut first, ..) = writer(&directory);
    let text = "x".repeat(100 * 1024);
    first.settle(vec![Record::Begin(about(1)), Record::Begin(about(2))]).unwrap();
    for seq in 1..=FRAMES {
        first.settle(vec![Record::Frame(1, frame(seq, &text)), Record::Frame(2, frame(seq, &text))]).unwrap();
    }
    first.settle(vec![Record::End(1, ended(FRAMES)), Record::End(2, ended(FRAMES))]).unwrap();
    let (asker, mut answer) = oneshot::channel();
    first.asked.push_back((1, asker));
    let mut before = 0;
    while answer.try_recv().is_err() {
        assert!(first.tidy());
        let now = sealed(&first, 1);
        assert!((1..=10).contains(&(now.len() - before)), "{} frames at once", now.len() - before);
        (before, _) = (now.len(), first.settle(vec![Record::Probe]).unwrap());
    }
    assert_eq!(sealed(&first, 1), (1..=FRAMES).collect::<Vec<_>>());
    // In the midst of the other one.
    assert!(first.tidy());
    let half = sealed(&first, 2).len() as u64;
    assert!((1..FRAMES).contains(&half), "{half}");
    drop(first);
    let (mut second, ..) = writer(&directory);
    while second.tidy() {}
    assert_eq!((sealed(&second, 2), rows(&second, "journal")), ((1..=FRAMES).collect(), 0));
}

/// As on a full disk, where it is said again from memory.
#[test]
fn an_end_that_is_said_twice_is_one() {
    const FRAMES: u64 = 9;
    let directory = Directory::new();
    let (mut writer, ..) = writer(&directory);
    let text = "x".repeat(50 * 1024);
    writer.settle(vec![Record::Begin(about(1))]).unwrap();
    writer.settle((1..=FRAMES).map(|seq| Record::Frame(1, frame(seq, &text))).collect()).unwrap();
    writer.settle(vec![Record::End(1, ended(FRAMES)), Record::End(1, ended(FRAMES))]).unwrap();
    writer.settle(vec![Record::End(1, ended(FRAMES))]).unwrap();
    while writer.tidy() {}
    assert_eq!(sealed(&writer, 1), (1..=FRAMES).collect::<Vec<_>>());
}

/// A disk that is full in the midst of it must not make a stream look damaged.
#[test]
fn what_is_sealed_by_half_is_told_whole() {
    const FRAMES: u64 = 600;
    let directory = Directory::new();
    let (mut writer, ..) = writer(&directory);
    writer.settle(vec![Record::Begin(about(1))]).unwrap();
    writer.settle((1..=FRAMES).map(|seq| Record::Frame(1, frame(seq, "a"))).collect()).unwrap();
    writer.settle(vec![Record::End(1, ended(FRAMES))]).unwrap();
    assert!(writer.tidy());
    assert!((1..FRAMES).contains(&(sealed(&writer, 1).len() as u64)));
    writer.database.connection.pragma_update(None, "query_only", true).unwrap();
    let (asker, mut answer) = oneshot::channel();
    writer.asked.push_back((1, asker));
    while writer.tidy() {}
    let frames = answer.try_recv().unwrap().unwrap().expect("it cannot be sealed");
    assert_eq!(frames.iter().map(|frame| frame.first).collect::<Vec<_>>(), (1..=FRAMES).collect::<Vec<_>>());
}
