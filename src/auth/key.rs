//! API keys. The gateway knows their SHA-256 only.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::scope::Scopes;
use crate::crypto::{hex, random, sha256};

/// One key that opens one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// For people: which key this is.
    pub name: String,
    /// SHA-256 of the key, in hexadecimal.
    pub sha256: Digest,
    #[serde(default = "super::default_tenant")]
    pub tenant: String,
    /// Everything, where nothing else is said.
    #[serde(default, skip_serializing_if = "Scopes::is_all")]
    pub scopes: Scopes,
}

/// The text without what could be a key in the wrong place: a long run of letters and digits in which both are.
pub fn without_keys(text: &str) -> String {
    const LEN: usize = 20;
    const SHOWN: usize = 4;
    let is_inside = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let mut out = String::with_capacity(text.len());
    for run in text.split_inclusive(|c| !is_inside(c)) {
        let word = run.trim_end_matches(|c| !is_inside(c));
        let has = |is: fn(&u8) -> bool| word.as_bytes().iter().any(is);
        let is_key = word.len() >= LEN && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
        if is_key {
            let (shown, behind) = (word.get(..SHOWN), run.get(word.len()..));
            out.extend([shown.unwrap_or_default(), "…", behind.unwrap_or_default()]);
        } else {
            out.push_str(run);
        }
    }
    out
}

/// Whether a character is not seen, or moves those beside it.
fn is_hidden(c: char) -> bool {
    let moves =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    c.is_control() || moves
}

impl Config {
    /// Whether people can tell by it what it is.
    pub fn check(&self) -> Result<(), String> {
        const CHARS_MAX: usize = 100;
        for (what, text) in [("name", &self.name), ("tenant", &self.tenant)] {
            if text.is_empty() || text.chars().count() > CHARS_MAX || text.chars().any(is_hidden) {
                let text = without_keys(&format!("{text:?}"));
                return Err(format!("{what} = {text}: write 1 to {CHARS_MAX} characters that can be seen"));
            }
        }
        Ok(())
    }
}

/// SHA-256 of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(key: &str) -> Self {
        Self(sha256(key.as_bytes()))
    }

    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

/// A fresh key: `tck_` and 256 random bits.
pub fn mint() -> String {
    format!("tck_{}", hex(&random::<32>()))
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.hex())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let nibbles: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
        let bytes = nibbles.filter(|nibbles| nibbles.len() == 64).ok_or_else(|| {
            de::Error::custom("expected 64 hexadecimal digits: `tokencast key` prints them beside the key")
        })?;
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(bytes.chunks_exact(2)) {
            *byte = pair.iter().fold(0, |byte, nibble| byte << 4 | *nibble as u8);
        }
        Ok(Self(digest))
    }
}
