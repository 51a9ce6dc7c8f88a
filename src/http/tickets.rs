//! `POST /v1/tickets`: a ticket for streams that are there or may come, for a viewer who may do no more than its app
//! says.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::App;
use super::depth;
use super::error::Error;
use super::gate::Granted;
use super::intake;
use crate::auth::scope::{Scope, Scopes};
use crate::auth::{Grant, Only};
use crate::cast::id::Id;
use crate::heavy;

/// Beyond that no stream lives, whatever its ttl.
const TTL_S_MAX: u64 = 7 * 86_400;
/// With ids of any length that fits into a ticket, and the ticket into a URL.
const STREAMS_MAX: usize = 32;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    stream: Option<String>,
    streams: Option<Vec<String>>,
    prefix: Option<String>,
    /// What its bearer may do beside watching.
    can: Option<Vec<Capability>>,
    /// As long as the stream can live otherwise.
    ttl_s: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Capability {
    Watch,
    Stop,
}

pub(super) async fn issue(
    State(app): State<App>,
    Granted(grant): Granted,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    // Whoever may hand nothing on is told so, whatever else is wrong.
    grant.issue([Scope::Read].into_iter().collect())?;
    intake::is_json(&headers)?;
    let body = intake::read(&app, &headers, body).await?;
    depth::check(&body)?;
    let wanted =
        heavy::run(body.len(), || serde_json::from_slice::<Wanted>(&body)).await.map_err(|error| {
            let text = error.to_string();
            let text = text.split(" at line ").next().unwrap_or(&text).to_owned();
            let what =
                r#"write {"stream":"ID","can":["watch"],"ttl_s":600}; `can` and `ttl_s` may be left out"#;
            bad(format!("{text}: {what}"))
        })?;
    if wanted.ttl_s.is_some_and(|ttl| !(1..=TTL_S_MAX).contains(&ttl)) {
        return Err(bad(format!("ttl_s: write seconds from 1 to {TTL_S_MAX}")));
    }
    if wanted.can.as_ref().is_some_and(Vec::is_empty) {
        return Err(bad(r#"can: write ["watch"] or ["watch","stop"], or leave it out"#));
    }
    let may_stop = wanted.can.iter().flatten().any(|can| *can == Capability::Stop).then_some(Scope::Stop);
    let scopes: Scopes = [Scope::Read].into_iter().chain(may_stop).collect();
    grant.issue(scopes)?;
    let ttl_s = wanted.ttl_s;
    let (only, ttl) = only(&app, &grant, wanted).await?;
    let lifetime = ttl_s.map_or_else(|| intake::lifetime(&app, ttl), Duration::from_secs);
    let (ticket, expires_at) = app.gate.tickets().issue(&grant.tenant, &only, scopes, lifetime);
    let expires_at = humantime::format_rfc3339_seconds(expires_at).to_string();
    let answer = json!({ "ticket": ticket, "ticket_expires_at": expires_at });
    let mut response = (StatusCode::CREATED, Json(answer)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Which streams are wanted, and how long the last of them stays after its end. Those that are named have to be there.
async fn only(app: &App, grant: &Grant, wanted: Wanted) -> Result<(Only, Duration), Error> {
    let default = Duration::from_secs(app.hub.retention().ttl_s);
    let names = match (wanted.stream, wanted.streams, wanted.prefix) {
        (Some(stream), None, None) => vec![stream],
        (None, Some(streams), None) if (1..=STREAMS_MAX).contains(&streams.len()) => streams,
        (None, Some(_), None) => return Err(bad(format!("streams: write 1 to {STREAMS_MAX} ids"))),
        (None, None, Some(prefix)) => {
            let prefix = Id::parse(&prefix).map_err(|_| {
                bad("prefix: write how the ids begin, 1 to 64 of the characters A-Z a-z 0-9 _ -")
            })?;
            return Ok((Only::Prefix(prefix), default));
        }
        _ => return Err(bad("write one of `stream`, `streams` and `prefix`")),
    };
    let (mut ids, mut ttl) = (Vec::new(), Duration::ZERO);
    for name in names {
        let cast = app.find(grant, &name).await?;
        ids.push(cast.id().clone());
        ttl = ttl.max(cast.about().ttl());
    }
    Ok((Only::Streams(ids.into()), ttl))
}

fn bad(message: impl Into<String>) -> Error {
    Error::bad_request("invalid_field", message)
}
