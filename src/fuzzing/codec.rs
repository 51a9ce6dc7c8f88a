//! Rows and chunks of the journal, whatever a disk has made of them.

use crate::journal::sqlite::codec::{at, chunk, erase, frames, owner, put, read_ended};

/// Anything is read or refused; what was read is what is written again; an erased stream is gone and nobody else is.
pub fn codec(bytes: &[u8]) {
    let _ = read_ended(bytes);
    if let Ok(found) = frames(bytes) {
        assert_eq!(frames(&chunk(&found)).expect("it was just written"), found);
    }
    let (mut offset, mut owners) = (0, Vec::new());
    while let Ok((stream, end)) = owner(bytes, offset) {
        assert!((offset + 1..=bytes.len()).contains(&end));
        if let Ok(frame) = at(bytes, offset) {
            let mut row = Vec::new();
            put(&mut row, stream, &frame);
            assert_eq!((owner(&row, 0), at(&row, 0)), (Ok((stream, row.len())), Ok(frame)));
        }
        owners.push((stream, offset, end));
        offset = end;
    }
    let (mut row, Some((erased, ..))) = (bytes.to_owned(), owners.first()) else { return };
    if erase(&mut row, *erased).is_ok() {
        for (stream, begin, end) in &owners {
            assert_eq!(
                row[*begin..*end] == bytes[*begin..*end],
                stream != erased || all_zero(&bytes[*begin..*end])
            );
            assert!(stream != erased || owner(&row, *begin) == Ok((0, *end)));
        }
    }
}

/// Whether there is nothing to be erased, beside the length.
fn all_zero(frame: &[u8]) -> bool {
    frame[..8].iter().chain(&frame[12..]).all(|byte| *byte == 0)
}
