//! The error table: what the core refuses, as a status, a stable code and a sentence that says what to do. HTTP answers
//! with all of it; in band it is the code, the sentence and the detail.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::auth::Denied;
use crate::cast::account::Reached;
use crate::cast::durable::StorageError;
use crate::cast::end::End;
use crate::cast::hub::order::{AskError, LeftAlone, Missing, Refused};
use crate::cast::pages::Unread;
use crate::telemetry;

/// An answer that is no success.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) detail: Option<Value>,
    /// When it makes sense to come again, where that is known.
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), detail: None, retry_after: None }
    }

    pub(crate) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn with(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// A cursor that nobody can have: the log is shorter.
    pub(crate) fn cursor_ahead(tail: u64, bytes: u64) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "cursor_ahead",
            format!(
                "the cursor is ahead of this stream, which has {tail} blocks: begin at or below detail.tail"
            ),
        )
        .with(json!({ "tail": tail, "bytes": bytes }))
    }

    /// A subscription for which there is no place in its session.
    pub(crate) fn too_many_subscriptions(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_subscriptions", message)
    }

    /// A snapshot that is larger than a record over WebTransport can be.
    pub(crate) fn snapshot_too_large() -> Self {
        let message = "the snapshot of this stream is larger than 32 MiB: follow it without `snapshot`";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "snapshot_too_large", message)
    }

    /// Views and subscriptions that come too fast.
    pub(crate) fn rate_limited(wait: Duration) -> Self {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let message = "this address asks for new views too fast (addresses.subscriptions_per_s): slow down";
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message);
        Self { retry_after: Some(wait), ..refusal.with(json!({ "retry_ms": wait_ms })) }
    }

    /// A stream that ended before its first byte.
    pub(crate) fn empty(end: &End) -> Self {
        let (reason, code) = end.why.wire();
        let message = end.message.clone().unwrap_or_else(|| "the stream ended without a byte".into());
        Self::new(StatusCode::BAD_GATEWAY, code.unwrap_or(reason), message).with(json!({ "end": end.wire() }))
    }

    /// A stream that cannot be shown.
    pub(crate) fn broken() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "this view of the stream cannot be rendered: read it as `raw`",
        )
    }

    /// What the journal did not take.
    pub(crate) fn storage(error: &StorageError) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage_error", error.to_string())
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let (status, code) = match denied {
            Denied::Nothing | Denied::UnknownKey => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Denied::BadTicket | Denied::BadClaims(_) => (StatusCode::UNAUTHORIZED, "invalid_ticket"),
            Denied::Expired => (StatusCode::UNAUTHORIZED, "ticket_expired"),
            Denied::NotByTicket | Denied::NoWatch | Denied::NoStop | Denied::NoScope(_) => {
                (StatusCode::FORBIDDEN, "forbidden")
            }
        };
        telemetry::denied(code);
        Self::new(status, code, denied.to_string())
    }
}

impl From<Missing> for Refusal {
    fn from(missing: Missing) -> Self {
        let (status, code) = match &missing {
            Missing::Unknown => (StatusCode::NOT_FOUND, "not_found"),
            Missing::Gone => (StatusCode::GONE, "gone"),
            Missing::Unreadable(_) => (StatusCode::INTERNAL_SERVER_ERROR, "storage_error"),
        };
        Self::new(status, code, missing.to_string())
    }
}

impl From<Unread> for Refusal {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Storage(error) => Missing::Unreadable(error).into(),
            Unread::Gone => Missing::Gone.into(),
            Unread::Full => Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", unread.to_string()),
        }
    }
}

impl From<Reached> for Refusal {
    fn from(reached: Reached) -> Self {
        let Reached { key, max, retry_after } = reached;
        let refusal = if reached.is_quota() {
            Self::new(StatusCode::TOO_MANY_REQUESTS, "quota_exceeded", reached.to_string())
        } else {
            Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", reached.to_string())
        };
        Self { retry_after: Some(retry_after), ..refusal.with(json!({ "limit": key, "max": max })) }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let (status, code) = match &refused {
            Refused::Ask(ask) => match ask {
                AskError::UnknownProvider { .. } => (StatusCode::BAD_REQUEST, "unknown_provider"),
                AskError::UnknownModel { .. } | AskError::NoModel | AskError::NoPath => {
                    (StatusCode::BAD_REQUEST, "unknown_model")
                }
                AskError::PathNotAllowed { .. } => (StatusCode::BAD_REQUEST, "path_not_allowed"),
                AskError::BadRequest(_) => (StatusCode::BAD_REQUEST, "invalid_field"),
                AskError::NoCredentials { .. } => (StatusCode::UNAUTHORIZED, "no_credentials"),
                AskError::LeftAlone(LeftAlone { retry_after, .. }) => {
                    let refusal =
                        Self::new(StatusCode::SERVICE_UNAVAILABLE, "upstream_connect", ask.to_string());
                    return Self { retry_after: Some(*retry_after), ..refusal };
                }
            },
            Refused::KeyMismatch => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_mismatch"),
            Refused::IdConflict(_) => (StatusCode::CONFLICT, "id_conflict"),
            Refused::IdUsed(_) => (StatusCode::CONFLICT, "id_used"),
            Refused::KeyGone => (StatusCode::GONE, "gone"),
            Refused::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Refused::Full(_) => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            Refused::Quota(reached) => return Self::from(*reached),
            Refused::Storage(_) => (StatusCode::INSUFFICIENT_STORAGE, "storage_error"),
        };
        Self::new(status, code, refused.to_string())
    }
}
