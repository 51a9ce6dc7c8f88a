//! What a provider says in band when something went wrong, in the spellings that they have for it.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::json::{self, Leaf, Text, shape};

/// Said for an error that says nothing.
pub(super) const NO_MESSAGE: &str = "the provider gave no message";

shape! {
    Fault {
        code: Leaf<'a> = b"code",
        kind: Leaf<'a> = b"type",
        message: Leaf<'a> = b"message",
    }
}

/// Whether JavaScript would call `error` true.
pub(super) fn truthy(error: Leaf<'_>) -> bool {
    error.is_some_and(|error| !matches!(error.get(), "false" | "0" | "\"\""))
}

/// The code and the message of the error that `json` is; it need not be JSON. A type that only says `error` is no
/// code.
pub(super) fn read(json: &str) -> (Option<String>, String) {
    let fault = json::object::<Fault<'_>>(json).unwrap_or_default();
    let number = fault.code.filter(|code| code.get().starts_with(|c: char| c == '-' || c.is_ascii_digit()));
    let code = number.map(|code| code.get().to_owned());
    let kind =
        || json::string(fault.kind.filter(|kind| !Text::of(Some(kind)).is_some_and(|t| t.is("error"))));
    let code = code.or_else(|| json::string(fault.code)).or_else(kind);
    let bare = || json::string(serde_json::from_str(json).ok());
    let message = json::string(fault.message).or_else(bare).unwrap_or_else(|| json.to_owned());
    (code, if matches!(&*message, "" | "{}") { NO_MESSAGE.to_owned() } else { message })
}
