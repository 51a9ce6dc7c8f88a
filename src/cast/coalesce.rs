//! Blocks into frames, without I/O: the clock is handed in, the frame is handed out.
//!
//! *Leading edge*: when nothing was flushed during the last frame interval, a block is due at once, so that at
//! ordinary token rates no token waits. *Trailing edge*: otherwise the pending frame is due one interval after the
//! last flush. *Forced*: it is due at once when it is full, when it has the first token of the answer (which would
//! else wait behind the provider's opening words), when a choice finishes, or when someone says so.

use std::time::Duration;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::block::{Block, Seq};
use super::event::Event;
use super::frame::Frame;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub frame_interval_ms: u64,
    pub frame_bytes_max: usize,
    pub pending_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { frame_interval_ms: 16, frame_bytes_max: 16 * 1024, pending_bytes_max: 1024 * 1024 }
    }
}

/// Why a frame was flushed before its interval was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forced {
    /// The first token is in it.
    First,
    /// The pending frame reached `frame_bytes_max`.
    Bytes,
    /// No more bytes may wait, and the reader stands still.
    Full,
    /// A choice finished.
    Finish,
    /// The provider said an error.
    Error,
    /// The stream ends.
    End,
}

/// Gathers the blocks of one cast into frames.
#[derive(Debug)]
pub struct Coalescer {
    interval: Duration,
    frame_bytes_max: usize,
    began: Instant,
    last_flush: Option<Instant>,
    next: Seq,
    /// Whether the first token was seen.
    has_begun: bool,
    bytes: BytesMut,
    ends: SmallVec<[u32; 4]>,
    events: SmallVec<[(Seq, Event); 1]>,
    forced: Option<Forced>,
}

impl Coalescer {
    /// `began` is the moment from which frames count their arrival.
    pub fn new(config: &Config, began: Instant) -> Self {
        Self {
            interval: Duration::from_millis(config.frame_interval_ms),
            frame_bytes_max: config.frame_bytes_max,
            began,
            last_flush: None,
            next: 1,
            has_begun: false,
            bytes: BytesMut::new(),
            ends: SmallVec::new(),
            events: SmallVec::new(),
            forced: None,
        }
    }

    pub fn push(&mut self, block: Block) {
        self.bytes.extend_from_slice(&block.bytes);
        self.ends
            .push(u32::try_from(self.bytes.len()).expect("a frame is far below 4 GiB: blocks are limited"));
        for event in block.events {
            match event {
                Event::Finish { .. } => self.force(Forced::Finish),
                Event::Error { .. } => self.force(Forced::Error),
                Event::Prose { .. } | Event::ToolCall { .. } if !self.has_begun => {
                    self.has_begun = true;
                    self.force(Forced::First);
                }
                _ => {}
            }
            self.events.push((self.next, event));
        }
        self.next += 1;
        if self.bytes.len() >= self.frame_bytes_max {
            self.force(Forced::Bytes);
        }
    }

    /// Makes what is pending due at once. The first cause counts.
    pub fn force(&mut self, cause: Forced) {
        self.forced.get_or_insert(cause);
    }

    /// Whether the pending frame is due before its time.
    pub fn is_forced(&self) -> bool {
        self.forced.is_some()
    }

    /// When the pending frame is due; `None` when nothing is pending.
    pub fn deadline(&self) -> Option<Instant> {
        if self.ends.is_empty() {
            return None;
        }
        match self.last_flush {
            Some(at) if self.forced.is_none() => Some(at + self.interval),
            _ => Some(self.began),
        }
    }

    /// Takes the pending frame, whether it is due or not, and what forced it.
    pub fn flush(&mut self, now: Instant) -> Option<(Frame, Option<Forced>)> {
        let forced = self.forced.take();
        if self.ends.is_empty() {
            return None;
        }
        self.last_flush = Some(now);
        // The next frame is most likely as large as this one.
        let like = (self.ends.len(), self.events.len());
        let ends = std::mem::replace(&mut self.ends, SmallVec::with_capacity(like.0));
        let frame = Frame {
            first: self.next - ends.len() as Seq,
            at_ms: u64::try_from((now - self.began).as_millis()).unwrap_or(u64::MAX),
            bytes: self.bytes.split().freeze(),
            ends,
            events: std::mem::replace(&mut self.events, SmallVec::with_capacity(like.1)),
        };
        Some((frame, forced))
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;

    fn block(len: usize) -> Block {
        Block { bytes: vec![b'x'; len].into(), events: SmallVec::new() }
    }

    fn coalescer(began: Instant) -> Coalescer {
        Coalescer::new(&Config { frame_bytes_max: 100, ..Config::default() }, began)
    }

    /// Feeds blocks at the given milliseconds and flushes whenever a frame is due: (time, blocks) of each frame.
    fn frames(arrivals: &[(u64, usize)]) -> Vec<(u64, usize)> {
        let began = Instant::now();
        let mut coalescer = coalescer(began);
        let mut out = Vec::new();
        let mut flush = |coalescer: &mut Coalescer, at: Instant| {
            let (frame, _) = coalescer.flush(at).expect("a frame was due");
            assert_eq!(frame.at_ms, (at - began).as_millis() as u64);
            out.push((frame.at_ms, frame.ends.len()));
        };
        for &(ms, len) in arrivals {
            let now = began + Duration::from_millis(ms);
            while let Some(due) = coalescer.deadline().filter(|due| *due <= now) {
                flush(&mut coalescer, due.max(began));
            }
            coalescer.push(block(len));
            if coalescer.deadline().is_some_and(|due| due <= now) {
                flush(&mut coalescer, now);
            }
        }
        if let Some(due) = coalescer.deadline() {
            flush(&mut coalescer, due);
        }
        out
    }

    #[test]
    fn at_ordinary_rates_no_block_waits() {
        assert_eq!(frames(&[(0, 1), (20, 1), (40, 1), (60, 1)]), [(0, 1), (20, 1), (40, 1), (60, 1)]);
    }

    #[test]
    fn a_burst_is_merged_behind_its_first_block() {
        assert_eq!(frames(&[(0, 1), (1, 1), (2, 1), (15, 1), (17, 1)]), [(0, 1), (16, 3), (32, 1)]);
    }

    #[test]
    fn a_full_frame_does_not_wait() {
        assert_eq!(frames(&[(0, 1), (1, 60), (2, 60), (3, 1)]), [(0, 1), (2, 2), (18, 1)]);
    }

    #[test]
    fn a_finish_does_not_wait() {
        let began = Instant::now();
        let mut coalescer = coalescer(began);
        coalescer.push(block(1));
        coalescer.flush(began);
        let finish = Event::Finish { choice: 0, reason: "stop".into() };
        coalescer.push(Block { events: smallvec![finish], ..block(1) });
        assert!(coalescer.deadline().is_some_and(|due| due <= began));
        let (frame, forced) = coalescer.flush(began).expect("pending");
        assert_eq!((frame.first, frame.last(), forced), (2, 2, Some(Forced::Finish)));
    }

    #[test]
    fn the_first_token_does_not_wait_and_the_second_does() {
        let began = Instant::now();
        let mut coalescer = coalescer(began);
        let token = || Event::Prose { choice: 0, kind: crate::cast::event::Prose::Text, text: "a".into() };
        coalescer.push(block(1));
        coalescer.flush(began);
        for (blocks, forced) in [(1, Some(Forced::First)), (1, None)] {
            coalescer.push(Block { events: smallvec![token()], ..block(1) });
            assert_eq!(coalescer.is_forced(), forced.is_some());
            let (frame, cause) = coalescer.flush(began).expect("pending");
            assert_eq!((frame.ends.len(), cause), (blocks, forced));
        }
    }

    #[test]
    fn nothing_pending_is_never_due() {
        let began = Instant::now();
        let mut coalescer = coalescer(began);
        coalescer.force(Forced::End);
        assert_eq!(coalescer.deadline(), None);
        assert!(coalescer.flush(began).is_none());
    }
}
