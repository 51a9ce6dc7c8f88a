//! Contiguous encoded bytes with an index seq → offset, so that whatever a viewer lacks is one slice.
//!
//! Bytes gather in an open chunk, which is sealed at a frame border once it is large enough. A slice of a sealed
//! chunk is shared; a slice of the open one is copied once and shared by all viewers that stand at the same place.

use bytes::{Bytes, BytesMut};

use super::block::Seq;

/// An open chunk is sealed when it holds this much.
const CHUNK_BYTES: usize = 64 * 1024;

/// A larger slice of the open chunk gets memory of its own.
const SPARE_BYTES: usize = 4 * 1024;

/// One rendering of a log.
#[derive(Debug, Default)]
pub(super) struct Reel {
    sealed: Vec<Chunk>,
    open: Vec<u8>,
    marks: Vec<Mark>,
    /// The last slice taken from the open chunk: where it began, and what it was.
    latest: Option<(usize, Bytes)>,
    /// Where that slice has its memory, which is used again once every viewer has let go of it.
    spare: BytesMut,
    sealed_memory: usize,
}

#[derive(Debug)]
struct Chunk {
    /// Where this begins, counted from the beginning of the reel.
    begin: usize,
    bytes: Bytes,
    marks: Box<[Mark]>,
}

/// Where a frame ends.
#[derive(Debug, Clone, Copy)]
struct Mark {
    last: Seq,
    end: usize,
}

/// Some whole frames, end to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) bytes: Bytes,
    /// Seq of the last block within.
    pub(super) upto: Seq,
}

impl Reel {
    /// Seq of the last block that was rendered.
    pub(super) fn tail(&self) -> Seq {
        let open = self.marks.last();
        let sealed = || self.sealed.last().and_then(|chunk| chunk.marks.last());
        open.or_else(sealed).map_or(0, |mark| mark.last)
    }

    /// Bytes of memory that this holds.
    pub(super) fn memory(&self) -> usize {
        let latest = self.latest.as_ref().map_or(0, |(_, bytes)| bytes.len());
        let slices = latest + self.spare.capacity();
        self.sealed_memory + self.open.capacity() + self.marks.capacity() * size_of::<Mark>() + slices
    }

    /// Appends the rendering of the frame that ends at `last`.
    pub(super) fn push(&mut self, last: Seq, render: impl FnOnce(&mut Vec<u8>)) {
        debug_assert!(last > self.tail(), "frames are rendered in order");
        render(&mut self.open);
        self.marks.push(Mark { last, end: self.open.len() });
        if self.open.len() >= CHUNK_BYTES {
            self.seal();
        }
    }

    fn seal(&mut self) {
        self.latest = None;
        let begin = self.begin();
        // Boxes have no room to spare: what is retained is what was said.
        let bytes = std::mem::take(&mut self.open).into_boxed_slice();
        let marks = std::mem::take(&mut self.marks).into_boxed_slice();
        self.sealed_memory += size_of::<Chunk>() + bytes.len() + size_of_val(&*marks);
        self.sealed.push(Chunk { begin, bytes: bytes.into(), marks });
    }

    /// Where the open chunk begins, counted from the beginning of the reel.
    fn begin(&self) -> usize {
        self.sealed.last().map_or(0, |chunk| chunk.begin + chunk.bytes.len())
    }

    /// Whether there is as much behind `after` as one read may carry.
    pub(super) fn has(&self, after: Seq, bytes_max: usize) -> bool {
        self.tail() > after && self.begin() + self.open.len() - self.offset(after) >= bytes_max
    }

    /// The frames behind `after`, which is a frame border: at least one, of one chunk, and else not more than
    /// `bytes_max`. `None` at the tail.
    pub(super) fn read(&mut self, after: Seq, bytes_max: usize) -> Option<Slice> {
        if let Some(chunk) = self.chunk(after) {
            let (start, mark) = run(&chunk.marks, after, bytes_max)?;
            return Some(Slice { bytes: chunk.bytes.slice(start..mark.end), upto: mark.last });
        }
        let (start, mark) = run(&self.marks, after, bytes_max)?;
        let bytes = match &self.latest {
            Some((at, bytes)) if *at == start && bytes.len() == mark.end - start => bytes.clone(),
            _ => {
                self.latest = None;
                let bytes = copy(&self.open[start..mark.end], &mut self.spare);
                self.latest = Some((start, bytes.clone()));
                bytes
            }
        };
        Some(Slice { bytes, upto: mark.last })
    }

    /// The bytes of the one frame between two borders, less the first `skip`.
    pub(super) fn rest(&self, after: Seq, last: Seq, skip: usize) -> Bytes {
        let range = |marks| start(marks, after).1 + skip..start(marks, last).1;
        match self.chunk(after) {
            Some(chunk) => chunk.bytes.slice(range(&chunk.marks)),
            None => Bytes::copy_from_slice(&self.open[range(&self.marks)]),
        }
    }

    /// Where the frame behind the border `after` begins, counted from the beginning of the reel.
    pub(super) fn offset(&self, after: Seq) -> usize {
        match self.chunk(after) {
            Some(chunk) => chunk.begin + start(&chunk.marks, after).1,
            None => self.begin() + start(&self.marks, after).1,
        }
    }

    /// The sealed chunk with the frame behind the border `after`, if it is sealed.
    fn chunk(&self, after: Seq) -> Option<&Chunk> {
        let last = |chunk: &Chunk| chunk.marks.last().is_some_and(|mark| mark.last <= after);
        self.sealed.get(self.sealed.partition_point(last))
    }
}

fn copy(bytes: &[u8], spare: &mut BytesMut) -> Bytes {
    if bytes.len() > SPARE_BYTES {
        return Bytes::copy_from_slice(bytes);
    }
    spare.extend_from_slice(bytes);
    spare.split().freeze()
}

/// Index of the first frame behind `after`, and where it begins in its chunk.
fn start(marks: &[Mark], after: Seq) -> (usize, usize) {
    let first = marks.partition_point(|mark| mark.last <= after);
    let start = first.checked_sub(1).map_or(0, |before| marks[before].end);
    (first, start)
}

fn run(marks: &[Mark], after: Seq, bytes_max: usize) -> Option<(usize, Mark)> {
    let (first, start) = start(marks, after);
    let fits = marks[first..].partition_point(|mark| mark.end - start <= bytes_max);
    let last = first + fits.max(1) - 1;
    Some((start, *marks.get(last)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reel(frames: &[(Seq, &str)]) -> Reel {
        let mut reel = Reel::default();
        for (last, text) in frames {
            reel.push(*last, |out| out.extend_from_slice(text.as_bytes()));
        }
        reel
    }

    fn read(reel: &mut Reel, after: Seq, bytes_max: usize) -> Option<(String, Seq)> {
        let slice = reel.read(after, bytes_max)?;
        Some((String::from_utf8(slice.bytes.to_vec()).unwrap(), slice.upto))
    }

    #[test]
    fn a_debt_is_one_slice() {
        let mut reel = reel(&[(2, "ab"), (3, ""), (7, "cde")]);
        assert_eq!(read(&mut reel, 0, 100), Some(("abcde".into(), 7)));
        assert_eq!(read(&mut reel, 2, 100), Some(("cde".into(), 7)));
        assert_eq!(read(&mut reel, 0, 2), Some(("ab".into(), 3)));
        assert_eq!(read(&mut reel, 3, 1), Some(("cde".into(), 7)), "one frame at least");
        assert_eq!(read(&mut reel, 7, 100), None);
        assert_eq!((reel.tail(), reel.offset(3), reel.offset(7)), (7, 2, 5));
    }

    #[test]
    fn sealed_chunks_and_the_open_one_read_as_one_log() {
        let text = "x".repeat(1000);
        let frames: Vec<(Seq, String)> = (1..=200).map(|seq| (seq, format!("{seq:04}{text}"))).collect();
        let mut reel = Reel::default();
        for (last, text) in &frames {
            reel.push(*last, |out| out.extend_from_slice(text.as_bytes()));
        }
        assert!(reel.sealed.len() >= 3);
        for begin in [0, 1, 63, 64, 65, 66, 130, 199] {
            let (mut cursor, mut got) = (begin, String::new());
            while let Some((text, upto)) = read(&mut reel, cursor, 5000) {
                got.push_str(&text);
                cursor = upto;
            }
            let want: String = frames[begin as usize..].iter().map(|(_, text)| text.as_str()).collect();
            assert_eq!(got, want);
            assert_eq!(reel.offset(begin), begin as usize * 1004);
        }
    }

    #[test]
    fn what_is_sealed_holds_no_more_than_was_said() {
        let mut reel = Reel::default();
        let frame = [b'x'; 500];
        for last in 1..=1000 {
            reel.push(last, |out| out.extend_from_slice(&frame));
        }
        let (said, open) = (reel.offset(1000), 2 * CHUNK_BYTES + 256 * size_of::<Mark>());
        let marks = 1000 * size_of::<Mark>();
        assert!((said + marks..said + marks + open).contains(&reel.memory()), "{} for {said}", reel.memory());
    }

    #[test]
    fn what_is_shared_is_of_the_chunk_that_is_open() {
        let mut reel = Reel::default();
        for (last, said) in (1..).zip(["a", "b", "c", "d"]) {
            let frame = said.repeat(CHUNK_BYTES / 2);
            reel.push(last, |out| out.extend_from_slice(frame.as_bytes()));
            assert_eq!(read(&mut reel, last - 1, usize::MAX), Some((frame, last)));
        }
        assert_eq!(reel.sealed.len(), 2);
    }

    #[test]
    fn viewers_at_the_same_place_share_the_bytes() {
        let mut reel = reel(&[(1, "a"), (2, "b")]);
        let (one, two) = (reel.read(1, 100).unwrap(), reel.read(1, 100).unwrap());
        assert_eq!(one.bytes.as_ptr(), two.bytes.as_ptr());
    }
}
