//! The journal of the world: it takes its time, refuses while the disk is full, and when the gateway dies it has what
//! was committed by then, and not a record more. (What the real one makes of files is in tests/crash.)

use std::collections::{BTreeMap, VecDeque};
use std::future::{pending, ready};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use tokencast::cast::about::About;
use tokencast::cast::block::Seq;
use tokencast::cast::durable::{
    Commit, Content, Durable, Ended, Known, Load, Mark, Number, Record, State, StorageError,
};
use tokencast::cast::end::{End, Why};
use tokencast::cast::fold::Fold;
use tokencast::cast::frame::Frame;
use tokencast::crypto::{hex, sha256};
use tokencast::journal::Opened;
use tokio::time::{Instant, sleep, sleep_until};

/// Signs the gateway's tickets.
pub(crate) const SECRET: [u8; 32] = [7; 32];
/// Frames of one piece.
const PIECE: usize = 7;

/// What is durable, whoever writes it; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Ledger(Arc<Mutex<Books>>);

#[derive(Debug)]
struct Books {
    seed: u64,
    streams: BTreeMap<Number, Entry>,
    /// Records on their way to the disk, and when they are there.
    on_the_way: VecDeque<(Instant, Record)>,
    /// What could not be stored and is not forgotten.
    owed: Vec<Record>,
    /// When the last one is on the disk, and when that is said.
    last: Option<(Instant, Instant)>,
    given: u64,
    is_full: bool,
    has_failed: bool,
    /// Which of the gateway's lives may write.
    life: u64,
}

#[derive(Debug)]
struct Entry {
    about: Arc<About>,
    content_type: Option<String>,
    frames: Vec<Frame>,
    state: Option<State>,
}

/// What one life of the gateway writes with.
#[derive(Debug)]
struct Pen {
    ledger: Ledger,
    life: u64,
}

impl Ledger {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Books {
            seed,
            streams: BTreeMap::new(),
            on_the_way: VecDeque::new(),
            owed: Vec::new(),
            last: None,
            given: 0,
            is_full: false,
            has_failed: false,
            life: 0,
        })))
    }

    pub(crate) fn is_full(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    /// The gateway dies: what is on the disk now is there, and the rest is not.
    pub(crate) fn power_off(&self) {
        let mut books = self.lock();
        books.write(Instant::now());
        books.on_the_way.clear();
        books.last = None;
        books.life += 1;
    }

    /// Opens the journal for the next life.
    pub(crate) fn open(&self) -> Opened {
        let mut books = self.lock();
        books.recover();
        let journal = Arc::new(Pen { ledger: self.clone(), life: books.life });
        let known = books.streams.values().map(|entry| Known {
            about: (*entry.about).clone(),
            content_type: entry.content_type.clone(),
            state: match entry.state.as_ref().expect("recovered") {
                State::Ended(ended) => State::Ended(ended.clone()),
                State::Gone(until) => State::Gone(*until),
            },
        });
        Opened { journal, known: known.collect(), spent: Vec::new(), secret: SECRET }
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }
}

impl Books {
    /// Brings to the disk what is there by now.
    fn write(&mut self, now: Instant) {
        while self.on_the_way.front().is_some_and(|(at, _)| *at <= now) {
            let (_, record) = self.on_the_way.pop_front().expect("looked at");
            self.settle(record);
        }
    }

    fn settle(&mut self, record: Record) {
        match record {
            Record::Begin(about) => {
                let entry = Entry { about, content_type: None, frames: Vec::new(), state: None };
                let number = entry.about.number;
                assert!(self.streams.insert(number, entry).is_none(), "{number} has begun twice");
            }
            Record::Describe(number, content_type) => {
                self.running(number, |entry| entry.content_type = Some(content_type));
            }
            Record::Frame(number, frame) => self.running(number, |entry| {
                let next = entry.frames.last().map_or(1, |frame| frame.last() + 1);
                assert_eq!(frame.first, next, "{number}: the journal has a gap");
                assert!(entry.state.is_none(), "{number}: a frame behind the end");
                entry.frames.push(Arc::unwrap_or_clone(frame));
            }),
            Record::End(number, ended) => self.running(number, |entry| {
                assert!(entry.state.is_none(), "{number} has ended twice");
                entry.state = Some(State::Ended(Arc::unwrap_or_clone(ended)));
            }),
            Record::Bury(number, until_ms) => self.running(number, |entry| {
                entry.frames.clear();
                entry.state = Some(State::Gone(until_ms));
            }),
            Record::Forget(number) => drop(self.streams.remove(&number)),
            Record::Probe | Record::Spend(..) => {}
        }
    }

    /// Changes a stream that is there, and not gone.
    fn running(&mut self, number: Number, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.streams.get_mut(&number)
            && !matches!(entry.state, Some(State::Gone(_)))
        {
            change(entry);
        }
    }

    /// Ends what was running, as it was told, or else where it is durable.
    fn recover(&mut self) {
        let (ends, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.owed).into_iter().partition(|record| matches!(record, Record::End(..)));
        for entry in self.streams.values_mut().filter(|entry| entry.state.is_none()) {
            let mut ended = entry.interrupted();
            let said = ends.iter().rev().find_map(|record| match record {
                Record::End(number, said) if *number == entry.about.number => Some(said),
                _ => None,
            });
            if let Some(said) = said
                && said.end.hash == ended.end.hash
            {
                ended = (**said).clone();
            }
            entry.state = Some(State::Ended(ended));
        }
        rest.into_iter().for_each(|record| self.settle(record));
        self.has_failed = false;
    }
}

impl Entry {
    fn interrupted(&self) -> Ended {
        let mut fold = Fold::default();
        self.frames.iter().flat_map(|frame| &frame.events).for_each(|(_, event)| fold.apply(event));
        let bytes: Vec<u8> = self.frames.iter().flat_map(|frame| &frame.bytes[..]).copied().collect();
        let end = End {
            why: Why::Restart,
            message: None,
            finish: fold.finish().map(str::to_owned),
            usage: fold.usage,
            blocks: self.frames.last().map_or(0, Frame::last),
            bytes: bytes.len() as u64,
            hash: hex(&sha256(&bytes)),
            at_ms: self.frames.last().map_or(0, |frame| frame.at_ms),
        };
        Ended { end, model: None, frames: self.frames.len(), first_token_ms: None, upstream_id: None }
    }
}

impl Durable for Pen {
    fn commit(&self, record: Record) -> Commit {
        let mut books = self.ledger.lock();
        if books.life != self.life {
            // The process that asks for it is dead, and does not know yet.
            return Box::pin(pending());
        }
        let now = Instant::now();
        books.write(now);
        books.given += 1;
        let mut rng = Rng::with_seed(books.seed ^ books.given);
        if books.is_full {
            books.has_failed = true;
            if matches!(record, Record::End(..) | Record::Bury(..) | Record::Forget(_)) {
                books.owed.push(record);
            }
            let took = Duration::from_millis(rng.u64(..4));
            return Box::pin(async move {
                sleep(took).await;
                Err(StorageError("the disk is full".into()))
            });
        }
        books.has_failed = false;
        let took = Duration::from_millis(match rng.u8(..40) {
            0 => rng.u64(20..200),
            1..=4 => rng.u64(4..20),
            _ => rng.u64(..4),
        });
        let (mut at, mut said) = (now + took / 2, now + took);
        if let Some((last_at, last_said)) = books.last {
            (at, said) = (at.max(last_at), said.max(last_said));
        }
        books.last = Some((at, said));
        // The last word about an end counts, and the first one is not written before it.
        let mut owed: Vec<Record> = std::mem::take(&mut books.owed);
        owed.push(record);
        let ends: Vec<Option<Number>> = owed.iter().map(end_of).collect();
        for (index, record) in owed.into_iter().enumerate() {
            let is_last = ends[index].is_none() || !ends[index + 1..].contains(&ends[index]);
            if is_last {
                books.on_the_way.push_back((at, record));
            }
        }
        Box::pin(async move {
            sleep_until(said).await;
            Ok(())
        })
    }

    fn content(&self, number: Number) -> Load<Content> {
        let books = self.ledger.lock();
        let frames = books.streams.get(&number).map_or(&[][..], |entry| &entry.frames);
        let (mut begin, mut id, mut marks) = (0, 0, Vec::new());
        for piece in frames.chunks(PIECE) {
            let (first, last) = (piece[0].first, piece[piece.len() - 1].last());
            marks.push(Mark { first, last, begin, id });
            begin += piece.iter().map(|frame| frame.bytes.len() as u64).sum::<u64>();
            id = piece.iter().flat_map(|frame| &frame.events).next_back().map_or(id, |(seq, _)| *seq);
        }
        Box::pin(ready(Ok(Content::Pieces(marks))))
    }

    fn piece(&self, number: Number, first: Seq) -> Load<Vec<Frame>> {
        let books = self.ledger.lock();
        let frames = books.streams.get(&number).map_or(&[][..], |entry| &entry.frames);
        let piece = frames.chunks(PIECE).find(|piece| piece[0].first == first);
        Box::pin(ready(Ok(piece.map_or_else(Vec::new, <[Frame]>::to_vec))))
    }

    fn keeps_content(&self) -> bool {
        true
    }

    fn used_bytes(&self) -> u64 {
        0
    }

    fn trouble(&self) -> Option<StorageError> {
        self.ledger.lock().has_failed.then(|| StorageError("the disk is full".into()))
    }
}

fn end_of(record: &Record) -> Option<Number> {
    match record {
        Record::End(number, _) => Some(*number),
        _ => None,
    }
}
