//! Randomness and hashes, all by the `ring` that TLS brings along.

use std::fmt::{self, Write};

use ring::digest;
pub use ring::hmac;
use ring::rand::SecureRandom;

/// Bytes that nobody can guess.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    ring::rand::SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    bytes
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// SHA-256, piece by piece.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> [u8; 32] {
        self.0.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256")
    }
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::default();
    hash.update(bytes);
    hash.finish()
}

/// SHA-256 over the parts, each behind its length, so that no two lists of parts look alike.
pub fn fingerprint(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::default();
    for part in parts {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finish()
}

/// Makes numbers into marks that only we can read, and that tell nothing, also not beside each other.
pub struct Veil(hmac::Key);

impl Veil {
    pub fn of(secret: &[u8; 32], purpose: &[u8]) -> Self {
        let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose);
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))
    }

    /// The mark of a number for this one.
    pub fn cover(&self, whose: &str, number: u64) -> String {
        let proof = self.word(&[b"proof", whose.as_bytes(), &number.to_be_bytes()]);
        let covered = number ^ self.word(&[b"cover", &proof.to_be_bytes()]);
        format!("{proof:016x}{covered:016x}")
    }

    /// The number of a mark, if it is one, and for this one.
    pub fn uncover(&self, whose: &str, mark: &str) -> Option<u64> {
        let (proof, covered) = mark.split_at_checked(16)?;
        let [proof, covered] = [proof, covered].map(|digits| u64::from_str_radix(digits, 16));
        let number = covered.ok()? ^ self.word(&[b"cover", &proof.ok()?.to_be_bytes()]);
        (self.cover(whose, number) == mark).then_some(number)
    }

    fn word(&self, parts: &[&[u8]]) -> u64 {
        let tag = hmac::sign(&self.0, &fingerprint(parts));
        tag.as_ref().iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
    }
}

impl fmt::Debug for Veil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Veil")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_tells_its_number_to_us_alone() {
        let veil = Veil::of(&[7; 32], b"pages");
        for number in [0, 1, 41, u64::MAX] {
            let mark = veil.cover("a", number);
            assert_eq!(veil.uncover("a", &mark), Some(number));
            assert_eq!(Veil::of(&[7; 32], b"pages").uncover("a", &mark), Some(number));
            assert_eq!(
                (veil.uncover("b", &mark), Veil::of(&[8; 32], b"pages").uncover("a", &mark)),
                (None, None)
            );
            assert_eq!(veil.uncover("a", &mark.to_uppercase().replace(char::is_numeric, "0")), None);
            assert_eq!(veil.uncover("a", &number.to_string()), None);
        }
        let [one, two] = [1, 2].map(|number| veil.cover("a", number));
        assert!(one[..16] != two[..16] && one[16..30] != two[16..30], "{one} {two}");
    }
}
