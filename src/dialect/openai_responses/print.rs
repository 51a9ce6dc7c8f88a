//! A fingerprint of text that was said: what comes again as a whole can be compared with it, and nobody keeps it.

/// Length and FNV-1a hash of all pieces that were pushed, however they were cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    bytes: usize,
    hash: u64,
}

impl Default for Print {
    fn default() -> Self {
        Self { bytes: 0, hash: 0xCBF2_9CE4_8422_2325 }
    }
}

impl Print {
    pub(super) fn of(text: &str) -> Self {
        let mut print = Self::default();
        print.push(text);
        print
    }

    pub(super) fn push(&mut self, text: &str) {
        self.bytes = self.bytes.saturating_add(text.len());
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// What `whole` has beyond the text that was pushed; `None` if it does not begin with that.
    pub(super) fn rest_of<'a>(&self, whole: &'a str) -> Option<&'a str> {
        let (said, rest) = whole.split_at_checked(self.bytes)?;
        (Self::of(said) == *self).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest() {
        let check = |pieces: &[&str], whole, rest| {
            let mut print = Print::default();
            pieces.iter().for_each(|piece| print.push(piece));
            assert_eq!(print.rest_of(whole), rest, "{pieces:?} {whole:?}");
            assert_eq!(print.is_empty(), pieces.concat().is_empty());
        };
        check(&[], "ab", Some("ab"));
        check(&["a", "", "b"], "abc", Some("c"));
        check(&["ab"], "ab", Some(""));
        check(&["ab"], "a", None);
        check(&["ab"], "ba", None);
        check(&["é"], "éx", Some("x"));
        check(&["x"], "éx", None);
    }
}
