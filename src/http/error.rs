//! Refusals as HTTP answers.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

pub(super) use crate::edge::refusal::Refusal as Error;

pub(super) fn method_not_allowed() -> Error {
    Error::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path has no such method: the `allow` header names those that it has",
    )
}

pub(super) fn not_found() -> Error {
    Error::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing here: see docs/protocol.md for the paths",
    )
}

pub(super) fn head_timeout() -> Error {
    Error::new(
        StatusCode::REQUEST_TIMEOUT,
        "request_timeout",
        "the request head did not arrive in time: send it faster, or raise http.head_s",
    )
}

pub(super) fn malformed_request() -> Error {
    Error::bad_request("malformed_request", "this is no HTTP request that can be read: see RFC 9112")
}

pub(super) fn head_too_large() -> Error {
    Error::new(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "head_too_large",
        "the request head is larger than http.head_bytes_max, or has more than http.head_fields_max fields",
    )
}

pub(super) fn uri_too_long() -> Error {
    Error::new(
        StatusCode::URI_TOO_LONG,
        "uri_too_long",
        "the request target is longer than http.uri_bytes_max: shorten the path and the query",
    )
}

pub(super) fn tls_required() -> Error {
    Error::bad_request("tls_required", "this port speaks TLS: write https:// instead of http://")
}

pub(super) fn overloaded() -> Error {
    Error::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "overloaded",
        "there is no place for one more connection (http.connections_max): try again",
    )
}

pub(super) fn much_waits() -> Error {
    Error::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "overloaded",
        "too many large answers wait for their callers: try again, or read the stream from /events",
    )
}

pub(super) fn too_many_connections() -> Error {
    let message = "this address has as many connections as it may (addresses.connections_max): close some";
    let refusal = Error::new(StatusCode::TOO_MANY_REQUESTS, "too_many_connections", message);
    Error { retry_after: Some(Duration::from_secs(1)), ..refusal }
}

pub(super) fn too_many_frames() -> Error {
    let message =
        "this connection said many more frames of HTTP/2 than it was answered: open another, and say less";
    Error::new(StatusCode::TOO_MANY_REQUESTS, "too_many_frames", message)
}

pub(super) fn internal() -> Error {
    Error::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this gateway has a bug: its log says where")
}

/// The code of a refusal; rides in its answer, to be counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Code(pub(super) &'static str);

pub(super) fn body(error: &Error) -> Value {
    let mut inner = json!({ "code": error.code, "message": error.message });
    if let Some(detail) = &error.detail {
        inner["detail"] = detail.clone();
    }
    json!({ "error": inner })
}

/// When to come again, in whole seconds, and never less than was said.
pub(super) fn retry_after_s(error: &Error) -> Option<u64> {
    let known = error.retry_after.map(|after| after.as_millis().div_ceil(1000).max(1) as u64);
    known.or((error.status == StatusCode::SERVICE_UNAVAILABLE).then_some(1))
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(body(&self))).into_response();
        response.extensions_mut().insert(Code(self.code));
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = retry_after_s(&self) {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
