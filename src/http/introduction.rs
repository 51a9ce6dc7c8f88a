//! What an answer says of the stream behind it: its id, where it is, and a ticket.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{App, intake};
use crate::auth::Grant;
use crate::cast::Cast;

/// Which stream this is.
pub(super) fn introduce(app: &App, grant: &Grant, cast: &Cast, headers: &mut HeaderMap) {
    let id = cast.id().as_str();
    if let (Ok(id), Ok(location)) =
        (HeaderValue::from_str(id), HeaderValue::from_str(&format!("/v1/streams/{id}")))
    {
        headers.insert(HeaderName::from_static("tokencast-stream-id"), id);
        headers.insert(header::LOCATION, location);
    }
    // For pages that its caller answers. Whoever came by a ticket has one.
    if grant.start().is_ok()
        && let Ok(ticket) = HeaderValue::from_str(&intake::ticket(app, grant, cast).0)
    {
        headers.insert(HeaderName::from_static("tokencast-ticket"), ticket);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
}
