//! What any server may send to our own client.

use bytes::Bytes;
use serde_json::Value;

use super::chunkings;
use crate::cast::block::Seq;
use crate::client::record::Records;
use crate::client::wire::{self, Parser};

/// What a message says, its data read.
#[derive(Debug, PartialEq)]
pub(super) struct Message {
    pub(super) name: String,
    pub(super) id: Option<Seq>,
    pub(super) data: Value,
}

/// The client reads a body of SSE to its end, or refuses it, however it is chunked.
pub fn client_sse(body: &[u8]) {
    let [whole, one_by_one, pieces] = chunkings(body).map(|chunks| heard(&chunks));
    assert!(whole == one_by_one && whole == pieces, "{whole:?}\n{one_by_one:?}\n{pieces:?}");
}

/// The client reads a stream of records to its end, or refuses it, however it is chunked.
pub fn client_records(bytes: &[u8]) {
    let [whole, one_by_one, pieces] = chunkings(bytes).map(|chunks| records(&chunks));
    assert!(whole == one_by_one && whole == pieces, "{whole:?}\n{one_by_one:?}\n{pieces:?}");
}

/// The messages of a body whose data is JSON, as all of ours is.
pub(super) fn sse(chunks: &[&[u8]]) -> Result<Vec<Message>, String> {
    heard(chunks)?.into_iter().map(read).collect()
}

fn heard(chunks: &[&[u8]]) -> Result<Vec<wire::Message>, String> {
    let (mut parser, mut messages) = (Parser::new(), Vec::new());
    for chunk in chunks {
        parser.push(Bytes::copy_from_slice(chunk)).map_err(|error| error.to_string())?;
        while let Some(message) = parser.next().map_err(|error| error.to_string())? {
            messages.push(message);
        }
    }
    Ok(messages)
}

/// The messages of a stream of records.
pub(super) fn records(chunks: &[&[u8]]) -> Result<Vec<Message>, String> {
    let (mut records, mut messages) = (Records::default(), Vec::new());
    for chunk in chunks {
        records.push(chunk);
        while let Some(message) = records.next().map_err(|lost| format!("{lost:?}"))? {
            messages.push(read(message)?);
        }
    }
    Ok(messages)
}

fn read(message: wire::Message) -> Result<Message, String> {
    let data = serde_json::from_str(&message.data).map_err(|error| error.to_string())?;
    Ok(Message { name: message.name, id: message.id, data })
}
