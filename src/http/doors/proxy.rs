//! Calls that are handed on as they are: those that ask for no stream, and the paths that a provider's `proxy_paths` have.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use super::{Door, call, fault};
use crate::dialect::splice::top_level_string;
use crate::edge::forward::{Answer, Call};
use crate::http::App;
use crate::http::error::{self, Error};
use crate::http::gate::Granted;
use crate::http::intake;

/// Hands a call on, and the answer back.
#[expect(clippy::too_many_arguments, reason = "a request has that many parts")]
pub(super) async fn hand_on(
    app: &App,
    door: Door,
    method: Method,
    uri: &Uri,
    headers: &HeaderMap,
    model: Option<String>,
    body: Bytes,
    is_listed: bool,
) -> Result<Response, Error> {
    let query = call::own_query(uri.query().unwrap_or_default()).map(|query| format!("?{query}"));
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
        passed: call::passed_with_types(app, headers),
        body,
        is_listed,
    };
    app.forward.forward(call).await.map(respond).map_err(Error::from)
}

pub(super) fn respond(answer: Answer) -> Response {
    let Answer { status, headers, body } = answer;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = (status, Body::from_stream(body)).into_response();
    hand_back(&headers, response.headers_mut());
    response
}

/// Header fields of the provider's answer.
pub(super) fn hand_back(from: &[(String, Vec<u8>)], to: &mut HeaderMap) {
    for (name, value) in from {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            to.append(name, value);
        }
    }
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
        path if !path.starts_with("/v1/") => return error::not_found().into_response(),
        _ => Door::of(&headers),
    };
    let hand_on = async {
        let Granted(grant) = granted?;
        grant.start()?;
        let body = intake::read(&app, &headers, body).await?;
        let model = std::str::from_utf8(&body).ok().and_then(|body| top_level_string(body, "model"));
        hand_on(&app, door, method, &uri, &headers, model, body, true).await
    };
    match hand_on.await {
        Ok(response) => response,
        // Nobody hands it on: then there is nothing here.
        Err(error) if error.code == "not_found" => error::not_found().into_response(),
        Err(error) => fault::answer(door, error),
    }
}
