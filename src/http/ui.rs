//! The AI SDK's UI message stream: from its beginning, or from one of its chunks.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::io;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::{Buf, Bytes};
use http::{HeaderName, HeaderValue, header};
use memchr::memmem;
use serde::Deserialize;

use super::App;
use super::chat::Noted;
use super::error::Error;
use super::gate::Granted;
use super::introduction::introduce;
use super::manners;
use super::params::{Name, Params, invalid};
use super::serve::Link;
use super::viewing::{Sight, flushes, said};
use crate::auth::Grant;
use crate::cast::about::About;
use crate::cast::log::Read;
use crate::cast::pages::Page;
use crate::cast::{Attached, Cast};
use crate::view::View;
use crate::view::ui::{DONE, opening};
use crate::viewer::{BATCH_BYTES_MAX, HEARTBEAT_MS_DEFAULT, Step, Viewer};

/// Behind every chunk.
const BORDER: &[u8] = b"\n\n";

/// `GET /v1/streams/{id}/ui[?startIndex=N]`
pub(super) async fn show(
    State(app): State<App>,
    Granted(grant): Granted,
    Name(id): Name,
    params: Params,
    link: Option<Extension<Link>>,
) -> Result<Response, Error> {
    grant.read()?;
    let cast = app.find(&grant, &id).await?;
    follow(&app, &grant, cast.try_attach()?, start_index(&params)?.unwrap_or(0), link).await
}

/// Which chunk to begin with, counted from the first one, or from behind the last one if it is negative.
pub(super) fn start_index(params: &Params) -> Result<Option<i64>, Error> {
    let Some(index) = params.get("startIndex")? else { return Ok(None) };
    let wanted =
        || invalid("startIndex", "write a whole number: of chunks received, or of the last chunks, negative");
    index.parse().map(Some).map_err(|_| wanted())
}

/// The stream from one of its chunks on.
pub(super) async fn follow(
    app: &App,
    grant: &Grant,
    attached: Attached,
    index: i64,
    link: Option<Extension<Link>>,
) -> Result<Response, Error> {
    let skip = match u64::try_from(index) {
        Ok(index) => index,
        Err(_) => rewind(&attached, index.unsigned_abs()).await?,
    };
    let cast = Cast::clone(&attached);
    let head = begin(cast.about());
    let sight = Sight {
        cast: attached,
        view: View::Ui,
        transport: "http",
        manners: &manners::UI,
        after: 0,
        heartbeat: Some(Duration::from_millis(HEARTBEAT_MS_DEFAULT)),
        expires: grant.expires,
    };
    let mut response = match skip {
        0 => sight.answer(app, head, "text/event-stream", link.as_ref()),
        _ => body(head, skip, sight.viewer(app.closing.clone()), link).into_response(),
    };
    let headers = response.headers_mut();
    introduce(app, grant, &cast, headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(HeaderName::from_static("x-vercel-ai-ui-message-stream"), HeaderValue::from_static("v1"));
    if let Ok(id) = HeaderValue::from_str(cast.id().as_str()) {
        headers.insert(HeaderName::from_static("x-workflow-run-id"), id);
    }
    if index < 0 {
        // A client goes on counting from where this and its own number say that it began.
        let tail = skip.saturating_add(index.unsigned_abs()).saturating_sub(1);
        headers.insert(HeaderName::from_static("x-workflow-stream-tail-index"), tail.into());
    }
    Ok(response)
}

/// The chunks before the first frame. A message that was begun by an earlier stream goes on under its id.
fn begin(about: &About) -> Bytes {
    let message = Noted::of(about).and_then(|noted| noted.message);
    opening(&message.unwrap_or_else(|| format!("msg-{}", about.id))).into()
}

/// Everything that the viewer has to tell, less the first chunks. The last words are for everybody: whoever misses them
/// comes again at once, for ever.
fn body(head: Bytes, mut skip: u64, mut viewer: Viewer, link: Option<Extension<Link>>) -> Body {
    Body::from_stream(async_stream::stream! {
        let mut flushed = flushes(link.as_ref());
        let head = behind(&head, &mut skip);
        if !head.is_empty() {
            yield Ok(head);
        }
        let why = loop {
            match viewer.next().await {
                Step::Batch { bytes, .. } => {
                    let bytes = behind(&bytes, &mut skip);
                    if !bytes.is_empty() {
                        flushed = flushes(link.as_ref());
                        yield Ok(bytes);
                    }
                }
                Step::Heartbeat => yield Ok(Bytes::from_static(b": hb\n\n")),
                Step::End { bytes, .. } => {
                    let last = memmem::find_iter(words(&bytes), BORDER).count().saturating_sub(1);
                    skip = skip.min(last as u64);
                    yield Ok(behind(&bytes, &mut skip));
                    return;
                }
                Step::Bye(bye) => break bye.code,
            }
        };
        // Not an end: nobody may take it for one.
        said(link.as_ref(), flushed).await;
        yield Err(io::Error::other(why));
    })
}

/// The last bytes of a stream without their last line.
fn words(bytes: &[u8]) -> &[u8] {
    bytes.get(..bytes.len().saturating_sub(DONE.len())).unwrap_or_default()
}

/// What lies behind the first `skip` chunks, which are counted down.
fn behind(bytes: &Bytes, skip: &mut u64) -> Bytes {
    let mut rest = bytes.clone();
    while *skip > 0
        && let Some(at) = memmem::find(&rest, BORDER)
    {
        rest.advance(at.saturating_add(BORDER.len()));
        *skip = skip.saturating_sub(1);
    }
    rest
}

/// The beginning of a part at or before the chunk that is the `last`-th from behind, of those that are there now. No
/// other part is open there: whoever begins with it has the beginning of everything that follows.
async fn rewind(cast: &Cast, last: u64) -> Result<u64, Error> {
    let mut scan = Scan::default();
    scan.take(&begin(cast.about()));
    let (mut cursor, mut page) = (0, Page::default());
    loop {
        match cast.read_on(View::Ui.source(), cursor, BATCH_BYTES_MAX, &mut page).await? {
            Read::Batch { bytes, upto, .. } => {
                scan.take(&bytes);
                cursor = upto;
            }
            Read::End { bytes, .. } => {
                scan.take(words(&bytes));
                break;
            }
            Read::Pending => break,
            Read::Gone => return Err(crate::cast::hub::order::Missing::Gone.into()),
            Read::Broken => return Err(Error::broken()),
        }
    }
    let wanted = scan.count.saturating_sub(last);
    let place = scan.begins.partition_point(|begin| *begin <= wanted);
    let begin = place.checked_sub(1).and_then(|place| scan.begins.get(place));
    Ok(begin.copied().unwrap_or(0))
}

/// Finds where in a stream one can begin.
#[derive(Debug, Default)]
struct Scan {
    count: u64,
    open: usize,
    begins: Vec<u64>,
}

impl Scan {
    fn take(&mut self, bytes: &[u8]) {
        #[derive(Deserialize)]
        struct Chunk<'a> {
            r#type: &'a str,
        }
        let mut begin = 0;
        for end in memmem::find_iter(bytes, BORDER) {
            let chunk = bytes.get(begin..end).and_then(|chunk| chunk.strip_prefix(b"data: "));
            let chunk = chunk.unwrap_or_default();
            begin = end.saturating_add(BORDER.len());
            match serde_json::from_slice::<Chunk<'_>>(chunk).map_or("", |chunk| chunk.r#type) {
                "start" => self.begins.push(self.count),
                "text-start" | "reasoning-start" | "tool-input-start" => {
                    if self.open == 0 {
                        self.begins.push(self.count);
                    }
                    self.open = self.open.saturating_add(1);
                }
                "text-end" | "reasoning-end" | "tool-input-available" | "tool-input-error" => {
                    self.open = self.open.saturating_sub(1);
                }
                _ => {}
            }
            self.count = self.count.saturating_add(1);
        }
    }
}
