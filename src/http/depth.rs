//! How deep JSON goes, found out before anything is read that could be led too deep.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use http::StatusCode;

use super::error::Error;
use crate::nesting::Nesting;

/// Arrays and objects in each other.
const DEPTH_MAX: usize = 64;

/// Refuses what is nested too deep; whether it is JSON at all is for others to say.
pub(super) fn check(body: &[u8]) -> Result<(), Error> {
    if is_deeper(body, DEPTH_MAX) {
        return Err(Error::new(
            StatusCode::BAD_REQUEST,
            "too_deep",
            format!("arrays and objects are nested more than {DEPTH_MAX} deep: send flatter JSON"),
        ));
    }
    Ok(())
}

fn is_deeper(json: &[u8], max: usize) -> bool {
    let mut nesting = Nesting::default();
    json.iter().any(|byte| nesting.push(*byte) > max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_count_outside_of_texts() {
        let nested = |depth: usize| "[{\"a\":".repeat(depth / 2) + "1" + &"}]".repeat(depth / 2);
        assert!(!is_deeper(nested(64).as_bytes(), 64));
        assert!(is_deeper(nested(66).as_bytes(), 64));
        assert!(!is_deeper("[]".repeat(1000).as_bytes(), 1));
        let text = format!(r#"["\"{}\\", "{}"]"#, "[".repeat(100), "{".repeat(100));
        assert!(!is_deeper(text.as_bytes(), 1), "{text}");
        assert!(is_deeper(br#"["\\", [1]]"#, 1), "an escaped backslash ends no escape");
        assert!(is_deeper(&vec![b'['; 10_000_000], 64));
    }
}
