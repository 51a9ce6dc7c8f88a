//! Viewers over HTTP: the native view as SSE or long-poll, the provider's bytes, the bare text.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, http::HeaderMap};
use bytes::{Buf, Bytes};
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::error::Error;
use super::gate::Granted;
use super::lane::{Lane, Order};
use super::params::{Name, Params, invalid};
use super::serve::Link;
use super::{App, long_poll};
use crate::cast::Cast;
use crate::cast::about::rfc3339;
use crate::cast::block::Seq;
use crate::cast::end::Why;
use crate::cast::hub::order::Missing;
use crate::edge::cursor::{Begin, Cursor};
use crate::telemetry::{self, Resume};
use crate::view::View;
use crate::view::events::{Bye, Open, Snapshot};
use crate::viewer::{HEARTBEAT_MS, HEARTBEAT_MS_DEFAULT, Step, Viewer, retry_ms};

/// `GET /v1/streams/{id}/events`
pub(super) async fn events(
    State(app): State<App>,
    Granted(grant): Granted,
    Name(id): Name,
    cursor: Cursor,
    params: Params,
    headers: HeaderMap,
    link: Option<Extension<Link>>,
) -> Result<Response, Error> {
    let heartbeat = params.number("heartbeat_ms", HEARTBEAT_MS)?.unwrap_or(HEARTBEAT_MS_DEFAULT);
    let snapshot = params.flag("snapshot")? && cursor.is_fresh();
    grant.read()?;
    let found = app.find(&grant, &id).await;
    if matches!(found, Err(Missing::Gone)) && !cursor.is_fresh() {
        telemetry::resumed(Resume::Gone);
    }
    let cast = found?;
    let begin = cursor.locate(&cast)?;
    if long_poll::is_wanted(&headers) {
        return long_poll::answer(&app, grant, cast, begin, snapshot, &params).await;
    }
    let after = match begin {
        Begin::After(after) => after,
        Begin::Over(tail) if app.may_lose && cast.end().is_some_and(|end| end.why == Why::Restart) => tail,
        Begin::Over(_) => return Ok(StatusCode::NO_CONTENT.into_response()),
    };

    let status = cast.status();
    let started_at = rfc3339(cast.about().started_ms);
    let open = Open { stream: &id, after, tail: cast.tail(), status, started_at };
    let heartbeat = Duration::from_millis(heartbeat);
    if are_lines_wanted(&headers) {
        let (mut head, mut cursor) = (open.line(), after);
        if snapshot {
            cursor = cast.look(|now| Snapshot::of(&now).line(&mut head)).await?;
        }
        let viewer = Viewer::new(cast, View::Lines, cursor, "http", app.closing.clone())
            .with_heartbeat(heartbeat)
            .until(grant.expires);
        return Ok(stream(LINES, follow(head.into(), viewer, Ending::Polite(&IN_LINES), link)));
    }
    let mut head = open.sse(retry_ms(app.hub.draining().is_cancelled()));
    let mut cursor = after;
    if snapshot {
        cursor = cast.look(|now| Snapshot::of(&now).sse(&mut head)).await?;
    }
    if link.as_ref().is_some_and(|link| link.takes_lane) && cast.end().is_none() {
        let order = Order {
            attached: cast.attach(),
            cast,
            view: View::Events,
            begin: head.into(),
            after: cursor,
            heartbeat,
            expires: grant.expires,
            closing: app.closing.clone(),
        };
        let mut response = stream("text/event-stream", Body::empty());
        response.extensions_mut().insert(Lane::new(order));
        return Ok(response);
    }
    let viewer = Viewer::new(cast, View::Events, cursor, "sse", app.closing.clone())
        .with_heartbeat(heartbeat)
        .until(grant.expires);
    let body = follow(head.into(), viewer, Ending::Polite(&IN_SSE), link);
    Ok(stream("text/event-stream", body).into_response())
}

/// `GET /v1/streams/{id}/raw`
pub(super) async fn raw(
    State(app): State<App>,
    Granted(grant): Granted,
    Name(id): Name,
    params: Params,
    link: Option<Extension<Link>>,
) -> Result<Response, Error> {
    let cursor = Cursor::read(&params, None)?;
    let offset = params.number("offset", 0..=u64::MAX)?;
    if offset.is_some() && params.get("after")?.is_some() {
        return Err(invalid("offset", "give either `offset` or `after`"));
    }
    grant.read()?;
    let cast = app.find(&grant, &id).await?;
    // Who waits is a viewer, too.
    let _waiting = cast.attach();
    cast.watch().begun().await;
    // It may have been purged meanwhile.
    app.find(&grant, &id).await?;
    if let Some(end) = cast.end().filter(|end| end.blocks == 0) {
        return Err(Error::empty(&end));
    }
    let (after, skip, offset) = match offset {
        Some(offset) => {
            let ahead = || Error::cursor_ahead(cast.tail(), cast.bytes());
            let (after, skip) = cast.at_offset(offset).await?.ok_or_else(ahead)?;
            (after, skip, offset)
        }
        None => match cursor.locate(&cast)? {
            Begin::After(after) => (after, 0, cast.offset(after).await?),
            Begin::Over(tail) => return Err(Error::cursor_ahead(tail, cast.bytes())),
        },
    };
    let content_type = cast.content_type().unwrap_or("text/event-stream").to_owned();
    let viewer = viewer(&app, cast, View::Raw, after).until(grant.expires);
    let mut response = stream(&content_type, follow_from(Bytes::new(), skip, viewer, Ending::Abnormal, link));
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("tokencast-after"), after.into());
    headers.insert(HeaderName::from_static("tokencast-offset"), offset.into());
    Ok(response)
}

/// `GET /v1/streams/{id}/text`
pub(super) async fn text(
    State(app): State<App>,
    Granted(grant): Granted,
    Name(id): Name,
    cursor: Cursor,
    link: Option<Extension<Link>>,
) -> Result<Response, Error> {
    grant.read()?;
    let cast = app.find(&grant, &id).await?;
    let after = match cursor.locate(&cast)? {
        Begin::After(after) => after,
        Begin::Over(tail) => return Err(Error::cursor_ahead(tail, cast.bytes())),
    };
    let viewer = viewer(&app, cast, View::Text, after).until(grant.expires);
    Ok(stream("text/plain; charset=utf-8", follow(Bytes::new(), viewer, Ending::Abnormal, link)))
}

fn viewer(app: &App, cast: Cast, view: View, after: Seq) -> Viewer {
    Viewer::new(cast, view, after, "http", app.closing.clone())
}

const LINES: &str = "application/x-ndjson";

/// Whether a script asks for events as lines of JSON.
fn are_lines_wanted(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    accepts
        .flat_map(|accept| accept.split(','))
        .any(|accept| accept.split(';').next().is_some_and(|it| it.trim() == LINES))
}

/// What is said beside events.
#[derive(Debug)]
struct Words {
    heartbeat: &'static [u8],
    bye: fn(&Bye) -> Vec<u8>,
}

const IN_SSE: Words = Words { heartbeat: b": hb\n\n", bye: Bye::sse };
const IN_LINES: Words =
    Words { heartbeat: b"{\"id\":null,\"event\":\"heartbeat\",\"data\":{}}\n", bye: Bye::line };

/// What a body does when the stream has ended.
#[derive(Debug, Clone, Copy)]
enum Ending {
    /// The view itself says how the stream ended, and what else there is to say in these words.
    Polite(&'static Words),
    /// The body breaks off, so that nobody takes it for whole.
    Abnormal,
}

fn follow(head: Bytes, viewer: Viewer, ending: Ending, link: Option<Extension<Link>>) -> Body {
    follow_from(head, 0, viewer, ending, link)
}

/// A body that says `head`, and then everything that the viewer has to tell, less the first `skip` bytes of it.
fn follow_from(
    head: Bytes,
    mut skip: usize,
    mut viewer: Viewer,
    ending: Ending,
    link: Option<Extension<Link>>,
) -> Body {
    Body::from_stream(async_stream::stream! {
        // How often the socket had taken everything when the last bytes were handed over.
        let mut flushed = flushes(link.as_ref());
        if !head.is_empty() {
            yield Ok(head);
        }
        let why = loop {
            match viewer.next().await {
                Step::Batch { mut bytes, .. } => {
                    bytes.advance(std::mem::take(&mut skip));
                    flushed = flushes(link.as_ref());
                    yield Ok(bytes);
                }
                Step::Heartbeat => {
                    if let Ending::Polite(words) = ending {
                        yield Ok(Bytes::from_static(words.heartbeat));
                    }
                }
                Step::End { bytes, end } => {
                    if !bytes.is_empty() {
                        flushed = flushes(link.as_ref());
                        yield Ok(bytes);
                    }
                    if matches!(ending, Ending::Polite(_)) || end.is_completed() {
                        return;
                    }
                    break end.why.reason();
                }
                Step::Bye(bye) => match ending {
                    Ending::Polite(words) => {
                        yield Ok((words.bye)(&bye).into());
                        return;
                    }
                    Ending::Abnormal => break bye.code,
                },
            }
        };
        // What was said must be out before the connection breaks off: hyper drops what it still holds.
        said(link.as_ref(), flushed).await;
        yield Err(io::Error::other(why));
    })
}

/// How often the socket has taken everything so far.
pub(super) fn flushes(link: Option<&Extension<Link>>) -> u64 {
    link.map_or(0, |link| link.flushes.count())
}

/// Returns when what was handed over since then has left for the socket.
pub(super) async fn said(link: Option<&Extension<Link>>, flushed: u64) {
    match link {
        Some(Extension(Link { flushes, is_shared: true, .. })) => flushes.quiet().await,
        Some(Extension(Link { flushes, .. })) => flushes.beyond(flushed).await,
        None => {}
    }
}

/// A response that nobody on the way may buffer or change.
fn stream(content_type: &str, body: Body) -> Response {
    let content_type = HeaderValue::from_str(content_type);
    let content_type = content_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}
