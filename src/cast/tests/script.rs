//! A journal that does as it is told, and keeps what it was given and when.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::cast::block::Seq;
use crate::cast::durable::{Commit, Content, Durable, Load, Number, Record, StorageError, committed};
use crate::cast::frame::Frame;

/// How the next commits go.
#[derive(Debug, Clone)]
pub(crate) enum Pace {
    AtOnce,
    Within(Duration),
    /// When [`Script::settle`] says so.
    ByHand,
    Failing,
}

#[derive(Debug)]
pub(crate) struct Script(Mutex<State>);

#[derive(Debug)]
struct State {
    pace: Pace,
    began: Instant,
    records: Vec<(Duration, Record)>,
    open: VecDeque<oneshot::Sender<Result<(), StorageError>>>,
}

pub(crate) fn failure() -> StorageError {
    StorageError("the disk is full".into())
}

impl Script {
    pub(crate) fn new(pace: Pace) -> Arc<Self> {
        let (records, open) = (Vec::new(), VecDeque::new());
        Arc::new(Self(Mutex::new(State { pace, began: Instant::now(), records, open })))
    }

    pub(crate) fn pace(&self, pace: Pace) {
        self.0.lock().unwrap().pace = pace;
    }

    /// Ends the oldest commit that is still open.
    pub(crate) fn settle(&self, result: Result<(), StorageError>) {
        let oldest = self.0.lock().unwrap().open.pop_front().expect("a commit is open");
        // Who asked for it may be gone.
        let _ = oldest.send(result);
    }

    /// Commits that wait for [`Script::settle`].
    pub(crate) fn open(&self) -> usize {
        self.0.lock().unwrap().open.len()
    }

    /// What was committed or tried: when, and as `begin`, `first-last` or the end's reason and code.
    pub(crate) fn said(&self) -> Vec<(u64, String)> {
        let state = self.0.lock().unwrap();
        state.records.iter().map(|(at, record)| (at.as_millis() as u64, said(record))).collect()
    }
}

fn said(record: &Record) -> String {
    match record {
        Record::Begin(_) => "begin".into(),
        Record::Frame(_, frame) => format!("{}-{}", frame.first, frame.last()),
        Record::Describe(..) => "describe".into(),
        Record::Bury(..) => "bury".into(),
        Record::Forget(_) => "forget".into(),
        Record::Spend(..) => "spend".into(),
        Record::Probe => "probe".into(),
        Record::End(_, ended) => match ended.end.why.wire() {
            (reason, Some(code)) => format!("{reason}/{code}"),
            (reason, None) => reason.into(),
        },
    }
}

impl Durable for Script {
    fn commit(&self, record: Record) -> Commit {
        let mut state = self.0.lock().unwrap();
        let at = state.began.elapsed();
        state.records.push((at, record));
        match state.pace {
            Pace::AtOnce => committed(),
            Pace::Failing => Box::pin(async { Err(failure()) }),
            Pace::Within(delay) => Box::pin(async move {
                sleep(delay).await;
                Ok(())
            }),
            Pace::ByHand => {
                let (settle, settled) = oneshot::channel();
                state.open.push_back(settle);
                Box::pin(async { settled.await.expect("the script goes on") })
            }
        }
    }

    fn piece(&self, _number: Number, _first: Seq) -> Load<Vec<Frame>> {
        Box::pin(std::future::ready(Err(failure())))
    }

    fn content(&self, _number: Number) -> Load<Content> {
        Box::pin(async { Err(failure()) })
    }

    fn keeps_content(&self) -> bool {
        false
    }

    fn used_bytes(&self) -> u64 {
        0
    }

    fn trouble(&self) -> Option<StorageError> {
        None
    }
}
