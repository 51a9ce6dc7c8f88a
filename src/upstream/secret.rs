//! A key that no answer is to have in it, however JSON may write it.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use memchr::memchr_iter;
use memchr::memmem::Finder;

const REDACTED: &[u8] = b"[redacted]";

/// One key that a call was made with.
pub(super) struct Secret<'a>(Finder<'a>);

impl<'a> Secret<'a> {
    pub(super) fn new(key: &'a str) -> Self {
        Self(Finder::new(key))
    }

    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        self.written(text).is_some() || is_masked(text) && self.masked(text).is_some()
    }

    /// The text without it, where it was in there. JSON stays JSON.
    pub(super) fn taken_out(&self, text: &[u8]) -> Option<Vec<u8>> {
        let clean = without(text, |rest| self.written(rest));
        let text = clean.as_deref().unwrap_or(text);
        let unmasked = is_masked(text).then(|| without(text, |rest| self.masked(rest))).flatten();
        unmasked.or(clean)
    }

    /// What stands before and behind it.
    fn written<'t>(&self, text: &'t [u8]) -> Option<(&'t [u8], &'t [u8])> {
        let key = self.0.needle();
        let (before, found) = text.split_at_checked(self.0.find(text)?)?;
        Some((before, found.strip_prefix(key).filter(|_| !key.is_empty())?))
    }

    /// The same where escapes may be in it.
    fn masked<'t>(&self, text: &'t [u8]) -> Option<(&'t [u8], &'t [u8])> {
        let key = self.0.needle();
        let mut rest = Some(text).filter(|_| !key.is_empty())?;
        loop {
            let mut bytes = key.iter();
            if let Some(behind) = bytes.try_fold(rest, |rest, byte| {
                first(rest).filter(|(said, _)| said == byte).map(|(_, rest)| rest)
            }) {
                return Some((text.get(..text.len().saturating_sub(rest.len()))?, behind));
            }
            (_, rest) = first(rest)?;
        }
    }
}

/// The text without what is found in it again and again. Forward only: what stands in its place may have the secret in
/// it, such as `red`.
fn without<'t>(text: &'t [u8], find: impl Fn(&'t [u8]) -> Option<(&'t [u8], &'t [u8])>) -> Option<Vec<u8>> {
    let (mut before, mut rest) = find(text)?;
    let mut out = Vec::with_capacity(text.len());
    loop {
        out.extend_from_slice(before);
        out.extend_from_slice(REDACTED);
        match find(rest) {
            Some(found) => (before, rest) = found,
            None => break,
        }
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// Whether there is an escape that nobody needs: what is written without one is found faster.
fn is_masked(text: &[u8]) -> bool {
    let behind = |at: usize| text.get(at.saturating_add(1)..).unwrap_or_default();
    memchr_iter(b'\\', text).map(behind).any(|rest| rest.starts_with(b"u00") || rest.starts_with(b"/"))
}

/// The byte that the text begins with, and what follows. An escape is one byte, also where JSON is written in JSON.
fn first(text: &[u8]) -> Option<(u8, &[u8])> {
    let slashes = text.iter().take_while(|byte| **byte == b'\\').count();
    let behind = text.get(slashes..)?;
    if slashes == 0 {
        return behind.split_first().map(|(byte, rest)| (*byte, rest));
    }
    if let Some(said) = said(behind) {
        return Some(said);
    }
    // Of another escape no half may stay.
    let rest = behind.get(slashes % 2..).unwrap_or(behind);
    Some((b'\\', rest))
}

/// What is said by what stands behind backslashes, if that could be said without them.
fn said(escape: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match escape {
        [b'u', b'0', b'0', high, low, rest @ ..] => Some((digit(*high)? << 4 | digit(*low)?, rest)),
        [b'/', rest @ ..] => Some((b'/', rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-a/very+secret=key";

    fn cleaned(key: &str, text: &str) -> String {
        let secret = Secret::new(key);
        let out = secret.taken_out(text.as_bytes());
        assert_eq!(out.is_some(), secret.is_in(text.as_bytes()), "{text}");
        out.map_or_else(|| text.to_owned(), |out| String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_secret_goes_whatever_it_is() {
        for (text, key, want) in [
            ("a key and a key", "key", "a [redacted] and a [redacted]"),
            ("red, reread", "red", "[redacted], reread"),
            (r"\/ \key \u00key", "key", r"\/ \[redacted] \u00[redacted]"),
            ("aaa", "a", "[redacted][redacted][redacted]"),
            ("a", "", "a"),
            ("\\/a", "", "\\/a"),
        ] {
            assert_eq!(cleaned(key, text), want);
        }
    }

    #[test]
    fn a_secret_goes_however_json_writes_it() {
        let all = |escape: fn(char) -> String| KEY.chars().map(escape).collect::<String>();
        for written in [
            KEY.to_owned(),
            KEY.replace('/', "\\/"),
            all(|char| format!("\\u{:04x}", char as u32)),
            all(|char| format!("\\u{:04X}", char as u32)),
            all(|char| if char == 'e' { "\\u0065".into() } else { char.into() }),
        ] {
            let json = format!(r#"["\n{written}\"\/","\u00e9 {written}\\","\\{written}"]"#);
            let clean = serde_json::from_str::<[String; 3]>(&cleaned(KEY, &json));
            let [one, other, last] = clean.unwrap_or_else(|error| panic!("{json}: {error}"));
            assert_eq!((&*one, &*other), ("\n[redacted]\"/", "é [redacted]\\"), "{json}");
            // Backslashes in front of an escape may go with it.
            assert_eq!(last.trim_start_matches('\\'), "[redacted]", "{json}");
            // As in the arguments of a call.
            let nested = serde_json::to_string(&json).unwrap();
            let clean: String = serde_json::from_str(&cleaned(KEY, &nested)).unwrap();
            assert_eq!(serde_json::from_str::<[String; 3]>(&clean).unwrap()[..2], [one, other], "{nested}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            r"\",
            r"\\\",
            r"\u00",
            r"\u00zz",
            r"\/",
            r"\u0073k-a\/very",
            r"sk-a\u00zzvery",
            "",
            KEY.get(1..).unwrap(),
        ] {
            assert_eq!(cleaned(KEY, text), text);
        }
    }
}
