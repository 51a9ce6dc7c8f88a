//! A stream as lists show it, whether its log is in memory or not.

use serde::Serialize;
use serde_json::value::RawValue;

use super::about::{About, rfc3339};
use super::block::Seq;
use super::durable::Ended;
use super::event::Usage;
use super::{Cast, Now};

#[derive(Debug, Serialize)]
pub struct Facts<'a> {
    pub id: &'a str,
    pub status: &'static str,
    provider: &'a str,
    model: Option<&'a str>,
    usage: Option<Usage>,
    blocks: Seq,
    frames: usize,
    bytes: u64,
    viewers: usize,
    ttft_ms: Option<f64>,
    metadata: Option<&'a RawValue>,
    started_at: String,
    ended_at: Option<String>,
    expires_at: Option<String>,
}

impl<'a> Facts<'a> {
    pub fn of(cast: &'a Cast, now: &Now<'a>) -> Self {
        let log = now.log;
        Self {
            status: log.status(),
            model: now.fold.model.as_deref(),
            usage: now.fold.usage,
            blocks: log.tail(),
            frames: log.frames(),
            bytes: log.bytes(),
            viewers: cast.viewers(),
            ttft_ms: now.first_token_ms,
            ..Self::begin(cast.about(), log.end().map(|end| end.at_ms))
        }
    }

    pub fn of_ended(about: &'a About, ended: &'a Ended, viewers: usize) -> Self {
        let end = &ended.end;
        Self {
            status: end.why.reason(),
            model: ended.model.as_deref(),
            usage: end.usage,
            blocks: end.blocks,
            frames: ended.frames,
            bytes: end.bytes,
            viewers,
            ttft_ms: ended.first_token_ms,
            ..Self::begin(about, Some(end.at_ms))
        }
    }

    fn begin(about: &'a About, ended_after_ms: Option<u64>) -> Self {
        let ended = ended_after_ms.map(|after| about.started_ms + after);
        Self {
            id: about.id.as_str(),
            status: "running",
            provider: &about.provider,
            model: None,
            usage: None,
            blocks: 0,
            frames: 0,
            bytes: 0,
            viewers: 0,
            ttft_ms: None,
            metadata: about.metadata.as_deref(),
            started_at: rfc3339(about.started_ms),
            ended_at: ended.map(rfc3339),
            expires_at: ended.map(|ended| rfc3339(ended + about.ttl_s * 1000)),
        }
    }
}
