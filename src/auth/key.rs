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
