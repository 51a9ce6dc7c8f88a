//! What went wrong, in the shape in which each SDK expects it.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::Door;
use crate::cast::end::End;
use crate::edge::forward::ForwardError;
use crate::http::error::Error;

/// A refusal as this door's SDK reads it.
pub(super) fn answer(door: Door, error: Error) -> Response {
    let Error { code, message, .. } = &error;
    // A model that nobody serves is to an SDK one that does not exist.
    let status = if *code == "unknown_model" { StatusCode::NOT_FOUND } else { error.status };
    let body = body(door, status, code, message);
    let mut response = error.into_response();
    *response.status_mut() = status;
    let headers = std::mem::take(response.headers_mut());
    let mut answer = (status, Json(body)).into_response();
    *answer.extensions_mut() = std::mem::take(response.extensions_mut());
    for (name, value) in headers {
        let Some(name) = name else { continue };
        if name != header::CONTENT_LENGTH && name != header::CONTENT_TYPE {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

pub(super) fn body(door: Door, status: StatusCode, code: &str, message: &str) -> Value {
    match door {
        Door::Chat | Door::Completions | Door::Responses => json!({
            "error": { "message": message, "type": openai_type(status), "param": null, "code": code }
        }),
        Door::Messages => json!({
            "type": "error",
            "error": { "type": anthropic_type(status), "message": message }
        }),
        Door::Gemini => json!({
            "error": { "code": status.as_u16(), "message": message, "status": google_status(status) }
        }),
        Door::OllamaChat | Door::OllamaGenerate => json!({ "error": message }),
    }
}

/// The last words of a stream that did not complete, behind the event of that number.
pub(super) fn last_words(door: Door, end: &End, number: Option<u64>) -> Vec<u8> {
    let (reason, code) = end.why.wire();
    let code = code.unwrap_or(reason);
    let message = end.message.clone().unwrap_or_else(|| format!("the stream ended: {reason}/{code}"));
    let status = StatusCode::BAD_GATEWAY;
    let words = match door {
        Door::Chat | Door::Completions => format!("data: {}\n\n", body(door, status, code, &message)),
        Door::Responses => {
            let number = number.map_or(0, |number| number.saturating_add(1));
            let error = json!({
                "type": "error", "sequence_number": number, "code": code, "message": message, "param": null
            });
            format!("event: error\ndata: {error}\n\n")
        }
        Door::Messages => format!("event: error\ndata: {}\n\n", body(door, status, code, &message)),
        Door::Gemini => format!("data: {}\r\n\r\n", body(door, status, code, &message)),
        Door::OllamaChat | Door::OllamaGenerate => format!("{}\n", body(door, status, code, &message)),
    };
    words.into_bytes()
}

impl From<ForwardError> for Error {
    fn from(error: ForwardError) -> Self {
        let message = error.to_string();
        match error {
            ForwardError::Ask(ask) => crate::cast::hub::order::Refused::Ask(ask).into(),
            ForwardError::NoPath => Self::new(StatusCode::NOT_FOUND, "not_found", message),
            ForwardError::Unreachable(_) => Self::new(StatusCode::BAD_GATEWAY, "upstream_connect", message),
            ForwardError::Silent => Self::new(StatusCode::GATEWAY_TIMEOUT, "upstream_silent", message),
        }
    }
}

fn openai_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

fn anthropic_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

fn google_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        502 | 503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}
