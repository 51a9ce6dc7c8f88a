//! How a provider began its answer, for those who hand all of it on.

use bytes::Bytes;

/// The head of a provider's answer, and the whole of it where that is no stream.
#[derive(Debug, Clone)]
pub struct Head {
    pub status: u16,
    /// Header fields, by names in lower case, without those of the connection.
    pub headers: Vec<(String, Vec<u8>)>,
    /// What was answered instead of a stream.
    pub refusal: Option<Bytes>,
}
