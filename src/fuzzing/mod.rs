//! What fuzzers run and ordinary tests replay: for each target a function that holds a property of any bytes at all.
//!
//! `fuzz/` has the fuzzers, their corpora and their dictionaries. What one of them finds becomes a file under
//! `fuzz/regressions`; `replay` runs all of these files, and the corpora, by the stable compiler.

mod arguments;
mod client;
mod codec;
mod config;
mod control;
mod dialect;
mod http;
mod journal;
#[cfg(test)]
mod replay;
mod request;
mod rows;
mod splice;
mod split;
mod ticket;
#[path = "../../tests/oracle/sse.rs"]
mod whatwg;
mod wire;

use std::path::PathBuf;

pub use self::arguments::arguments;
pub use self::client::{client_records, client_sse};
pub use self::codec::codec;
pub use self::config::config;
pub use self::control::control;
pub use self::dialect::dialect;
pub use self::http::http;
pub use self::journal::journal;
pub use self::request::request;
pub use self::rows::rows;
pub use self::splice::splice;
pub use self::split::split;
pub use self::ticket::ticket;
pub use self::wire::wire;

/// The same bytes whole, one by one, and in pieces as long as they say themselves.
fn chunkings(bytes: &[u8]) -> [Vec<&[u8]>; 3] {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while let Some(byte) = rest.first() {
        let (piece, behind) = rest.split_at(rest.len().min(1 + usize::from(byte % 32)));
        pieces.push(piece);
        rest = behind;
    }
    [vec![bytes], bytes.chunks(1).collect(), pieces]
}

/// A directory of this process in memory, where there is one.
fn directory(name: &str) -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let thread = std::thread::current().id();
    let path = parent.join(format!("tokencast-fuzz-{name}-{}-{thread:?}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a directory can be made");
    path
}
