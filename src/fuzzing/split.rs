//! Bytes → blocks → messages, against another reading of the rules.

use std::borrow::Cow;

use bytes::Bytes;

use super::{chunkings, whatwg};
use crate::dialect::sse;
use crate::upstream::split::{Framing, Piece, Splitter};

/// One limit that no input reaches, and one that nearly all do.
const LIMITS: [usize; 2] = [1 << 20, 24];

/// Blocks are those of the rule and nothing is lost, however the body is chunked; they say what the WHATWG says.
pub fn split(body: &[u8]) {
    let lines = body
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| (line, line.ends_with(b"\n") || !line.trim_ascii().is_empty()));
    let framings = [(Framing::Sse, whatwg::blocks(body)), (Framing::Ndjson, lines.collect())];
    for (framing, wanted) in &framings {
        let whole: usize = wanted.iter().map(|(block, _)| block.len()).sum();
        assert_eq!(whole, body.len());
        for limit in LIMITS {
            let fit = wanted.iter().take_while(|(block, _)| block.len() <= limit).count();
            for chunks in chunkings(body) {
                let (pieces, failed) = cut(*framing, limit, &chunks);
                let found: Vec<_> = pieces.iter().map(|piece| (&*piece.bytes, piece.complete)).collect();
                assert_eq!((&found[..], failed), (&wanted[..fit], fit < wanted.len()), "{chunks:?}");
            }
        }
    }
    let (_, blocks) = &framings[0];
    let complete = blocks.iter().enumerate().filter(|(_, (_, complete))| *complete);
    let messages = complete.filter_map(|(place, (block, _))| sse::parse(block, place == 0));
    let messages: Vec<_> =
        messages.map(|message| (message.event.map(Cow::into_owned), message.data.into_owned())).collect();
    assert_eq!(messages, whatwg::events(body));
    for (place, (block, _)) in blocks.iter().enumerate() {
        let _ = sse::parse_error_field(block, place == 0);
    }
}

fn cut(framing: Framing, limit: usize, chunks: &[&[u8]]) -> (Vec<Piece>, bool) {
    let (mut splitter, mut pieces) = (Splitter::new(framing, limit), Vec::new());
    let push = |chunk: &&[u8]| splitter.push(Bytes::copy_from_slice(chunk), &mut pieces).is_err();
    let failed = chunks.iter().any(push);
    pieces.extend(splitter.finish());
    (pieces, failed)
}
