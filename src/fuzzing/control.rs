//! Messages of WebTransport's control stream.

use bytes::BytesMut;

use super::chunkings;
use crate::view::msgpack::{framed, value};
use crate::webtransport::control::{BadMessage, MESSAGE_BYTES_MAX, Request, take};

/// Whatever a client says is a message or is refused, however it is chunked; written again, a message says the same.
pub fn control(bytes: &[u8]) {
    let [whole, one_by_one, pieces] = chunkings(bytes).map(|chunks| read(&chunks));
    assert!(whole == one_by_one && whole == pieces, "{whole:?}\n{one_by_one:?}\n{pieces:?}");
    for request in whole.iter().flatten() {
        let mut written = Vec::new();
        framed(&mut written, |out| value(out, request));
        // Numbers may have grown.
        if written.len() <= MESSAGE_BYTES_MAX {
            assert_eq!(read(&[&written]), [Ok(request.clone())]);
        }
    }
}

/// All messages, up to the first that is none.
fn read(chunks: &[&[u8]]) -> Vec<Result<Request, BadMessage>> {
    let (mut arrived, mut requests) = (BytesMut::new(), Vec::new());
    for chunk in chunks {
        arrived.extend_from_slice(chunk);
        while let Some(request) = take(&mut arrived) {
            requests.push(request);
            if requests.last().is_some_and(Result::is_err) {
                return requests;
            }
        }
    }
    requests
}
