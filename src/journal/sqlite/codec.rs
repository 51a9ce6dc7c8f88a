//! Records as bytes: MessagePack, and LZ4 over it where frames are at rest.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::fmt::Display;
use std::io::Cursor;

use serde::de::DeserializeOwned;

use crate::cast::durable::{Ended, Number, StorageError};
use crate::cast::frame::Frame;
use crate::crypto::sha256;

/// A chunk that claims to be larger than this is damaged.
const CHUNK_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes before a frame in a journal row: the number of its stream, which is 0 when it was erased, and its length.
const PREFIX: usize = size_of::<Number>() + LEN;
const LEN: usize = size_of::<u32>();

/// As much of a SHA-256 as is kept beside the data.
pub(crate) const SUM: usize = 16;

/// Appends one frame of a stream to a journal row.
pub(crate) fn put(row: &mut Vec<u8>, stream: Number, frame: &Frame) {
    let start = row.len();
    row.extend_from_slice(&stream.to_le_bytes());
    row.extend_from_slice(&[0; LEN]);
    let before = row.len();
    rmp_serde::encode::write(row, frame).expect("plain data is MessagePack");
    let len = u32::try_from(row.len().saturating_sub(before)).expect("a frame is small");
    let place = row.get_mut(start..before).and_then(|prefix| prefix.last_chunk_mut());
    *place.expect("it was just written") = len.to_le_bytes();
}

/// Which stream's frame begins at an offset of a journal row, and where it ends.
pub(crate) fn owner(row: &[u8], offset: usize) -> Result<(Number, usize), StorageError> {
    let prefix = row.get(offset..).and_then(|rest| rest.first_chunk::<PREFIX>());
    let Some([a, b, c, d, e, f, g, h, len @ ..]) = prefix else { return Err(damaged("a row is cut")) };
    let len = u32::from_le_bytes(*len) as usize;
    let end = offset.saturating_add(PREFIX).saturating_add(len);
    if end > row.len() {
        return Err(damaged("a row is cut"));
    }
    Ok((Number::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), end))
}

/// The frame at an offset of a journal row.
pub(crate) fn at(row: &[u8], offset: usize) -> Result<Frame, StorageError> {
    let (_, end) = owner(row, offset)?;
    let frame = row.get(..end).and_then(|row| row.get(offset..)?.get(PREFIX..));
    rmp_serde::from_slice(frame.unwrap_or_default()).map_err(damaged).and_then(sound)
}

/// Overwrites a stream's frames in a journal row. What others have there stays where it is.
pub(crate) fn erase(row: &mut [u8], stream: Number) -> Result<bool, StorageError> {
    let (mut offset, mut erased) = (0, false);
    while offset < row.len() {
        let (owner, end) = owner(row, offset)?;
        if owner == stream
            && let Some((number, frame)) =
                row.get_mut(offset..end).and_then(|entry| entry.split_at_mut_checked(PREFIX))
        {
            number.iter_mut().take(size_of::<Number>()).for_each(|byte| *byte = 0);
            frame.fill(0);
            erased = true;
        }
        offset = end;
    }
    Ok(erased)
}

/// A run of frames of one stream, compressed.
pub(crate) fn chunk(frames: &[Frame]) -> Vec<u8> {
    let mut plain = Vec::new();
    for frame in frames {
        rmp_serde::encode::write(&mut plain, frame).expect("plain data is MessagePack");
    }
    lz4_flex::compress_prepend_size(&plain)
}

/// What a row or a chunk is checked by when it is read.
pub(crate) fn sum(data: &[u8]) -> [u8; SUM] {
    let whole = sha256(data);
    whole.first_chunk().copied().expect("it is shorter")
}

pub(crate) fn check(wanted: &[u8], data: &[u8]) -> Result<(), StorageError> {
    if sum(data) == wanted { Ok(()) } else { Err(damaged("what stands there is not what was written")) }
}

/// The frames of a chunk.
pub(crate) fn frames(chunk: &[u8]) -> Result<Vec<Frame>, StorageError> {
    let (size, _) = lz4_flex::block::uncompressed_size(chunk).map_err(damaged)?;
    if size > CHUNK_BYTES_MAX {
        return Err(damaged("a chunk is too large"));
    }
    let plain = lz4_flex::decompress_size_prepended(chunk).map_err(damaged)?;
    let (mut cursor, mut frames) = (Cursor::new(&*plain), Vec::new());
    while (cursor.position() as usize) < plain.len() {
        frames.push(value(&mut cursor).and_then(sound)?);
    }
    Ok(frames)
}

pub(crate) fn ended(ended: &Ended) -> Vec<u8> {
    rmp_serde::to_vec_named(ended).expect("plain data is MessagePack")
}

pub(crate) fn read_ended(bytes: &[u8]) -> Result<Ended, StorageError> {
    rmp_serde::from_slice(bytes).map_err(damaged)
}

fn value<T: DeserializeOwned>(cursor: &mut Cursor<&[u8]>) -> Result<T, StorageError> {
    rmp_serde::decode::from_read(cursor).map_err(damaged)
}

/// The sums say that a row is as it was written, and not by whom.
fn sound(frame: Frame) -> Result<Frame, StorageError> {
    if frame.is_sound() { Ok(frame) } else { Err(damaged("a frame contradicts itself")) }
}

fn damaged(error: impl Display) -> StorageError {
    StorageError(format!("the database is damaged: {error}"))
}
