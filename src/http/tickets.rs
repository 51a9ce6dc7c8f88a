//! `POST /v1/tickets`: a ticket for a stream that is there, for a viewer who may do no more than its app says.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::App;
use super::error::Error;
use super::gate::Granted;
use super::intake;

/// Beyond that no stream lives, whatever its ttl.
const TTL_S_MAX: u64 = 7 * 86_400;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    stream: String,
    /// What its bearer may do beside watching.
    #[serde(default)]
    can: Vec<Capability>,
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
    grant.start()?;
    let body = intake::read(&app, &headers, body).await?;
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|error| {
        let text = error.to_string();
        let text = text.split(" at line ").next().unwrap_or(&text).to_owned();
        let what = r#"write {"stream":"ID","can":["watch"],"ttl_s":600}; `can` and `ttl_s` may be left out"#;
        Error::bad_request("invalid_field", format!("{text}: {what}"))
    })?;
    if wanted.ttl_s.is_some_and(|ttl| !(1..=TTL_S_MAX).contains(&ttl)) {
        return Err(Error::bad_request(
            "invalid_field",
            format!("ttl_s: write seconds from 1 to {TTL_S_MAX}"),
        ));
    }
    let cast = app.find(&grant, &wanted.stream).await?;
    let may_stop = wanted.can.contains(&Capability::Stop);
    let (ticket, expires_at) = match wanted.ttl_s.map(Duration::from_secs) {
        Some(ttl) => app.gate.tickets().issue(&grant.tenant, cast.id(), may_stop, ttl),
        None => intake::ticket(&app, &grant, &cast, may_stop),
    };
    let expires_at = humantime::format_rfc3339_seconds(expires_at).to_string();
    let answer = json!({ "ticket": ticket, "ticket_expires_at": expires_at });
    let mut response = (StatusCode::CREATED, Json(answer)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
