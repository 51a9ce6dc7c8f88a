//! The catalogue: one stream's state, all of a tenant's streams, stop and purge.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::StatusCode;
use http_body_util::BodyExt;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::App;
use super::error::{self, Error};
use super::gate::Granted;
use super::params::{Name, Params, invalid};
use super::serve::Link;
use crate::cast::end::Why;
use crate::cast::facts::{Facts, Whole};
use crate::heavy;

const LIMIT_DEFAULT: u64 = 100;
const LIMIT_MAX: u64 = 1000;

/// Some streams, and where the older ones begin.
#[derive(Serialize)]
struct Page {
    streams: Vec<Box<RawValue>>,
    next: Option<String>,
}

/// `GET /v1/streams/{id}`
pub(super) async fn show(
    State(app): State<App>,
    Granted(grant): Granted,
    Name(id): Name,
    link: Option<Extension<Link>>,
) -> Result<Response, Error> {
    grant.read()?;
    let cast = app.find(&grant, &id).await?;
    if let Some(Extension(link)) = &link
        && heavy::is_much(cast.bytes())
    {
        // It may have to wait for others, and nothing is done for who hangs up meanwhile.
        link.answering.set(false);
    }
    let room = heavy::room(cast.bytes()).await.ok_or_else(error::much_waits)?;
    let whole = cast.look(|now| Json(Whole::of(Facts::of(&cast, &now), now.log, now.fold)).into_response());
    // The room is taken until the body is gone.
    let hold = move |frame| {
        let _ = &room;
        frame
    };
    Ok(whole.await?.map(|body| Body::new(body.map_frame(hold))))
}

/// `GET /v1/streams?status=&limit=&page=`, newest first
pub(super) async fn list(
    State(app): State<App>,
    Granted(grant): Granted,
    params: Params,
) -> Result<Response, Error> {
    grant.list()?;
    let limit = params.number("limit", 1..=LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT) as usize;
    let before = params.get("page")?.map(|page| {
        let number = app.gate.pages().uncover(&grant.tenant, &page);
        number.ok_or_else(|| invalid("page", "write the `next` of the page before"))
    });
    let before = before.transpose()?;
    let status = params.get("status")?.filter(|status| !status.is_empty());
    if let Some(status) = &status {
        let known = || Why::REASONS.into_iter().chain(["running"]);
        if !known().any(|known| known == status) {
            let known: Vec<&str> = known().collect();
            return Err(invalid("status", &format!("write one of {}", known.join(", "))));
        }
    }
    let (streams, next) = app.hub.list(&grant.tenant, before, limit, |facts| {
        let is_wanted = status.as_deref().is_none_or(|status| facts.status == status);
        is_wanted.then(|| serde_json::value::to_raw_value(facts).expect("plain data is JSON"))
    });
    let next = next.map(|number| app.gate.pages().cover(&grant.tenant, number));
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
    // Before looking: whoever may not is told of no stream that there is one.
    if purge { grant.purge() } else { grant.stop() }?;
    let cast = app.find(&grant, &id).await?;
    let ended = cast.end().is_some();
    if purge {
        app.hub.purge(&cast).await.map_err(|error| Error::storage(&error))?;
    } else {
        cast.stop(Why::Stopped);
    }
    let status = if ended { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(json!({ "id": id, "status": cast.status(), "purged": purge }))).into_response())
}
