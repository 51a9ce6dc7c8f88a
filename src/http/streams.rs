//! The catalogue: one stream's state, all of a tenant's streams, stop and purge.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::App;
use super::error::Error;
use super::gate::Granted;
use super::params::{Name, Params, invalid};
use crate::cast::end::{End, Why};
use crate::cast::event::Usage;
use crate::cast::fold::Choices;
use crate::cast::{Cast, Now};

const LIMIT_DEFAULT: u64 = 100;
const LIMIT_MAX: u64 = 1000;

/// A stream as lists show it.
#[derive(Serialize)]
struct Summary<'a> {
    id: &'a str,
    status: &'static str,
    provider: &'a str,
    model: Option<&'a str>,
    usage: Option<Usage>,
    blocks: u64,
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
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    summary: Summary<'a>,
    upstream_id: Option<&'a str>,
    choices: &'a Choices,
    end: Option<&'a End>,
    hash: String,
}

/// Some streams, and where the older ones begin.
#[derive(Serialize)]
struct Page {
    streams: Vec<Box<RawValue>>,
    next: Option<String>,
}

impl<'a> Summary<'a> {
    fn new(cast: &'a Cast, now: &Now<'a>) -> Self {
        let (about, log) = (cast.about(), now.log);
        let wall = |since| humantime::format_rfc3339_millis(cast.wall(since)).to_string();
        let ended = log.end().map(|end| Duration::from_millis(end.at_ms));
        Self {
            id: about.id.as_str(),
            status: log.status(),
            provider: &about.provider,
            model: log.fold().model.as_deref(),
            usage: log.fold().usage,
            blocks: log.tail(),
            frames: log.frames(),
            bytes: log.bytes(),
            viewers: cast.viewers(),
            ttft_ms: now.first_token.map(|after| (after.as_secs_f64() * 1e6).round() / 1e3),
            metadata: about.metadata.as_deref(),
            started_at: wall(Duration::ZERO),
            ended_at: ended.map(wall),
            expires_at: ended.map(|ended| wall(ended + about.ttl)),
        }
    }
}

/// `GET /v1/streams/{id}`
pub(super) async fn show(
    State(app): State<App>,
    Granted(grant): Granted,
    Name(id): Name,
) -> Result<Response, Error> {
    let cast = app.find(&grant, &id)?;
    Ok(cast.inspect(|now| {
        let fold = now.log.fold();
        Json(Whole {
            summary: Summary::new(&cast, &now),
            upstream_id: fold.upstream_id.as_deref(),
            choices: &fold.choices,
            end: now.log.end().map(|end| &**end),
            hash: now.log.hash(),
        })
        .into_response()
    }))
}

/// `GET /v1/streams?status=&limit=&page=`, newest first
pub(super) async fn list(
    State(app): State<App>,
    Granted(grant): Granted,
    params: Params,
) -> Result<Response, Error> {
    grant.start()?;
    let limit = params.number("limit", 1..=LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT) as usize;
    let before = params.number("page", 0..=u64::MAX)?;
    let status = params.get("status")?.filter(|status| !status.is_empty());
    if let Some(status) = &status {
        let known = || Why::REASONS.into_iter().chain(["running"]);
        if !known().any(|known| known == status) {
            let known: Vec<&str> = known().collect();
            return Err(invalid("status", &format!("write one of {}", known.join(", "))));
        }
    }
    let mut found = app
        .hub
        .list(&grant.tenant, before)
        .into_iter()
        .filter(|(_, cast)| status.as_deref().is_none_or(|status| cast.status() == status));
    let page: Vec<(u64, Cast)> = found.by_ref().take(limit).collect();
    let next = found.next().and_then(|_| page.last()).map(|(number, _)| number.to_string());
    let summary =
        |cast: &Cast| cast.inspect(|now| serde_json::value::to_raw_value(&Summary::new(cast, &now)));
    let streams = page.iter().map(|(_, cast)| summary(cast)).collect::<Result<Vec<_>, _>>();
    let streams = streams.expect("plain data is JSON");
    Ok(Json(Page { streams, next }).into_response())
}

/// `DELETE /v1/streams/{id}[?purge=1]`
pub(super) async fn stop(
    State(app): State<App>,
    Granted(grant): Granted,
    Name(id): Name,
    params: Params,
) -> Result<Response, Error> {
    let purge = params.flag("purge")?;
    let cast = app.find(&grant, &id)?;
    grant.stop()?;
    let ended = cast.end().is_some();
    if purge {
        app.hub.purge(&cast);
    } else {
        cast.stop(Why::Stopped);
    }
    let status = if ended { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(json!({ "id": id, "status": cast.status(), "purged": purge }))).into_response())
}
