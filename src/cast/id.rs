//! The name of a stream.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// A stream's id: `[A-Za-z0-9_-]{1,64}`, chosen by the app or 128 random bits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(Arc<str>);

/// A text that cannot be an id.
#[derive(Debug, thiserror::Error)]
#[error("an id has 1 to 64 of the characters A-Z a-z 0-9 _ -")]
pub struct NotAnId;

impl Id {
    pub const LEN_MAX: usize = 64;

    /// A fresh id that nobody can guess.
    pub fn random() -> Self {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
        let mut bits = u128::from_le_bytes(crate::crypto::random());
        let mut text = String::with_capacity(22);
        for _ in 0..22 {
            text.push(char::from(ALPHABET[(bits & 63) as usize]));
            bits >>= 6;
        }
        Self(text.into())
    }

    pub fn parse(text: &str) -> Result<Self, NotAnId> {
        let fits = (1..=Self::LEN_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if fits { Ok(Self(text.into())) } else { Err(NotAnId) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
