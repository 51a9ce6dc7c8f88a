//! The chat of the AI SDK to which a stream belongs.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use serde::{Deserialize, Serialize};

use crate::cast::about::About;

/// What a stream's metadata says of its chat.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Noted {
    pub(super) chat: String,
    /// The message of an earlier stream that this one goes on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

impl Noted {
    pub(super) fn of(about: &About) -> Option<Self> {
        serde_json::from_str(about.metadata.as_ref()?.get()).ok()
    }
}
