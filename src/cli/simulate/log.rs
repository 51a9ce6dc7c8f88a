//! What the simulated provider was asked and how each request ended: the witness for tests of "one upstream
//! call" and "connection closed within a second".

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::sync::watch;

/// Requests that the log remembers.
pub const RECORDS_MAX: usize = 64;
/// Bytes of request bodies that the log remembers in all; the last request is always kept whole.
pub const RECORD_BYTES_MAX: usize = 32 << 20;

/// Counts, and the last requests. Shared by all connections of one simulator.
#[derive(Debug)]
pub struct RequestLog {
    counts: watch::Sender<Counts>,
    state: Mutex<State>,
}

/// How many, so far and right now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests received whole, whatever their path.
    pub received: u64,
    /// Requests whose answer is not yet over.
    pub open: u64,
    /// Requests whose client went away before the answer was over.
    pub closed_early: u64,
    /// TCP connections that are open.
    pub connections: u64,
}

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Record {
    /// 1 is the first request that the simulator received.
    pub number: u64,
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// `None` while the answer is not over.
    pub ended: Option<Ended>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The answer went out as scripted, faults included.
    AsScripted,
    /// The client closed before that.
    ByClient,
    /// The simulator was stopped before that.
    Stopped,
}

#[derive(Debug, Default)]
struct State {
    records: VecDeque<Record>,
    bytes: usize,
    received: u64,
    stopping: bool,
}

impl RequestLog {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { counts: watch::Sender::new(Counts::default()), state: Mutex::default() })
    }

    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Requests received so far.
    pub fn received(&self) -> u64 {
        self.counts().received
    }

    /// Requests whose answer is not yet over.
    pub fn open(&self) -> u64 {
        self.counts().open
    }

    /// Requests whose client went away before the answer was over.
    pub fn closed_early(&self) -> u64 {
        self.counts().closed_early
    }

    /// The last requests, oldest first, at most [`RECORDS_MAX`].
    pub fn records(&self) -> Vec<Record> {
        self.lock().records.iter().cloned().collect()
    }

    /// The last request.
    pub fn last(&self) -> Option<Record> {
        self.lock().records.back().cloned()
    }

    /// Waits until the counts are as wanted. Put a timeout around it.
    pub async fn until(&self, wanted: impl FnMut(&Counts) -> bool) -> Counts {
        let mut receiver = self.counts.subscribe();
        // The sender lives in self, so waiting cannot fail.
        receiver.wait_for(wanted).await.map_or_else(|_| self.counts(), |counts| *counts)
    }

    /// From now on, requests that end before their time ended because we stopped.
    pub(super) fn stopping(&self) {
        self.lock().stopping = true;
    }

    pub(super) fn connected(self: &Arc<Self>) -> Connected {
        self.counts.send_modify(|counts| counts.connections += 1);
        Connected(Arc::clone(self))
    }

    /// Notes a request. The call is open until the returned value is dropped.
    pub(super) fn begin(self: &Arc<Self>, head: &http::request::Parts, body: Bytes) -> Call {
        let mut state = self.lock();
        state.received += 1;
        state.bytes += body.len();
        let number = state.received;
        state.records.push_back(Record {
            number,
            method: head.method.clone(),
            target: head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string),
            headers: head.headers.clone(),
            body,
            ended: None,
        });
        while state.records.len() > RECORDS_MAX || (state.bytes > RECORD_BYTES_MAX && state.records.len() > 1)
        {
            let Some(oldest) = state.records.pop_front() else { break };
            state.bytes -= oldest.body.len();
        }
        drop(state);
        self.counts.send_modify(|counts| {
            counts.received += 1;
            counts.open += 1;
        });
        Call { log: Arc::clone(self), number, complete: false }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one TCP connection while it lives.
#[derive(Debug)]
pub(super) struct Connected(Arc<RequestLog>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.counts.send_modify(|counts| counts.connections -= 1);
    }
}

/// One request in progress. It travels from the handler into the body, so that whoever drops it says how it
/// ended.
#[derive(Debug)]
pub(super) struct Call {
    log: Arc<RequestLog>,
    number: u64,
    complete: bool,
}

impl Call {
    /// Everything that the script wanted to send has been handed over.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.log.lock();
        let ended = match (self.complete, state.stopping) {
            (true, _) => Ended::AsScripted,
            (false, true) => Ended::Stopped,
            (false, false) => Ended::ByClient,
        };
        if let Some(record) = state.records.iter_mut().find(|record| record.number == self.number) {
            record.ended = Some(ended);
        }
        drop(state);
        self.log.counts.send_modify(|counts| {
            counts.open -= 1;
            counts.closed_early += u64::from(ended == Ended::ByClient);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> http::request::Parts {
        http::Request::get("/v1/models?x=1").body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_drop_says_how_it_ended() {
        let log = RequestLog::new();
        let mut first = log.begin(&head(), Bytes::from_static(b"a"));
        let second = log.begin(&head(), Bytes::new());
        let third = log.begin(&head(), Bytes::new());
        assert_eq!((log.received(), log.open(), log.closed_early()), (3, 3, 0));
        first.complete();
        drop(first);
        drop(second);
        log.stopping();
        drop(third);
        assert_eq!((log.received(), log.open(), log.closed_early()), (3, 0, 1));
        let ended: Vec<_> = log.records().into_iter().map(|record| record.ended).collect();
        assert_eq!(ended, [Some(Ended::AsScripted), Some(Ended::ByClient), Some(Ended::Stopped)]);
        assert_eq!(log.records()[0].target, "/v1/models?x=1");
    }

    #[test]
    fn it_remembers_a_bounded_past() {
        let log = RequestLog::new();
        for _ in 0..RECORDS_MAX + 3 {
            log.begin(&head(), Bytes::new());
        }
        assert_eq!((log.records().len(), log.records()[0].number), (RECORDS_MAX, 4));
        log.begin(&head(), vec![0; RECORD_BYTES_MAX + 1].into());
        assert_eq!(log.records().len(), 1);
        assert_eq!(log.last().unwrap().body.len(), RECORD_BYTES_MAX + 1);
    }
}
