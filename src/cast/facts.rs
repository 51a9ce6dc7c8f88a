//! A stream as lists and callers see it, whether its log is in memory or not.

use serde::Serialize;
use serde_json::value::RawValue;

use super::about::{About, rfc3339};
use super::block::Seq;
use super::durable::Ended;
use super::end::Wire;
use super::event::Usage;
use super::fold::{Choices, Fold};
use super::log::Log;
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

/// A stream, whole.
#[derive(Debug, Serialize)]
pub struct Whole<'a> {
    #[serde(flatten)]
    facts: Facts<'a>,
    upstream_id: Option<&'a str>,
    choices: &'a Choices,
    end: Option<Wire<'a>>,
    hash: String,
}

impl<'a> Whole<'a> {
    pub fn of(facts: Facts<'a>, log: &'a Log, fold: &'a Fold) -> Self {
        Self {
            facts,
            upstream_id: fold.upstream_id.as_deref(),
            choices: &fold.choices,
            end: log.end().map(|end| end.wire()),
            hash: log.hash(),
        }
    }
}

impl<'a> Facts<'a> {
    pub fn of(cast: &'a Cast, now: &Now<'a>) -> Self {
        Self { viewers: cast.viewers(), ..Self::of_log(cast.about(), now.log, now.fold, now.first_token_ms) }
    }

    pub fn of_log(about: &'a About, log: &'a Log, fold: &'a Fold, first_token_ms: Option<f64>) -> Self {
        Self {
            status: log.status(),
            model: fold.model.as_deref(),
            usage: fold.usage,
            blocks: log.tail(),
            frames: log.frames(),
            bytes: log.bytes(),
            viewers: 0,
            ttft_ms: first_token_ms,
            ..Self::begin(about, log.end().map(|end| end.at_ms))
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
        let ended = ended_after_ms.map(|after| about.started_ms.saturating_add(after));
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
            expires_at: ended.map(|ended| rfc3339(ended.saturating_add(about.ttl_s.saturating_mul(1000)))),
        }
    }
}
