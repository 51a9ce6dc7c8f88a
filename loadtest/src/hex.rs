//! Hashes as text.

use std::fmt::Write as _;

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        write!(out, "{byte:02x}").expect("memory takes it");
        out
    })
}

/// A SHA-256.
pub(crate) fn unhex(text: &str) -> Result<[u8; 32], String> {
    let pairs = text
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or(""), 16).ok());
    let bytes: Option<Vec<u8>> = pairs.collect();
    let bytes = bytes.filter(|_| text.len() == 64).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| format!("this is no SHA-256: {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let hash = std::array::from_fn(|at| 7 * at as u8);
        assert_eq!(unhex(&hex(&hash)), Ok(hash));
        for wrong in ["", "0", "zz", &"0".repeat(63), &"0".repeat(66)] {
            assert!(unhex(wrong).is_err(), "{wrong}");
        }
    }
}
