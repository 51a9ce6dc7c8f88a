//! Reading a log behind a cursor, and rendering it on first demand.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::{Base, Entry, Log, Part, RENDER_FRAMES_MAX, Read, Rendered, Rendering, Source};
use crate::cast::block::Seq;
use crate::cast::event::Event;
use crate::cast::thread::Thread;
use crate::telemetry;

impl Log {
    /// What lies behind `after`: whole frames up to `bytes_max` (one at least), the rest of a frame when `after` is
    /// inside of it, or the end.
    pub fn read(&mut self, source: Source, after: Seq, bytes_max: usize) -> Read {
        if self.erased {
            return Read::Gone;
        }
        self.guarded(source, |log| log.read_on(source, after, bytes_max)).unwrap_or(Read::Broken)
    }

    /// Keeps a rendering that panics from everybody else, and for good: what it has half written is gone.
    fn guarded<T>(&mut self, source: Source, work: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let Source::Rendered(rendering) = source else { return Some(work(self)) };
        let slot = rendering.slot();
        if self.broken[slot] {
            return None;
        }
        let done = catch_unwind(AssertUnwindSafe(|| work(self)));
        if done.is_err() {
            telemetry::panicked("view");
            self.broken[slot] = true;
            self.reels[slot] = None;
        }
        done.ok()
    }

    fn read_on(&mut self, source: Source, after: Seq, bytes_max: usize) -> Read {
        if after >= self.tail() {
            return self.read_end(source);
        }
        let index = self.frames.partition_point(|entry| entry.last <= after);
        let entry = &self.frames[index];
        assert!(
            entry.first - 1 <= after && after < entry.last,
            "the frame holds the block behind the cursor"
        );
        if after >= entry.first {
            return Read::Batch {
                upto: entry.last,
                id: self.id(index),
                bytes: self.read_rest(source, index, after),
            };
        }
        let slice = match source {
            Source::Raw => self.raw.read(after, bytes_max),
            Source::Rendered(rendering) => {
                while !self.render(rendering, after, bytes_max) {}
                let rendered = self.reels[rendering.slot()].as_mut().expect("there is a reel now");
                rendered.reel.read(after, bytes_max)
            }
        };
        let slice = slice.expect("there are frames behind the cursor");
        let last = self.frames.partition_point(|entry| entry.last < slice.upto);
        Read::Batch { bytes: slice.bytes, upto: slice.upto, id: self.id(last) }
    }

    /// Does some of the rendering that [`Log::read`] would do. Gives whether there is none left: until then the log need
    /// not be kept from everybody else.
    pub fn prepare(&mut self, source: Source, after: Seq, bytes_max: usize) -> bool {
        match source {
            Source::Rendered(rendering) if after < self.tail && !self.erased => {
                self.guarded(source, |log| log.render(rendering, after, bytes_max)).unwrap_or(true)
            }
            _ => true,
        }
    }

    /// Renders the next frames, some at a time. Gives whether a read behind `after` has what it can carry.
    fn render(&mut self, rendering: &dyn Rendering, after: Seq, bytes_max: usize) -> bool {
        let Rendered { reel, thread } =
            self.reels[rendering.slot()].get_or_insert_with(|| Rendered::of(Thread::of(self.stream.clone())));
        let rendered = self.frames.partition_point(|entry| entry.last <= reel.tail());
        let mut begin = rendered.checked_sub(1).map_or(0, |before| self.frames[before].events);
        for entry in self.frames[rendered..].iter().take(RENDER_FRAMES_MAX) {
            if reel.has(after, bytes_max) {
                return true;
            }
            let (before, events) = self.events[..entry.events].split_at(begin);
            begin = entry.events;
            let part = Part { from: id(before, &self.base) + 1, events };
            reel.push(entry.last, |out| rendering.frame(&part, thread, out));
        }
        reel.tail() == self.tail || reel.has(after, bytes_max)
    }

    /// Renders what is left. Gives the thread behind the last frame.
    pub(in crate::cast) fn render_all(&mut self, rendering: &dyn Rendering) -> &mut Thread {
        let last = self.frames.last().map_or(0, |entry| entry.last);
        let slot = rendering.slot();
        self.take_up(rendering, Thread::of(self.stream.clone()));
        while self.reels[slot].as_ref().is_some_and(|rendered| rendered.reel.tail() < last) {
            self.render(rendering, last, usize::MAX);
        }
        &mut self.reels[slot].as_mut().expect("it was taken up").thread
    }

    /// Lets a rendering that has not begun here begin with what it has said before this log.
    pub(in crate::cast) fn take_up(&mut self, rendering: &dyn Rendering, thread: Thread) {
        self.reels[rendering.slot()].get_or_insert_with(|| Rendered::of(thread));
    }

    pub(in crate::cast) fn has_begun(&self, rendering: &dyn Rendering) -> bool {
        self.reels[rendering.slot()].is_some()
    }

    /// What a rendering has to know behind this log, once all of it is rendered.
    pub(in crate::cast) fn thread(&self, rendering: &dyn Rendering) -> Option<&Thread> {
        let rendered = self.reels[rendering.slot()].as_ref()?;
        (rendered.reel.tail() == self.tail).then_some(&rendered.thread)
    }

    /// The last id of the log with this frame.
    fn id(&self, frame: usize) -> Seq {
        id(&self.events[..self.frames[frame].events], &self.base)
    }

    /// Where each block of a frame ends in its bytes.
    fn block_ends(&self, entry: &Entry) -> &[u32] {
        let block = |seq: Seq| (seq - self.base.seq) as usize;
        &self.block_ends[block(entry.first) - 1..block(entry.last)]
    }

    /// The rest of a frame, rendered afresh for a cursor inside of it.
    fn read_rest(&self, source: Source, frame: usize, after: Seq) -> Bytes {
        let entry = &self.frames[frame];
        let mut out = Vec::new();
        match source {
            Source::Raw => {
                let skip = self.block_ends(entry)[(after - entry.first) as usize] as usize;
                return self.raw.rest(entry.first - 1, entry.last, skip);
            }
            Source::Rendered(rendering) => {
                debug_assert!(!rendering.has_thread(), "its viewers begin at borders of frames");
                let events = &self.events[..entry.events];
                let first = events.partition_point(|(seq, _)| *seq <= after);
                let part = Part { from: after + 1, events: &events[first..] };
                rendering.frame(&part, &mut Thread::default(), &mut out);
            }
        }
        out.into()
    }

    fn read_end(&mut self, source: Source) -> Read {
        let Some(end) = self.end.clone() else { return Read::Pending };
        let bytes = match source {
            Source::Raw => Bytes::new(),
            Source::Rendered(rendering) => match &self.ends[rendering.slot()] {
                Some(bytes) => bytes.clone(),
                None => {
                    let mut out = Vec::new();
                    if rendering.has_thread() {
                        rendering.end(&end, self.render_all(rendering), &mut out);
                    } else {
                        rendering.end(&end, &mut Thread::default(), &mut out);
                    }
                    self.ends[rendering.slot()].insert(out.into()).clone()
                }
            },
        };
        Read::End { bytes, end }
    }

    /// The block that holds the byte at `offset`, as a cursor before it, and how many of its bytes to skip.
    /// `None` beyond the tail.
    pub fn at_offset(&self, offset: u64) -> Option<(Seq, usize)> {
        if offset > self.bytes() {
            return None;
        }
        let offset = offset.checked_sub(self.base.bytes)? as usize;
        let frame = self.frames.partition_point(|entry| self.raw.offset(entry.last) <= offset);
        let Some(entry) = self.frames.get(frame) else { return Some((self.tail(), 0)) };
        let inside = offset - self.raw.offset(entry.first - 1);
        let ends = self.block_ends(entry);
        let block = ends.partition_point(|end| *end as usize <= inside);
        let begin = block.checked_sub(1).map_or(0, |before| ends[before] as usize);
        Some((entry.first - 1 + block as Seq, inside - begin))
    }

    /// How many bytes lie before the block behind `after`.
    pub fn offset(&self, after: Seq) -> u64 {
        let frame = self.frames.partition_point(|entry| entry.last <= after);
        let Some(entry) = self.frames.get(frame) else { return self.bytes() };
        let inside = match after.checked_sub(entry.first) {
            Some(index) => self.block_ends(entry)[index as usize] as usize,
            None => 0,
        };
        self.base.bytes + (self.raw.offset(entry.first - 1) + inside) as u64
    }
}

/// The last block that has events, where those of a log are these so far.
fn id(events: &[(Seq, Event)], base: &Base) -> Seq {
    events.last().map_or(base.id, |(seq, _)| *seq)
}
