//! Calls that are handed on as they are: those that ask for no stream, and the paths that a provider's `proxy_paths` have.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;
use tokio_stream::StreamExt;

use super::bill::{self, Bill};
use super::passing::{self, hand_back};
use super::{Door, fault};
use crate::auth::Grant;
use crate::cast::account::{Spent, Stake, tokens_in};
use crate::cast::hub::order::Refused;
use crate::dialect::splice::{top_level, top_level_string};
use crate::edge::forward::{Answer, Call};
use crate::http::App;
use crate::http::error::{self, Error};
use crate::http::gate::Granted;
use crate::http::intake;
use crate::telemetry;

/// An answer that is no stream is looked at before it goes on.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Hands a call on, and the answer back.
#[expect(clippy::too_many_arguments, reason = "a request has that many parts")]
pub(super) async fn hand_on(
    app: &App,
    grant: &Grant,
    door: Door,
    method: Method,
    uri: &Uri,
    headers: &HeaderMap,
    model: Option<String>,
    body: Bytes,
    is_listed: bool,
) -> Result<Response, Error> {
    if method != Method::GET && app.hub.draining().is_cancelled() {
        return Err(Refused::Draining.into());
    }
    if !is_plain(uri.path()) {
        return Err(Error::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "this path leads nowhere: write it without dots",
        ));
    }
    let account = app.hub.account(&grant.tenant);
    // What asks for work is work, whether it is a stream or not; nobody watches it.
    let stake = match method {
        Method::POST => Some(account.start(tokens_in(&body), false).inspect_err(telemetry::limit_reached)?),
        _ => None,
    };
    let asked = uri.query().unwrap_or_default();
    let query = passing::own_query(asked).map(|query| format!("?{query}"));
    let path = match uri.path().strip_prefix("/v1/models") {
        // What it has is told under both, by all of its kind under this one.
        Some(behind) if door == Door::Gemini && method == Method::GET => format!("/v1beta/models{behind}"),
        _ => door.path(uri.path()),
    };
    let call = Call {
        method,
        path: path + &query.unwrap_or_default(),
        dialect: door.dialect(),
        model,
        passed: passing::passed_with_types(app, headers, asked),
        body,
        is_listed,
    };
    let answer = app.forward.forward(call).await?;
    respond(app, answer, is_listed, stake).await
}

/// Whether every part of a path is what it says, for whoever reads it.
fn is_plain(path: &str) -> bool {
    path.split('/').skip(1).all(|part| {
        let part = percent_decode_str(part).decode_utf8_lossy();
        !part.is_empty() && part != "." && part != ".." && !part.contains(['/', '\\', '%'])
    })
}

/// The provider's answer. What an SDK waits for is JSON: anything else would be an exception that nobody understands.
async fn respond(
    app: &App,
    answer: Answer,
    is_listed: bool,
    stake: Option<Arc<Stake>>,
) -> Result<Response, Error> {
    let Answer { status, headers, mut body } = answer;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let unreadable = |what: String| {
        Error::new(StatusCode::BAD_GATEWAY, "unreadable_answer", format!("{what}: check its base_url"))
    };
    if status.is_redirection() {
        return Err(unreadable(format!("the provider answered {status}, and redirects are not followed")));
    }
    let is_packed = headers.iter().any(|(name, _)| name == "content-encoding");
    let body = if is_listed || !status.is_success() || is_packed {
        let bill = stake.as_ref().filter(|_| status.is_success());
        let mut bill = bill.map(|stake| Bill::new(app.hub.clone(), stake.clone()));
        // It is at work as long as it is read.
        Body::from_stream(body.map(move |chunk| {
            let _stake = &stake;
            if let (Some(bill), Ok(chunk)) = (&mut bill, &chunk) {
                bill.read(chunk);
            }
            chunk
        }))
    } else {
        let mut whole = Vec::new();
        while let Some(chunk) = body.next().await {
            whole.extend_from_slice(
                &chunk.map_err(|error| unreadable(format!("the provider's answer broke off: {error}")))?,
            );
            if whole.len() > ANSWER_BYTES_MAX {
                return Err(unreadable(format!(
                    "the provider's answer is larger than {ANSWER_BYTES_MAX} bytes"
                )));
            }
        }
        let said = serde_json::from_slice::<&RawValue>(&whole);
        let said =
            said.map_err(|_| unreadable("the provider answered with something that is no JSON".into()))?;
        if let Some(error) =
            top_level(said.get(), "error").filter(|error| !matches!(&**error, "null" | "false"))
        {
            return Err(unreadable(format!("the provider answered 200 with an error, {error}")));
        }
        if let Some(stake) = &stake {
            let unsaid = || Spent { counted: 0, estimated: stake.asked().saturating_add(tokens_in(&whole)) };
            app.hub.spend(stake.account(), bill::said(&whole).unwrap_or_else(unsaid));
        }
        Body::from(whole)
    };
    let mut response = (status, body).into_response();
    hand_back(&headers, response.headers_mut());
    Ok(response)
}

/// Whatever has no route of its own.
pub(super) async fn listed(
    State(app): State<App>,
    uri: Uri,
    method: Method,
    granted: Result<Granted, Error>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let door = match uri.path() {
        path if path.starts_with("/v1beta/") => Door::Gemini,
        path if path.starts_with("/api/") => Door::OllamaChat,
        path if path.starts_with("/v1/messages/") => Door::Messages,
        path if !path.starts_with("/v1/") => return error::not_found().into_response(),
        _ => Door::of(&headers),
    };
    let hand_on = async {
        let Granted(grant) = granted?;
        grant.start()?;
        // The provider knows one key for all tenants.
        if uri.path().starts_with("/v1/responses/") && app.gate.has_several_tenants() {
            return Err(Error::new(StatusCode::NOT_FOUND, "not_found", "there is no such response here"));
        }
        let body = intake::read(&app, &headers, body).await?;
        let model = std::str::from_utf8(&body).ok().and_then(|body| top_level_string(body, "model"));
        hand_on(&app, &grant, door, method, &uri, &headers, model, body, true).await
    };
    match hand_on.await {
        Ok(response) => response,
        // Nobody hands it on: then there is nothing here.
        Err(error) if error.code == "not_found" => error::not_found().into_response(),
        Err(error) => fault::answer(door, error),
    }
}
