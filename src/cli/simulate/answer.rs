//! From a request to a response.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::{sleep, timeout};

use super::ask::{Ask, Refusal};
use super::body::{self, Body};
use super::dialects::{Endpoint, Family, response_id};
use super::embeddings;
use super::log::{Call, Record, RequestLog};
use super::options::Options;
use super::route::Route;
use super::script::{Script, rng};

/// The largest request body.
pub(super) const REQUEST_BYTES_MAX: usize = 16 << 20;
/// The longest time that a client may take to send its request body.
const REQUEST_WAIT: Duration = Duration::from_secs(60);
/// What a client that is told to come back is told to wait.
const RETRY_S: HeaderValue = HeaderValue::from_static("1");
/// A path that no client asks for by itself: a request for it in the log has followed a redirect.
pub(super) const REDIRECTED: &str = "/v1/redirected";

pub(super) async fn answer(
    options: Arc<Options>,
    log: Arc<RequestLog>,
    request: Request<Incoming>,
) -> Response<Body> {
    let (head, incoming) = request.into_parts();
    let read = read(incoming).await;
    let call = log.begin(&head, read.as_ref().cloned().unwrap_or_default());
    tracing::debug!(method = %head.method, path = head.uri.path(), "request");
    let family = Family::of(head.uri.path(), &head.headers);
    let route = read.and_then(|bytes| Ok((Route::of(&head)?, bytes)));
    let answered = match route {
        Ok((Route::Models, _)) => Ok(family.models()),
        Ok((Route::Embeddings, bytes)) => embeddings::answer(&bytes),
        Ok((Route::Completion(endpoint), bytes)) => match Ask::read(endpoint, &bytes, &options) {
            Ok(ask) => return complete(ask, call).await,
            Err(refusal) => Err(refusal),
        },
        Ok((Route::Stored { id, stream, starting_after }, _)) => match stored(&id, &log, &options) {
            Some(ask) => return complete(ask.again(stream, starting_after), call).await,
            None => Err(Refusal::new(StatusCode::NOT_FOUND, format!("Response with id '{id}' not found."))),
        },
        Err(refusal) => Err(refusal),
    };
    match answered {
        Ok(answer) => json(StatusCode::OK, answer, call),
        Err(refusal) => json(refusal.status, family.error(&refusal), call),
    }
}

/// The request for the response of this name, as long as the log remembers it.
fn stored(id: &str, log: &RequestLog, options: &Options) -> Option<Ask> {
    let made = |record: Record| {
        if (&record.method, record.target.as_str()) != (&Method::POST, "/v1/responses") {
            return None;
        }
        let ask = Ask::read(Endpoint::OpenaiResponses, &record.body, options).ok()?;
        (ask.options.status.is_none() && response_id(&ask) == id).then_some(ask)
    };
    log.records().into_iter().rev().find_map(made)
}

async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    let status = match timeout(REQUEST_WAIT, Limited::new(body, REQUEST_BYTES_MAX).collect()).await {
        Ok(Ok(collected)) => return Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => StatusCode::PAYLOAD_TOO_LARGE,
        Ok(Err(_)) => StatusCode::BAD_REQUEST,
        Err(_) => StatusCode::REQUEST_TIMEOUT,
    };
    Err(Refusal::new(
        status,
        format!("The request body could not be read whole; the limit is {REQUEST_BYTES_MAX} bytes."),
    ))
}

/// Answers a valid request for a completion, as well or as badly as it asks.
async fn complete(ask: Ask, call: Call) -> Response<Body> {
    let (options, family) = (&ask.options, ask.endpoint.family());
    sleep(Duration::from_millis(options.head_ms)).await;
    if options.redirect {
        let mut response = json(StatusCode::TEMPORARY_REDIRECT, "{}".to_owned(), call);
        response.headers_mut().insert(LOCATION, HeaderValue::from_static(REDIRECTED));
        return response;
    }
    if let Some(status) = options.status.and_then(|status| StatusCode::from_u16(status).ok()) {
        return failure(status, family, call);
    }

    let mut response = if ask.stream {
        let mut response = Response::new(body::streamed(&ask, call));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(ask.endpoint.content_type()));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    } else {
        match ask.endpoint.writer(&ask).whole(Script::new(&ask)) {
            Some(answer) => {
                let first_byte = Duration::from_millis(options.first_byte_ms);
                json_after(first_byte, StatusCode::OK, answer, call)
            }
            None => {
                let refusal = Refusal::too_large();
                return json(refusal.status, family.error(&refusal), call);
            }
        }
    };
    let headers = response.headers_mut();
    let request_id = format!("req_{:032x}", rng(ask.seed, u64::MAX - 2).u128(..));
    for (name, value) in family.headers() {
        if let Ok(value) = HeaderValue::from_str(&value.replace("{}", &request_id)) {
            headers.insert(*name, value);
        }
    }
    if let Some(content_type) = options.content_type.as_ref().and_then(|value| value.parse().ok()) {
        headers.insert(CONTENT_TYPE, content_type);
    }
    if options.gzip_header {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// The HTTP error that was asked for.
fn failure(status: StatusCode, family: Family, call: Call) -> Response<Body> {
    let mut refusal = Refusal::new(status, format!("The simulated provider answers {status} on request."));
    refusal.code = match status.as_u16() {
        401 => Some("invalid_api_key"),
        404 => Some("model_not_found"),
        429 => Some("rate_limit_exceeded"),
        _ => None,
    };
    let mut response = json(status, family.error(&refusal), call);
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        response.headers_mut().insert(RETRY_AFTER, RETRY_S);
    }
    response
}

fn json(status: StatusCode, json: String, call: Call) -> Response<Body> {
    json_after(Duration::ZERO, status, json, call)
}

fn json_after(first_byte: Duration, status: StatusCode, json: String, call: Call) -> Response<Body> {
    let length = json.len();
    let mut response = Response::new(body::whole(json, first_byte, call));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}
