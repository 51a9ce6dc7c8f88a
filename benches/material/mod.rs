//! What benches are made of: streams without anything around them, and what each family of providers sends for a token.
#![allow(dead_code, reason = "each bench takes what it needs")]

use std::sync::Arc;

use smallvec::smallvec;
use tokencast::cast::about::About;
use tokencast::cast::account::Stake;
use tokencast::cast::event::{Event, Prose};
use tokencast::cast::frame::Frame;
use tokencast::cast::id::Id;
use tokencast::cast::memory::Budget;
use tokencast::cast::{Cast, Producer};
use tokencast::dialect::Family;
use tokencast::journal::memory::Memory;

pub(crate) fn about(number: u64) -> About {
    About {
        number,
        id: Id::random(),
        tenant: "tenant".into(),
        provider: "provider".into(),
        metadata: None,
        ttl_s: 900,
        started_ms: 0,
        key: None,
        fingerprint: [0; 32],
    }
}

/// A cast with nothing below it.
pub(crate) fn cast() -> (Cast, Producer) {
    let share = Budget::new(usize::MAX / 2).share();
    Cast::new(Arc::new(about(1)), None, Stake::unlimited(), share, Arc::new(Memory))
}

/// A frame of one block of ~250 bytes that says a token, as providers send them.
pub(crate) fn frame(seq: u64) -> Frame {
    let token = Event::Prose { choice: 0, kind: Prose::Text, text: " token".into() };
    let bytes = vec![b'x'; 250];
    Frame {
        first: seq,
        at_ms: seq,
        ends: smallvec![250],
        bytes: bytes.into(),
        events: smallvec![(seq, token)],
    }
}

/// A way in which providers speak, and the request that is answered so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tongue {
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    pub(crate) path: &'static str,
}

pub(crate) const TONGUES: [Tongue; 5] = [
    Tongue { name: "openai_chat", family: Family::Openai, path: "/chat/completions" },
    Tongue { name: "openai_responses", family: Family::Openai, path: "/responses" },
    Tongue { name: "anthropic", family: Family::Anthropic, path: "/v1/messages" },
    Tongue { name: "gemini", family: Family::Gemini, path: "/v1beta/models/m:streamGenerateContent" },
    Tongue { name: "ollama", family: Family::Ollama, path: "/api/chat" },
];

impl Tongue {
    /// The block that says " wonderful".
    pub(crate) fn token(self) -> Vec<u8> {
        let block = match self.name {
            "openai_chat" => return openai_chat(r#"{"content":" wonderful"}"#),
            "openai_responses" => concat!(
                "event: response.output_text.delta\n",
                r#"data: {"type":"response.output_text.delta","item_id":"msg_AAAAAAAAAAAAAAAAAAAAAAAA","#,
                r#""output_index":0,"content_index":0,"delta":" wonderful","logprobs":[],"#,
                r#""obfuscation":"xxxxxxxx","sequence_number":7}"#,
                "\n\n"
            ),
            "anthropic" => concat!(
                "event: content_block_delta\n",
                r#"data: {"type":"content_block_delta","index":0,"#,
                r#""delta":{"type":"text_delta","text":" wonderful"}}"#,
                "\n\n"
            ),
            "gemini" => concat!(
                r#"data: {"candidates": [{"content": {"parts": [{"text": " wonderful"}],"role": "model"},"index": 0}],"#,
                r#""modelVersion": "model-1","responseId": "AAAAAAAAAAAAAAAAAAAAAA"}"#,
                "\r\n\r\n"
            ),
            "ollama" => concat!(
                r#"{"model":"model-1","created_at":"2026-11-01T00:00:00.000000000Z","#,
                r#""message":{"role":"assistant","content":" wonderful"},"done":false}"#,
                "\n"
            ),
            other => unreachable!("{other} is none of them"),
        };
        block.into()
    }
}

/// A chunk of a chat completion that has this delta.
pub(crate) fn openai_chat(delta: &str) -> Vec<u8> {
    let choice = format!(r#"{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":null}}"#);
    openai_chat_chunk(&choice, r#","usage":null,"obfuscation":"xxxxxxxx""#)
}

pub(crate) fn openai_chat_chunk(choices: &str, rest: &str) -> Vec<u8> {
    let head = r#""id":"chatcmpl-AAAAAAAAAAAAAAAA","object":"chat.completion.chunk","created":1790000000"#;
    let model = r#""model":"model-1","service_tier":"default","system_fingerprint":"fp_0000000000""#;
    format!("data: {{{head},{model},\"choices\":[{choices}]{rest}}}\n\n").into_bytes()
}
