//! The answer to a streaming call: the provider's head, and the raw view with last words where it does not complete.

use std::io;

use axum::Extension;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use memchr::memmem;

use super::again::Serving;
use super::passing::hand_back;
use super::{Door, fault};
use crate::auth::Grant;
use crate::cast::block::Seq;
use crate::cast::end::Why;
use crate::cast::{Attached, Cast};
use crate::http::App;
use crate::http::error::Error;
use crate::http::introduction::introduce;
use crate::http::serve::Link;
use crate::http::viewing;
use crate::view::View;
use crate::viewer::{HEARTBEAT_MS_DEFAULT, Step, Viewer};

/// Waits until the provider has begun to answer, and follows.
pub(super) async fn stream(
    app: &App,
    door: Door,
    grant: &Grant,
    // Who waits is a viewer, too.
    attached: Attached,
    mut serving: Serving,
    link: Option<Extension<Link>>,
) -> Result<Response, Error> {
    let cast = Cast::clone(&attached);
    let Some(head) = cast.head().await else {
        // A stream of an earlier process has no head any more: its bytes are there.
        if let Some(end) = cast.end().filter(|end| end.blocks == 0 && !end.is_completed()) {
            serving.done();
            return Err(Error::empty(&end));
        }
        let content_type = cast.content_type().unwrap_or("text/event-stream").to_owned();
        let mut response = follow(app, door, grant, attached, 0, serving, link);
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
    let mut response = follow(app, door, grant, attached, 0, serving, link);
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

/// The raw view behind a cursor, with what this door's clients take between blocks and at a bad end.
pub(super) fn follow(
    app: &App,
    door: Door,
    grant: &Grant,
    cast: Attached,
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
        let mut held = Held::default();
        let why = loop {
            match viewer.next().await {
                Step::Batch { bytes, .. } => {
                    let ready = held.push(door, bytes);
                    if !ready.is_empty() {
                        flushed = viewing::flushes(link.as_ref());
                        yield Ok(ready);
                    }
                }
                Step::Heartbeat => yield Ok(Bytes::from_static(door.heartbeat().unwrap_or_default())),
                Step::End { end, .. } => {
                    serving.done();
                    // What the provider has said itself is said as it said it: SDKs go on behind such an error.
                    if end.is_completed() || end.why == Why::UpstreamError {
                        if !held.rest.is_empty() {
                            yield Ok(held.rest);
                        }
                        return;
                    }
                    flushed = viewing::flushes(link.as_ref());
                    // Half an event is none, and would be an error of its own to whoever reads it.
                    yield Ok(fault::last_words(door, &end, held.number).into());
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

/// What is not handed out yet: an event that has only begun, which may be the last thing that the provider says.
#[derive(Debug, Default)]
struct Held {
    rest: Bytes,
    /// The last `sequence_number` of a response.
    number: Option<u64>,
}

impl Held {
    /// Whole events out of what was held and what has come.
    fn push(&mut self, door: Door, bytes: Bytes) -> Bytes {
        let mut all = match self.rest.is_empty() {
            true => bytes,
            false => [&*std::mem::take(&mut self.rest), &*bytes].concat().into(),
        };
        let ends: &[&[u8]] = match door {
            Door::OllamaChat | Door::OllamaGenerate => &[b"\n"],
            _ => &[b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n"],
        };
        let end = ends.iter().filter_map(|end| memmem::rfind(&all, end)?.checked_add(end.len())).max();
        self.rest = all.split_off(end.unwrap_or(0));
        if door == Door::Responses {
            self.number = number(&all).or(self.number);
        }
        all
    }
}

fn number(events: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"\"sequence_number\":";
    let behind = events.get(memmem::rfind(events, NAME)?..)?.strip_prefix(NAME)?.trim_ascii_start();
    let digits = behind.split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_events_are_handed_out() {
        for door in [Door::Chat, Door::OllamaChat] {
            let end = if door == Door::Chat { "\n\n" } else { "\n" };
            let body = format!("data: 1{end}data: 22{end}data: 3");
            for cut in 0..body.len() {
                let mut held = Held::default();
                let mut out = Vec::new();
                for part in [&body[..cut], &body[cut..]] {
                    out.extend_from_slice(&held.push(door, Bytes::copy_from_slice(part.as_bytes())));
                }
                assert_eq!(
                    (&*out, &*held.rest),
                    (format!("data: 1{end}data: 22{end}").as_bytes(), &b"data: 3"[..]),
                    "{cut}"
                );
            }
        }
    }

    #[test]
    fn the_number_of_the_last_event_is_known() {
        let mut held = Held::default();
        held.push(
            Door::Responses,
            Bytes::from_static(b"data: {\"sequence_number\": 7}\n\ndata: {\"sequence_number\":8}\n\nda"),
        );
        assert_eq!(held.number, Some(8));
        held.push(Door::Responses, Bytes::from_static(b"ta: {}\n\n"));
        assert_eq!(held.number, Some(8));
    }
}
