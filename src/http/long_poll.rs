//! The native view as one JSON answer: what there is behind the cursor, or what comes within a while.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use tokio::time::{Instant, timeout_at};

use super::App;
use super::error::Error;
use super::params::Params;
use crate::auth::Grant;
use crate::cast::Attached;
use crate::cast::hub::order::Missing;
use crate::edge::cursor::Begin;
use crate::view::View;
use crate::view::events::{Bye, Snapshot};
use crate::viewer::{Step, Viewer};

const WAIT_S_MAX: u64 = 60;
const WAIT_S_DEFAULT: u64 = 25;

/// Whether the client asks for JSON and not for a stream of events.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepts: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok()).collect();
    let names = |media_type: &str| accepts.iter().any(|accept| accept.contains(media_type));
    names("application/json") && !names("text/event-stream")
}

/// `{"events":[…],"cursor":N,"end":…}`, at once if there is anything to say, and after `wait_s` at the latest.
pub(super) async fn answer(
    app: &App,
    grant: Grant,
    cast: Attached,
    begin: Begin,
    snapshot: bool,
    params: &Params,
) -> Result<Response, Error> {
    let wait = params.number("wait_s", 0..=WAIT_S_MAX)?.unwrap_or(WAIT_S_DEFAULT);
    let now = Instant::now();
    let deadline = now.checked_add(Duration::from_secs(wait)).unwrap_or(now);
    let (Begin::After(mut cursor) | Begin::Over(mut cursor)) = begin;
    let mut events = Vec::new();
    if snapshot {
        cursor = cast.look(|now| Snapshot::of(&now).poll(&mut events)).await?;
    }
    let mut viewer =
        Viewer::new(cast, View::Poll, cursor, "long_poll", app.closing.clone()).until(grant.expires);
    let mut end = None;
    while end.is_none() {
        // Once there is something to say, only what is there already is said with it.
        let until = if events.is_empty() { deadline } else { Instant::now() };
        match timeout_at(until, viewer.next()).await {
            Ok(Step::Batch { bytes, .. }) => {
                events.extend_from_slice(&bytes);
                if events.len() >= crate::viewer::BATCH_BYTES_MAX {
                    break;
                }
            }
            Ok(Step::End { bytes, end: record }) => {
                cursor = record.seq();
                end = Some(bytes);
            }
            Ok(Step::Heartbeat) => {}
            Ok(Step::Bye(Bye { code: "gone", .. })) => return Err(Missing::Gone.into()),
            Ok(Step::Bye(_)) | Err(_) => break,
        }
    }
    if end.is_none() {
        cursor = viewer.cursor();
    }
    let mut body = b"{\"events\":[".to_vec();
    body.extend_from_slice(events.get(1..).unwrap_or_default());
    body.extend_from_slice(format!("],\"cursor\":{cursor},\"end\":").as_bytes());
    body.extend_from_slice(end.as_deref().unwrap_or(b"null"));
    body.push(b'}');
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, body).into_response())
}
