//! What is found in bytes that go by: frames of HTTP/2, lines of heads, what an answer has cost.

use serde_json::{Map, Value};

use super::chunkings;
use crate::http::passing_by::{cost, frames, heads};

/// The same is found however the bytes are chunked: a frame for each head, a bare LF where there is one, and of an answer
/// without what stands in its arrays what all of it says.
pub fn wire(bytes: &[u8]) {
    for chunks in chunkings(bytes) {
        assert_eq!(frames(&chunks), frames_of(bytes));
        let (_, bare) = heads(&chunks);
        assert_eq!(bare.is_some(), is_bare(bytes));
        assert_eq!(heads(&chunks), heads(&[bytes]));
        let (whole, outline) = cost(&chunks);
        // What is no JSON within an array only all of it shows.
        if serde_json::from_slice::<Map<String, Value>>(bytes).is_ok() {
            assert_eq!(whole, outline);
        }
    }
}

fn frames_of(bytes: &[u8]) -> Vec<(u8, usize)> {
    let (mut found, mut rest) = (Vec::new(), bytes);
    while let Some(([high, middle, low, kind, ..], behind)) = rest.split_first_chunk::<9>() {
        let len = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
        found.push((*kind, len));
        rest = behind.get(len..).unwrap_or_default();
    }
    found
}

fn is_bare(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'\n') || bytes.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r')
}
