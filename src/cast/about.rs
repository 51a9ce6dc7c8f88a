//! What is known of a stream from the moment of the `POST`.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::value::RawValue;

use super::id::Id;

/// The number of a stream in the order of starts, which names it in the journal.
pub type Number = u64;

/// What a stream begins with.
#[derive(Debug, Clone)]
pub struct About {
    pub number: Number,
    pub id: Id,
    pub tenant: Arc<str>,
    pub provider: Arc<str>,
    /// The app's own JSON, as it came.
    pub metadata: Option<Box<RawValue>>,
    /// How long the log is kept after the end.
    pub ttl_s: u64,
    /// The wall clock at the `POST`, in milliseconds since 1970.
    pub started_ms: u64,
    /// The `Idempotency-Key` that it was started with.
    pub key: Option<Arc<str>>,
    /// Hash of what was asked for.
    pub fingerprint: [u8; 32],
}

impl About {
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_s)
    }
}

/// The wall clock, in milliseconds since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Milliseconds since 1970 as people and programs write them.
pub fn rfc3339(ms: u64) -> String {
    // The end of the year 9999, behind which there is no such text.
    const LAST_MS: u64 = 253_402_300_799_999;
    let ms = ms.min(LAST_MS);
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}
