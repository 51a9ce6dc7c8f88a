//! Viewers that come faster than their address may.

use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

use super::error::{Code, Error};
use super::serve::Link;
use super::viewing::{EVENT_STREAM, is_wanted};
use super::{App, long_poll};
use crate::view::events::Bye;
use crate::viewer::retry_ms;

/// Lets a new view through, or says when to come again. A long-poll is one of many, and no new view.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if let Some(link) = request.extensions().get::<Link>()
        && !long_poll::is_wanted(headers)
        && let Err(wait) = app.addresses.subscribe(app.addresses.client(link.place.peer.ip(), headers))
    {
        let is_native =
            request.extensions().get::<MatchedPath>().is_some_and(|path| path.as_str().ends_with("/events"));
        let refusal = Error::rate_limited(wait);
        return if is_native && is_wanted(headers, EVENT_STREAM) {
            bye(wait, &refusal)
        } else {
            refusal.into_response()
        };
    }
    next.run(request).await
}

/// An `EventSource` never comes again after an error, and comes again after a body that ends.
fn bye(wait: Duration, refusal: &Error) -> Response {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    // Spread, so that they do not all come at once again.
    let bye = Bye { code: "too_many", retry_ms: wait_ms.max(retry_ms(true)) };
    let mut body = format!("retry: {}\n", bye.retry_ms).into_bytes();
    body.extend_from_slice(&bye.sse());
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let mut response = (headers, body).into_response();
    response.extensions_mut().insert(Code(refusal.code));
    response
}
