//! Tickets as an app makes them, or whoever would like to be one: by hand, from nothing but RFC 7515 and docs/protocol.md.

use std::time::{SystemTime, UNIX_EPOCH};

use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::Value;

/// What a ticket is signed with.
#[derive(Debug)]
pub(crate) enum Key {
    Ed25519(Ed25519KeyPair),
    Secret(Vec<u8>),
}

impl Key {
    /// A private key of EdDSA; the same for the same number.
    pub(crate) fn ed25519(number: u8) -> Self {
        Self::Ed25519(Ed25519KeyPair::from_seed_unchecked(&[number; 32]).expect("any 32 bytes are a seed"))
    }

    pub(crate) fn secret(secret: &[u8]) -> Self {
        Self::Secret(secret.to_vec())
    }

    /// The 32 bytes of the public key.
    pub(crate) fn public(&self) -> &[u8] {
        match self {
            Self::Ed25519(pair) => pair.public_key().as_ref(),
            Self::Secret(_) => panic!("a secret has no public side"),
        }
    }

    pub(crate) fn sign(&self, message: &str) -> Vec<u8> {
        match self {
            Self::Ed25519(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Self::Secret(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
            }
        }
    }

    /// A JWT with this head and these claims, byte for byte, whatever they say.
    pub(crate) fn jwt(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
        let signature = base64url(&self.sign(&message));
        format!("{message}.{signature}")
    }

    /// A ticket as an app would make it with this key.
    pub(crate) fn ticket(&self, kid: &str, claims: &Value) -> String {
        let alg = match self {
            Self::Ed25519(_) => "EdDSA",
            Self::Secret(_) => "HS256",
        };
        self.jwt(&format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"{kid}"}}"#), &claims.to_string())
    }
}

/// Seconds since 1970, so many from now.
pub(crate) fn from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later").as_secs();
    i64::try_from(now).expect("not that late") + seconds
}

/// Without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for at in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * at)) as usize & 63]));
        }
    }
    text
}
