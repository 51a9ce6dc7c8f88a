//! From what is asked for to a subscription that stands: whether it may be, where it begins, and the first records.

use std::time::Duration;

use wtransport::Connection;

use super::subscription::{Followed, Opened, open_stream};
use crate::auth::Credential;
use crate::cast::about::rfc3339;
use crate::cast::hub::order::Missing;
use crate::edge::Edge;
use crate::edge::cursor::{Begin, Cursor};
use crate::edge::refusal::Refusal;
use crate::telemetry::{self, Resume};
use crate::view::View;
use crate::view::events::{Bye, Open, Snapshot};
use crate::view::msgpack;
use crate::viewer::{HEARTBEAT_MS_DEFAULT, Viewer, retry_ms};

/// The stream that is asked for, and how.
pub(super) struct Ask {
    pub(super) number: u32,
    pub(super) stream: String,
    pub(super) cursor: Cursor,
    pub(super) snapshot: bool,
    pub(super) heartbeat: Duration,
    pub(super) credential: Credential,
}

/// Finds the stream and opens the way to the client.
pub(super) async fn follow(connection: &Connection, edge: &Edge, ask: Ask) -> Result<Opened, Refusal> {
    let Ask { number, stream, cursor, snapshot, heartbeat, credential } = ask;
    let peer = connection.remote_address().ip();
    edge.addresses.subscribe(peer).map_err(Refusal::rate_limited)?;
    let grant = edge.gate.grant_to(&credential)?;
    grant.read()?;
    let found = edge.find(&grant, &stream).await;
    if matches!(found, Err(Missing::Gone)) && !cursor.is_fresh() {
        telemetry::resumed(Resume::Gone);
    }
    let cast = found?;
    let (after, mut seen) = match cursor.locate(&cast)? {
        Begin::After(after) => (after, after),
        // The end is all that there is to tell, once more.
        Begin::Over(tail) => (tail + 1, tail),
    };
    let attached = cast.try_attach();
    let mut first = Vec::new();
    if attached.is_ok() && snapshot && cursor.is_fresh() {
        seen = cast.look(|now| msgpack::snapshot(&Snapshot::of(&now), &mut first)).await?;
        if first.len() > msgpack::RECORD_BYTES_MAX + msgpack::LEN_BYTES {
            return Err(Refusal::snapshot_too_large());
        }
    }
    let way = open_stream(connection).await?;
    let (status, tail) = (cast.status(), cast.tail());
    let started_at = rfc3339(cast.about().started_ms);
    let open = Open { stream: &stream, after, tail, status, started_at };
    let mut head = msgpack::header(number, &open, retry_ms(edge.hub.draining().is_cancelled()));
    let Ok(attached) = attached else {
        head.extend(msgpack::bye(&Bye { code: "too_many", retry_ms: retry_ms(true) }));
        return Ok(Opened { stream: way, head: head.into(), followed: None });
    };
    head.append(&mut first);
    let viewer = Viewer::new(attached, View::Packed, seen, "webtransport", edge.closing.clone())
        .with_heartbeat(heartbeat)
        .until(grant.expires);
    let followed = Followed { viewer, cast, grant, after, tail };
    Ok(Opened { stream: way, head: head.into(), followed: Some(followed) })
}

pub(super) fn heartbeat(ms: Option<u64>) -> Duration {
    Duration::from_millis(ms.unwrap_or(HEARTBEAT_MS_DEFAULT))
}
