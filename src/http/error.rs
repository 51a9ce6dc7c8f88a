//! Refusals as HTTP answers.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

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

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let Self { status, code, message, detail, retry_after } = self;
        let mut error = json!({ "code": code, "message": message });
        if let Some(detail) = detail {
            error["detail"] = detail;
        }
        let mut response = (status, Json(json!({ "error": error }))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // Never less than was said, in whole seconds.
        let known = retry_after.map(|after| after.as_millis().div_ceil(1000).max(1) as u64);
        if let Some(seconds) = known.or((status == StatusCode::SERVICE_UNAVAILABLE).then_some(1)) {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
