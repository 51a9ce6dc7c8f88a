//! What is counted of keys and tickets.

use metrics::counter;

/// Somebody was not granted what they asked for.
pub fn denied(code: &'static str) {
    counter!("tokencast_denied_total", "code" => code).increment(1);
}

/// The file of keys has changed, and is in use or could not be taken.
pub fn keys_read(taken: bool) {
    let outcome = if taken { "taken" } else { "refused" };
    counter!("tokencast_keys_reads_total", "outcome" => outcome).increment(1);
}
