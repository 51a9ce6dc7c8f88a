//! Frames of HTTP/2 as they go by. A peer that says much more than it is answered is noticed: pings, settings, windows
//! and the like cost us work, and ask for nothing.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::edge::bucket::{Bucket, Rate};

const PREFACE_BYTES: usize = 24;
const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
/// More than padding can be; less in a frame of data is hardly a piece of a body.
const DATA_BYTES_MIN: usize = 256;
/// Frames that a peer may say unasked.
const RATE: Rate = Rate { per_s: 100.0, burst: 1000.0 };
/// Frames that a peer may say for each head, and each piece of a body, that we have sent: a reader that grants window
/// piece by piece, on both levels, and pings to measure the way says three.
const EARNED: u64 = 4;

/// What goes by on one connection.
#[derive(Debug)]
pub(super) struct Frames {
    heard: Heads,
    said: Heads,
    /// Frames that our answers allow.
    earned: u64,
    bucket: Bucket,
}

impl Frames {
    pub(super) fn new(now: Instant) -> Self {
        let heard = Heads { skip: PREFACE_BYTES, ..Heads::default() };
        Self { heard, said: Heads::default(), earned: 0, bucket: Bucket::full(RATE, now) }
    }

    /// Notes what was sent.
    pub(super) fn said(&mut self, mut bytes: &[u8]) {
        while let Some((kind, _)) = self.said.next(&mut bytes) {
            if matches!(kind, DATA | HEADERS) {
                self.earned = self.earned.saturating_add(EARNED);
            }
        }
    }

    /// Notes what has come, and says whether that is still to be borne.
    pub(super) fn heard(&mut self, mut bytes: &[u8]) -> bool {
        let mut cost: u64 = 0;
        while let Some((kind, len)) = self.heard.next(&mut bytes) {
            if kind != DATA || len < DATA_BYTES_MIN {
                cost = cost.saturating_add(1);
            }
        }
        let unasked = cost.saturating_sub(self.earned);
        self.earned = self.earned.saturating_sub(cost);
        if unasked == 0 {
            return true;
        }
        let now = Instant::now();
        (0..unasked).all(|_| self.bucket.take(RATE, now).is_ok())
    }
}

/// Finds the heads of frames in bytes, in whatever pieces these come.
#[derive(Debug, Default)]
struct Heads {
    /// Bytes before the next head.
    skip: usize,
    /// What has come of the next one.
    part: SmallVec<[u8; HEAD_BYTES]>,
}

impl Heads {
    /// Kind and length of the next frame whose head is complete.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<(u8, usize)> {
        let skipped = self.skip.min(bytes.len());
        self.skip = self.skip.saturating_sub(skipped);
        let behind = bytes.get(skipped..)?;
        let lacking = HEAD_BYTES.saturating_sub(self.part.len());
        let (part, rest) = behind.split_at(lacking.min(behind.len()));
        self.part.extend_from_slice(part);
        *bytes = rest;
        let &[high, middle, low, kind, ..] = self.part.as_slice() else { return None };
        if self.part.len() < HEAD_BYTES {
            return None;
        }
        self.part.clear();
        self.skip = u32::from_be_bytes([0, high, middle, low]) as usize;
        Some((kind, self.skip))
    }
}

/// All frames whose heads are complete, for who looks whether pieces matter.
#[cfg(any(test, fuzzing))]
pub(crate) fn in_pieces(pieces: &[&[u8]]) -> Vec<(u8, usize)> {
    let (mut heads, mut found) = (Heads::default(), Vec::new());
    for mut piece in pieces.iter().copied() {
        while let Some(head) = heads.next(&mut piece) {
            found.push(head);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, len: usize) -> Vec<u8> {
        let [_, high, middle, low] = u32::try_from(len).unwrap().to_be_bytes();
        let mut frame = vec![high, middle, low, kind, 0, 0, 0, 0, 1];
        // Whatever is in a frame is no head.
        frame.resize(HEAD_BYTES + len, 0);
        frame
    }

    fn connection() -> Frames {
        let mut frames = Frames::new(Instant::now());
        assert!(frames.heard(&[0; PREFACE_BYTES]));
        frames
    }

    #[tokio::test(start_paused = true)]
    async fn frames_are_found_in_whatever_pieces_they_come() {
        let all = [frame(PING, 8), frame(DATA, 70_000), frame(WINDOW_UPDATE, 4), frame(4, 0)].concat();
        for size in [1, 2, 9, 10, 1000, all.len()] {
            let pieces: Vec<_> = all.chunks(size).collect();
            assert_eq!(in_pieces(&pieces), [(PING, 8), (DATA, 70_000), (WINDOW_UPDATE, 4), (4, 0)], "{size}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_at_once_and_so_many_each_second() {
        let mut frames = connection();
        let many = |count| frame(PING, 8).repeat(count);
        assert!(frames.heard(&many(1000)));
        assert!(!frames.heard(&many(1)));
        for _ in 0..100 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(frames.heard(&many(100)));
        }
        assert!(!frames.heard(&many(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_may_say_so_and_who_uploads_may_upload() {
        let mut frames = connection();
        frames.said(&frame(DATA, 1).repeat(100_000));
        assert!(frames.heard(&frame(WINDOW_UPDATE, 4).repeat(300_000)), "however late");
        assert!(frames.heard(&frame(DATA, 16_384).repeat(1000)));
        assert!(!frames.heard(&frame(DATA, 1).repeat(200_000)));
        let mut frames = connection();
        frames.said(&frame(PING, 8).repeat(100_000));
        assert!(!frames.heard(&frame(PING, 8).repeat(1001)), "an answer to a ping is none");
    }
}
