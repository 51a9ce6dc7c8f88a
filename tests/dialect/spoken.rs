//! The dialects that are held to what other readers read, and bodies in them.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::Value;
use tokencast::dialect::Family;
use tokencast::upstream::split::{Framing, Piece, Splitter};

/// One dialect.
#[derive(Debug)]
pub(crate) struct Spoken {
    /// As fixtures, recordings and `oracle/accumulate.mjs` call it.
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    pub(crate) path: &'static str,
    /// A message with a delta of text, which is a JSON string in the place of `TEXT`.
    pub(crate) delta: &'static str,
}

pub(crate) const CHAT: Spoken = Spoken {
    name: "openai_chat",
    family: Family::Openai,
    path: "/chat/completions",
    delta: r#"{"choices":[{"delta":{"content":TEXT}}]}"#,
};

pub(crate) const ALL: [Spoken; 5] = [
    CHAT,
    Spoken {
        name: "openai_responses",
        family: Family::Openai,
        path: "/responses",
        delta: r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":TEXT}"#,
    },
    Spoken {
        name: "anthropic",
        family: Family::Anthropic,
        path: "/v1/messages",
        delta: r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":TEXT}}"#,
    },
    Spoken {
        name: "gemini",
        family: Family::Gemini,
        path: "/v1beta/models/m:streamGenerateContent",
        delta: r#"{"candidates":[{"content":{"parts":[{"text":TEXT}]}}]}"#,
    },
    Spoken {
        name: "ollama",
        family: Family::Ollama,
        path: "/api/chat",
        delta: r#"{"message":{"content":TEXT},"done":false}"#,
    },
];

impl Spoken {
    /// The blocks of a body.
    pub(crate) fn blocks(&self, body: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut splitter = Splitter::new(self.family.framing(), 1 << 20);
        splitter.push(Bytes::copy_from_slice(body), &mut pieces).unwrap();
        pieces.extend(splitter.finish());
        pieces
    }

    /// The block that is this message.
    pub(crate) fn block(&self, message: &str) -> Piece {
        complete(match self.family.framing() {
            Framing::Sse => format!("data: {message}\n\n"),
            Framing::Ndjson => format!("{message}\n"),
        })
    }

    /// Our own bodies. What they fold to stands beside each.
    pub(crate) fn fixtures(&self) -> Vec<PathBuf> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(self.name);
        let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension != "json"));
        paths.sort();
        paths
    }

    /// The recorded bodies; none where there is no corpus.
    pub(crate) fn recorded(&self) -> Vec<PathBuf> {
        let corpus = std::env::var_os("TOKENCAST_CORPUS")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"), PathBuf::from);
        let Ok(index) = std::fs::read(corpus.join("index.json")) else { return Vec::new() };
        let index: Value = serde_json::from_slice(&index).unwrap();
        let bodies = index.as_array().unwrap().iter().filter(|body| body["dialect"] == self.name);
        bodies.map(|body| corpus.join(body["file"].as_str().unwrap())).collect()
    }
}

pub(crate) fn complete(bytes: impl Into<Bytes>) -> Piece {
    Piece { bytes: bytes.into(), complete: true }
}
