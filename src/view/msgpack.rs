//! The native view as records for WebTransport: a length, then one MessagePack array. docs/protocol.md is its
//! specification, and tests/fixtures/webtransport has it byte by byte.

use serde::Serialize;
use serde_json::Value;

use super::events::{Bye, Open, Snapshot, each};
use crate::cast::block::Seq;
use crate::cast::end::End;
use crate::cast::log::{Part, Rendering};
use crate::cast::thread::Thread;

/// Of the wire over WebTransport.
pub const VERSION: u32 = 1;

/// No record is larger: clients refuse what is.
pub const RECORD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Those that say how long a record is.
pub const LEN_BYTES: usize = 4;

/// What a record is.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Header = 0,
    Frame = 1,
    Heartbeat = 2,
    Error = 3,
    Bye = 4,
    End = 5,
}

/// Nothing to say for a while: `[2]`.
pub const HEARTBEAT: &[u8] = &[0, 0, 0, 2, 0x91, Kind::Heartbeat as u8];

/// An array of two, of which the first is the kind.
const PAIR: u8 = 0x92;
/// An array whose length comes in four bytes.
const ARRAY_32: u8 = 0xdd;

/// The native view as records: a frame each, and the end.
#[derive(Debug)]
pub struct Packed;

impl Rendering for Packed {
    fn slot(&self) -> usize {
        3
    }

    fn frame(&self, part: &Part<'_>, _: &mut Thread, out: &mut Vec<u8>) {
        if !part.events.is_empty() {
            events(out, |out| {
                let mut count = 0;
                each(part, |id, event| {
                    value(out, &(id, event.name(), event));
                    count += 1;
                });
                count
            });
        }
    }

    fn end(&self, end: &End, _: &mut Thread, out: &mut Vec<u8>) {
        record(out, Kind::End, |out| value(out, &(end.seq(), "end", end.wire())));
    }
}

/// The first record of every stream.
pub fn header(subscription: u32, open: &Open<'_>, retry_ms: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct Header<'a> {
        version: u32,
        subscription: u32,
        #[serde(flatten)]
        open: &'a Open<'a>,
        retry_ms: u64,
    }
    let mut out = Vec::new();
    let header = Header { version: VERSION, subscription, open, retry_ms };
    record(&mut out, Kind::Header, |out| value(out, &header));
    out
}

/// Why a subscription does not come about.
pub fn error(code: &str, message: &str, detail: Option<&Value>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Error<'a> {
        code: &'a str,
        message: &'a str,
        detail: Option<&'a Value>,
    }
    let mut out = Vec::new();
    record(&mut out, Kind::Error, |out| value(out, &Error { code, message, detail }));
    out
}

/// The end of a viewing.
pub fn bye(bye: &Bye) -> Vec<u8> {
    let mut out = Vec::new();
    record(&mut out, Kind::Bye, |out| value(out, bye));
    out
}

/// Writes everything so far as one event and gives the cursor behind it.
pub fn snapshot(snapshot: &Snapshot<'_>, out: &mut Vec<u8>) -> Seq {
    events(out, |out| {
        value(out, &(snapshot.upto(), "snapshot", snapshot));
        1
    });
    snapshot.upto()
}

/// A FRAME of as many events as `write` says that it wrote.
fn events(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> u32) {
    record(out, Kind::Frame, |out| {
        out.extend_from_slice(&[ARRAY_32, 0, 0, 0, 0]);
        let begin = out.len();
        let count = write(out);
        out[begin - 4..begin].copy_from_slice(&count.to_be_bytes());
    });
}

fn record(out: &mut Vec<u8>, kind: Kind, content: impl FnOnce(&mut Vec<u8>)) {
    framed(out, |out| {
        out.extend_from_slice(&[PAIR, kind as u8]);
        content(out);
    });
}

/// Writes some bytes behind their length, as records and control messages are.
pub fn framed(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[0; LEN_BYTES]);
    let begin = out.len();
    content(out);
    let len = u32::try_from(out.len() - begin).expect("a record is small");
    out[begin - LEN_BYTES..begin].copy_from_slice(&len.to_be_bytes());
}

/// Writes one value; structures are maps.
pub fn value(out: &mut Vec<u8>, value: &impl Serialize) {
    rmp_serde::encode::write_named(out, value).expect("plain data is MessagePack");
}

#[cfg(test)]
pub(crate) mod tests;
