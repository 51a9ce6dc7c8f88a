//! What a call that is handed on has cost, as its answer says in passing.

use std::sync::Arc;

use serde::Deserialize;

use crate::cast::account::{Spent, Stake, is_believed};
use crate::cast::hub::Hub;

/// Reads an answer as it goes by, and charges what it says when it is over, or what was asked.
pub(super) struct Bill {
    hub: Hub,
    stake: Arc<Stake>,
    outline: Outline,
}

impl Bill {
    pub(super) fn new(hub: Hub, stake: Arc<Stake>) -> Self {
        Self { hub, stake, outline: Outline::default() }
    }

    pub(super) fn read(&mut self, bytes: &[u8]) {
        self.outline.read(bytes);
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        let asked = Spent { counted: 0, estimated: self.stake.asked() };
        self.hub.spend(self.stake.account(), said(&self.outline.text).unwrap_or(asked));
    }
}

/// What an answer says that it has cost, in any dialect.
pub(super) fn said(answer: &[u8]) -> Option<Spent> {
    #[derive(Deserialize)]
    struct Said {
        #[serde(alias = "usageMetadata")]
        usage: Option<Usage>,
        // Ollama says it beside the answer.
        prompt_eval_count: Option<u64>,
        eval_count: Option<u64>,
    }
    #[derive(Deserialize)]
    struct Usage {
        #[serde(alias = "prompt_tokens", alias = "promptTokenCount")]
        input_tokens: Option<u64>,
        #[serde(alias = "completion_tokens", alias = "candidatesTokenCount")]
        output_tokens: Option<u64>,
        #[serde(alias = "totalTokenCount")]
        total_tokens: Option<u64>,
    }
    let Said { usage, prompt_eval_count, eval_count } = serde_json::from_slice(answer).ok()?;
    let (input, output, total) = match usage {
        Some(usage) => (usage.input_tokens, usage.output_tokens, usage.total_tokens),
        None => (prompt_eval_count, eval_count, None),
    };
    if ![input, output, total].iter().flatten().all(is_believed) {
        return None;
    }
    let counted = match (input, output) {
        (None, None) => total?,
        (input, output) => input.unwrap_or(0).saturating_add(output.unwrap_or(0)),
    };
    Some(Spent { counted, estimated: 0 })
}

/// A JSON object without what stands in its arrays: of vectors there are megabytes.
#[derive(Debug, Default)]
struct Outline {
    text: Vec<u8>,
    /// Arrays in each other.
    depth: usize,
    is_string: bool,
    is_escaped: bool,
    /// It is none, or one that is too long.
    is_over: bool,
}

impl Outline {
    const LEN_MAX: usize = 64 * 1024;

    fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.is_over {
                return;
            }
            self.take(*byte);
        }
    }

    fn take(&mut self, byte: u8) {
        let before = self.depth;
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' => self.is_escaped = self.is_string,
            b'"' => self.is_string = !self.is_string,
            b'[' if !self.is_string => self.depth = self.depth.saturating_add(1),
            b']' if !self.is_string => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if before == 0 || self.depth == 0 {
            self.is_over =
                self.text.len() == Self::LEN_MAX || self.text.is_empty() && !b"{ \n\r\t".contains(&byte);
            self.text.push(byte);
        }
    }
}

/// What an answer in pieces says that it has cost, as all of it does and as its outline does, for who looks whether that
/// is the same.
#[cfg(any(test, fuzzing))]
pub(crate) fn in_pieces(pieces: &[&[u8]]) -> (Option<Spent>, Option<Spent>) {
    let mut outline = Outline::default();
    pieces.iter().for_each(|piece| outline.read(piece));
    (said(&pieces.concat()), said(&outline.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(answer: &str) -> Option<u64> {
        let (whole, read) = in_pieces(&answer.as_bytes().chunks(7).collect::<Vec<_>>());
        assert_eq!(read, whole, "nothing is missing");
        read.map(|spent| spent.counted)
    }

    #[test]
    fn every_dialect_says_what_it_has_cost() {
        let vectors = "[0.1,-2],".repeat(100_000);
        for (answer, tokens) in [
            (r#"{"data":[{"embedding":[1,2]}],"usage":{"prompt_tokens":8,"total_tokens":8}}"#, Some(8)),
            (r#"{"usage":{"input_tokens":3,"output_tokens":4},"content":[{"text":"a]\"}\\"}]}"#, Some(7)),
            (r#"{"a":"[\"[","embedding":{"values":[1]},"usageMetadata":{"promptTokenCount":5}}"#, Some(5)),
            (r#" {"embeddings":[[1],[2]],"prompt_eval_count":6}"#, Some(6)),
            (r#"{"data":[],"usage":{"total_tokens":9}}"#, Some(9)),
            (r#"{"usage":{"prompt_tokens":9223372036854775808,"completion_tokens":4}}"#, None),
            (r#"{"usage":{"input_tokens":3,"output_tokens":16777217}}"#, None),
            (r#"{"usage":{"total_tokens":18446744073709551615}}"#, None),
            (r#"{"input_tokens":11}"#, None),
            (r#"{"data":[{"usage":{"input_tokens":3}}]}"#, None),
            (r#"{"usage":null}"#, None),
            (r#"[{"usage":{"input_tokens":3}}]"#, None),
            ("no JSON", None),
            ("", None),
        ] {
            assert_eq!(counted(answer), tokens, "{answer}");
        }
        let large = format!(r#"{{"embeddings":[{vectors}[1]],"prompt_eval_count":6}}"#);
        assert_eq!(said(large.as_bytes()).unwrap().counted, 6);
        let mut outline = Outline::default();
        outline.read(large.as_bytes());
        assert_eq!(said(&outline.text).unwrap().counted, 6);
        outline.read(&b"x".repeat(1_000_000));
        assert!(outline.text.len() <= Outline::LEN_MAX + 1);
    }
}
