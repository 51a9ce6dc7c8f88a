//! Where a viewer wants to begin: `Last-Event-ID`, else `?after=N`, else `?from=live`.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use http::HeaderMap;

use super::query::{Query, digits};
use super::refusal::Refusal;
use crate::cast::Cast;
use crate::cast::block::Seq;
use crate::telemetry::{self, Resume};

/// The largest whole number that JavaScript counts exactly.
const CURSOR_MAX: u64 = (1 << 53) - 1;

/// What a request says about its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    after: Option<Seq>,
    live: bool,
}

/// Where a viewing begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    After(Seq),
    /// The viewer has seen everything, the end included.
    Over(Seq),
}

impl Cursor {
    /// Of a message that says it outright.
    pub(crate) fn new(after: Option<Seq>, live: bool) -> Result<Self, Refusal> {
        match after {
            Some(after) if after > CURSOR_MAX => Err(too_large("after")),
            after => Ok(Self { after, live }),
        }
    }

    /// Of a request whose headers count (`Last-Event-ID` wins), or whose query alone does.
    pub(crate) fn read(query: &Query, headers: Option<&HeaderMap>) -> Result<Self, Refusal> {
        let in_query = query.get("after").map_err(|_| invalid("after: give it once"))?;
        let in_query = in_query.map(|text| parse("after", &text)).transpose()?;
        let live = match query.get("from").map_err(|_| invalid("from: give it once"))?.as_deref() {
            None => false,
            Some("live") => true,
            Some(_) => return Err(invalid("from: write `from=live`, or `after=N`")),
        };
        let in_header = headers.map(last_event_id).transpose()?.flatten();
        Ok(Self { after: in_header.or(in_query), live })
    }

    /// Whether the viewer begins at the beginning, or at no place of its own.
    pub(crate) fn is_fresh(self) -> bool {
        self.after.is_none_or(|after| after == 0)
    }

    /// Where this is in the log; ahead of it is an error.
    pub(crate) fn locate(self, cast: &Cast) -> Result<Begin, Refusal> {
        // In the log itself: what wakes viewers may not have heard yet of a block that this one has seen.
        let (tail, ended) = (cast.tail(), cast.end().is_some());
        let Some(after) = self.after else {
            return Ok(Begin::After(if self.live { tail } else { 0 }));
        };
        #[cfg(planted_bug = "cursor_ahead_accepted")]
        let after = after.min(tail);
        #[cfg(planted_bug = "resume_skips_a_block")]
        let after = (after + u64::from(after > 0)).min(tail);
        if after <= tail {
            if after > 0 {
                telemetry::resumed(Resume::Resumed);
            }
            return Ok(Begin::After(after));
        }
        if ended && after.checked_sub(1) == Some(tail) {
            telemetry::resumed(Resume::Over);
            return Ok(Begin::Over(tail));
        }
        telemetry::resumed(Resume::Ahead);
        Err(Refusal::cursor_ahead(tail, cast.bytes()))
    }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Seq>, Refusal> {
    let mut values = headers.get_all("last-event-id").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid("Last-Event-ID: give it once"));
    }
    match value.to_str() {
        Ok("") => Ok(None),
        Ok(text) => parse("Last-Event-ID", text).map(Some),
        Err(_) => Err(invalid("Last-Event-ID: write digits only")),
    }
}

fn parse(name: &str, text: &str) -> Result<Seq, Refusal> {
    let cursor = digits(text).filter(|cursor| *cursor <= CURSOR_MAX);
    cursor.ok_or_else(|| too_large(name))
}

fn too_large(name: &str) -> Refusal {
    invalid(format!(
        "{name}: write the id of the last event that you have, in digits only, at most {CURSOR_MAX}"
    ))
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::bad_request("invalid_cursor", message)
}
