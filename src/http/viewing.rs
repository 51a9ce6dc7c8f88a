//! Viewers over HTTP: the native view as SSE or long-poll, the provider's bytes, the bare text.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, http::HeaderMap};
use bytes::{Buf, Bytes};
use http::{HeaderName, HeaderValue, StatusCode, header};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::gate::Granted;
use super::lane::{Lane, Order};
use super::manners::{self, Manners};
use super::params::{Name, Params, invalid};
use super::serve::Link;
use super::{App, long_poll};
use crate::auth::Denied;
use crate::cast::about::rfc3339;
use crate::cast::block::Seq;
use crate::cast::end::Why;
use crate::cast::hub::order::Missing;
use crate::cast::log::Read;
use crate::cast::pages::Page;
use crate::cast::{Attached, Cast, Now};
use crate::edge::cursor::{Begin, Cursor};
use crate::heavy;
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
    let is_poll = long_poll::is_wanted(&headers);
    if (is_poll || snapshot && heavy::is_much(cast.bytes()))
        && let Some(Extension(link)) = &link
    {
        // Nothing may be said to it for long, and who hangs up is no viewer.
        link.answering.set(false);
    }
    if is_poll {
        return long_poll::answer(&app, grant, cast.try_attach()?, begin, snapshot, &params).await;
    }
    let after = match begin {
        Begin::After(after) => after,
        Begin::Over(tail) if app.may_lose && cast.end().is_some_and(|end| end.why == Why::Restart) => tail,
        Begin::Over(_) => return Ok(StatusCode::NO_CONTENT.into_response()),
    };

    let status = cast.status();
    let started_at = rfc3339(cast.about().started_ms);
    let open = Open { stream: &id, after, tail: cast.tail(), status, started_at };
    let cast = match cast.try_attach() {
        Ok(attached) => attached,
        Err(_) if is_wanted(&headers, EVENT_STREAM) => {
            let bye = Bye { code: "too_many", retry_ms: retry_ms(true) };
            return Ok(stream(EVENT_STREAM, sent_away(&open, &bye).into()));
        }
        Err(reached) => return Err(reached.into()),
    };
    let is_lines = is_wanted(&headers, LINES);
    let mut head = if is_lines { open.line() } else { open.sse(retry_ms(app.hub.draining().is_cancelled())) };
    let mut cursor = after;
    if snapshot {
        let write = |now: Now<'_>| {
            let snapshot = Snapshot::of(&now);
            if is_lines { snapshot.line(&mut head) } else { snapshot.sse(&mut head) }
        };
        cursor = cast.look(write).await?;
    }
    let (view, transport, manners, content_type) = match is_lines {
        true => (View::Lines, "http", &manners::LINES, LINES),
        false => (View::Events, "sse", &manners::EVENTS, EVENT_STREAM),
    };
    let heartbeat = Some(Duration::from_millis(heartbeat));
    let sight = Sight { cast, view, transport, manners, after: cursor, heartbeat, expires: grant.expires };
    Ok(sight.answer(&app, head.into(), content_type, link.as_ref()))
}

/// What a client that gives up at an error is told where there is no place for it.
fn sent_away(open: &Open<'_>, bye: &Bye) -> Vec<u8> {
    [open.sse(bye.retry_ms), bye.sse()].concat()
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
    let cast = cast.try_attach()?;
    tokio::select! {
        () = async { cast.watch().begun().await } => {}
        () = over(grant.expires) => return Err(Denied::Expired.into()),
    }
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
    let content_type = cast.content_type().unwrap_or(EVENT_STREAM).to_owned();
    let mut sight = Sight::bare(cast, View::Raw, after, grant.expires);
    let mut head = Bytes::new();
    if skip > 0 {
        // The rest of the block that holds the byte.
        let read = sight.cast.read_on(View::Raw.source(), after, 1, &mut Page::default()).await?;
        if let Read::Batch { mut bytes, upto, .. } = read {
            bytes.advance(skip);
            (head, sight.after) = (bytes, upto);
        }
    }
    let mut response = sight.answer(&app, head, &content_type, link.as_ref());
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
    let sight = Sight::bare(cast.try_attach()?, View::Text, after, grant.expires);
    Ok(sight.answer(&app, Bytes::new(), "text/plain; charset=utf-8", link.as_ref()))
}

/// What `EventSource` and its like ask for.
pub(super) const EVENT_STREAM: &str = "text/event-stream";
/// What a script asks for that wants events as lines of JSON.
const LINES: &str = "application/x-ndjson";

/// Whether the caller names this media type among those that it takes.
pub(super) fn is_wanted(headers: &HeaderMap, media_type: &str) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    accepts
        .flat_map(|accept| accept.split(','))
        .any(|accept| accept.split(';').next().is_some_and(|it| it.trim() == media_type))
}

/// What a viewer sees, and from where on.
pub(super) struct Sight {
    pub(super) cast: Attached,
    pub(super) view: View,
    pub(super) transport: &'static str,
    pub(super) manners: &'static Manners,
    pub(super) after: Seq,
    pub(super) heartbeat: Option<Duration>,
    pub(super) expires: Option<Instant>,
}

impl Sight {
    fn bare(cast: Attached, view: View, after: Seq, expires: Option<Instant>) -> Self {
        Self { cast, view, transport: "http", manners: &manners::BARE, after, heartbeat: None, expires }
    }

    /// A response that says `head`, and then everything that there is to see.
    pub(super) fn answer(
        self,
        app: &App,
        head: Bytes,
        content_type: &str,
        link: Option<&Extension<Link>>,
    ) -> Response {
        let closing = app.closing.clone();
        if link.is_none_or(|link| !link.takes_lane) || self.cast.end().is_some() {
            return stream(content_type, self.body(head, closing, link.cloned()));
        }
        let Self { cast: attached, view, transport, manners, after, heartbeat, expires } = self;
        let cast = Cast::clone(&attached);
        let order = Order {
            cast,
            view,
            transport,
            manners,
            begin: head,
            after,
            heartbeat,
            expires,
            closing,
            attached,
        };
        let mut response = stream(content_type, Body::empty());
        response.extensions_mut().insert(Lane::new(order));
        response
    }

    pub(super) fn viewer(self, closing: CancellationToken) -> Viewer {
        let Self { cast, view, transport, after, heartbeat, expires, .. } = self;
        let viewer = Viewer::new(cast, view, after, transport, closing).until(expires);
        match heartbeat {
            Some(every) => viewer.with_heartbeat(every),
            None => viewer,
        }
    }

    fn body(self, head: Bytes, closing: CancellationToken, link: Option<Extension<Link>>) -> Body {
        let manners = self.manners;
        let mut viewer = self.viewer(closing);
        Body::from_stream(async_stream::stream! {
            // How often the socket had taken everything when the last bytes were handed over.
            let mut flushed = flushes(link.as_ref());
            if !head.is_empty() {
                yield Ok(head);
            }
            let why = loop {
                match viewer.next().await {
                    Step::Batch { bytes, .. } => {
                        flushed = flushes(link.as_ref());
                        yield Ok(bytes);
                    }
                    Step::Heartbeat => yield Ok(Bytes::from_static(manners.heartbeat.unwrap_or_default())),
                    Step::End { bytes, end } => {
                        if !bytes.is_empty() {
                            flushed = flushes(link.as_ref());
                            yield Ok(bytes);
                        }
                        if manners.tells_end || end.is_completed() {
                            return;
                        }
                        break end.why.reason();
                    }
                    Step::Bye(bye) => match manners.bye {
                        Some(words) => {
                            yield Ok(words(&bye).into());
                            return;
                        }
                        None => break bye.code,
                    },
                }
            };
            // What was said must be out before the connection breaks off: hyper drops what it still holds.
            said(link.as_ref(), flushed).await;
            yield Err(io::Error::other(why));
        })
    }
}

/// Returns when a grant is over, if it ever is.
async fn over(expires: Option<Instant>) {
    match expires {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
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
