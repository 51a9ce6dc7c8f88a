//! The single, final record of a stream, and the table of the ways to end.

use serde::{Deserialize, Serialize};

use super::block::Seq;
use super::event::Usage;

/// Why a stream ended. Each has one `reason` and one `code` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Why {
    Completed,
    UpstreamStatus,
    UpstreamConnect,
    UpstreamCut,
    UpstreamEof,
    UpstreamSilent,
    UpstreamError,
    NotAStream,
    StorageError,
    Internal,
    Overloaded,
    UpstreamTooLarge,
    StreamTooLarge,
    TotalTimeout,
    Stopped,
    NoViewers,
    Restart,
    Drain,
}

impl Why {
    /// The reasons, in the order of docs/protocol.md.
    pub const REASONS: [&str; 5] = ["completed", "failed", "limit", "cancelled", "interrupted"];

    /// The reason and the code, as they stand on the wire.
    pub fn wire(self) -> (&'static str, Option<&'static str>) {
        match self {
            Why::Completed => ("completed", None),
            Why::UpstreamStatus => ("failed", Some("upstream_status")),
            Why::UpstreamConnect => ("failed", Some("upstream_connect")),
            Why::UpstreamCut => ("failed", Some("upstream_cut")),
            Why::UpstreamEof => ("failed", Some("upstream_eof")),
            Why::UpstreamSilent => ("failed", Some("upstream_silent")),
            Why::UpstreamError => ("failed", Some("upstream_error")),
            Why::NotAStream => ("failed", Some("not_a_stream")),
            Why::StorageError => ("failed", Some("storage_error")),
            Why::Internal => ("failed", Some("internal")),
            Why::Overloaded => ("limit", Some("overloaded")),
            Why::UpstreamTooLarge => ("limit", Some("upstream_too_large")),
            Why::StreamTooLarge => ("limit", Some("stream_too_large")),
            Why::TotalTimeout => ("limit", Some("total_timeout")),
            Why::Stopped => ("cancelled", Some("stopped")),
            Why::NoViewers => ("cancelled", Some("no_viewers")),
            Why::Restart => ("interrupted", Some("restart")),
            Why::Drain => ("interrupted", Some("drain")),
        }
    }

    pub fn reason(self) -> &'static str {
        self.wire().0
    }

    pub fn code(self) -> Option<&'static str> {
        self.wire().1
    }

    /// Whether the sentence of such an end is the provider's, who may repeat what was asked.
    pub fn quotes_the_provider(self) -> bool {
        matches!(self, Why::UpstreamStatus | Why::UpstreamError | Why::NotAStream)
    }
}

/// How a producer ends its cast: why, and a sentence for a person.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub why: Why,
    pub message: Option<String>,
}

impl Outcome {
    pub fn completed() -> Self {
        Self { why: Why::Completed, message: None }
    }

    pub fn because(why: Why, message: impl Into<String>) -> Self {
        Self { why, message: Some(message.into()) }
    }
}

/// The end of a stream. Its seq is `blocks + 1`; nothing is ever appended after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub why: Why,
    pub message: Option<String>,
    /// Finish reason of choice 0.
    pub finish: Option<String>,
    pub usage: Option<Usage>,
    pub blocks: Seq,
    pub bytes: u64,
    /// SHA-256 over all blocks, in hexadecimal.
    pub hash: String,
    /// When the stream ended, in milliseconds since the cast began.
    pub at_ms: u64,
}

impl End {
    /// The cursor of a viewer that has seen everything, the end included.
    pub fn seq(&self) -> Seq {
        self.blocks + 1
    }

    pub fn is_completed(&self) -> bool {
        self.why == Why::Completed
    }

    /// The end as it stands on the wire.
    pub fn wire(&self) -> Wire<'_> {
        let (reason, code) = self.why.wire();
        let Self { message, finish, usage, blocks, bytes, hash, .. } = self;
        Wire {
            reason,
            code,
            message: message.as_deref(),
            finish: finish.as_deref(),
            usage: *usage,
            blocks: *blocks,
            bytes: *bytes,
            hash,
        }
    }
}

/// See [`End::wire`].
#[derive(Debug, Serialize)]
pub struct Wire<'a> {
    reason: &'static str,
    code: Option<&'static str>,
    message: Option<&'a str>,
    finish: Option<&'a str>,
    usage: Option<Usage>,
    blocks: Seq,
    bytes: u64,
    hash: &'a str,
}
