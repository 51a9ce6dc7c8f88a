//! The answer to a streaming call: the provider's head, and the raw view with last words where it does not complete.

use std::io;

use axum::Extension;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::again::Serving;
use super::proxy::hand_back;
use super::{Door, fault};
use crate::auth::Grant;
use crate::cast::Cast;
use crate::cast::block::Seq;
use crate::cast::end::Why;
use crate::http::App;
use crate::http::error::Error;
use crate::http::intake;
use crate::http::serve::Link;
use crate::http::viewing;
use crate::view::View;
use crate::viewer::{HEARTBEAT_MS_DEFAULT, Step, Viewer};

/// Waits until the provider has begun to answer, and follows.
pub(super) async fn stream(
    app: &App,
    door: Door,
    grant: &Grant,
    cast: Cast,
    mut serving: Serving,
    link: Option<Extension<Link>>,
) -> Result<Response, Error> {
    // Who waits is a viewer, too.
    let _waiting = cast.attach();
    // A stream of an earlier process, or one that has ended, has no head any more: its bytes are there.
    let head = if cast.end().is_some_and(|end| end.blocks > 0) { None } else { cast.head().await };
    let Some(head) = head else {
        if let Some(end) = cast.end().filter(|end| end.blocks == 0 && !end.is_completed()) {
            serving.done();
            return Err(Error::empty(&end));
        }
        let content_type = cast.content_type().unwrap_or("text/event-stream").to_owned();
        let mut response = follow(app, door, grant, cast.clone(), 0, serving, link);
        let content_type = HeaderValue::from_str(&content_type);
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            content_type.unwrap_or(HeaderValue::from_static("text/event-stream")),
        );
        introduce(app, grant, &cast, response.headers_mut());
        return Ok(response);
    };
    let status = StatusCode::from_u16(head.status).unwrap_or(StatusCode::BAD_GATEWAY);
    if let Some(refusal) = &head.refusal {
        serving.done();
        if status.is_success() || status.is_redirection() {
            let end = ended(&cast).await;
            return Err(
                end.map_or_else(|| not_a_stream("the provider sent no stream"), |end| Error::empty(&end))
            );
        }
        let mut response = (status, refusal.clone()).into_response();
        response.headers_mut().clear();
        hand_back(&head.headers, response.headers_mut());
        introduce(app, grant, &cast, response.headers_mut());
        return Ok(response);
    }
    let mut response = follow(app, door, grant, cast.clone(), 0, serving, link);
    *response.status_mut() = status;
    hand_back(&head.headers, response.headers_mut());
    introduce(app, grant, &cast, response.headers_mut());
    Ok(response)
}

async fn ended(cast: &Cast) -> Option<std::sync::Arc<crate::cast::end::End>> {
    cast.watch().closed().await;
    cast.end()
}

fn not_a_stream(message: &str) -> Error {
    Error::new(StatusCode::BAD_GATEWAY, "not_a_stream", message)
}

/// Which stream this is.
pub(in crate::http) fn introduce(app: &App, grant: &Grant, cast: &Cast, headers: &mut HeaderMap) {
    let id = cast.id().as_str();
    if let (Ok(id), Ok(location)) =
        (HeaderValue::from_str(id), HeaderValue::from_str(&format!("/v1/streams/{id}")))
    {
        headers.insert(HeaderName::from_static("tokencast-stream-id"), id);
        headers.insert(header::LOCATION, location);
    }
    // For pages that its caller answers. Whoever came by a ticket has one.
    if grant.start().is_ok()
        && let Ok(ticket) = HeaderValue::from_str(&intake::ticket(app, grant, cast, true).0)
    {
        headers.insert(HeaderName::from_static("tokencast-ticket"), ticket);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
}

/// The raw view behind a cursor, with what this door's clients take between blocks and at a bad end.
pub(super) fn follow(
    app: &App,
    door: Door,
    grant: &Grant,
    cast: Cast,
    after: Seq,
    mut serving: Serving,
    link: Option<Extension<Link>>,
) -> Response {
    let mut viewer = Viewer::new(cast, View::Raw, after, "http", app.closing.clone()).until(grant.expires);
    if door.heartbeat().is_some() {
        viewer = viewer.with_heartbeat(std::time::Duration::from_millis(HEARTBEAT_MS_DEFAULT));
    }
    let body = Body::from_stream(async_stream::stream! {
        let mut flushed = viewing::flushes(link.as_ref());
        let mut is_whole = true;
        let why = loop {
            match viewer.next().await {
                Step::Batch { bytes, .. } => {
                    is_whole = bytes.ends_with(b"\n");
                    flushed = viewing::flushes(link.as_ref());
                    yield Ok(bytes);
                }
                Step::Heartbeat => yield Ok(Bytes::from_static(door.heartbeat().unwrap_or_default())),
                Step::End { end, .. } => {
                    serving.done();
                    // What the provider has said itself is said as it said it: SDKs go on behind such an error.
                    if end.is_completed() || end.why == Why::UpstreamError {
                        return;
                    }
                    flushed = viewing::flushes(link.as_ref());
                    yield Ok(fault::last_words(door, &end, is_whole).into());
                    break end.why.reason();
                }
                Step::Bye(bye) => break bye.code,
            }
        };
        viewing::said(link.as_ref(), flushed).await;
        yield Err(io::Error::other(why));
    });
    body.into_response()
}
