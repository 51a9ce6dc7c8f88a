//! What a viewer has at last: deltas put together again.

use crate::viewing::Event;

/// The text of one choice.
pub(crate) fn text(events: &[Event], choice: u64) -> String {
    let of = |event: &&Event| event.name == "text" && event.data["choice"].as_u64().unwrap_or(0) == choice;
    events.iter().filter(of).map(|event| event.data["text"].as_str().unwrap()).collect()
}
