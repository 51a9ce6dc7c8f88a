//! What a tenant may have, and the limit that was reached.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[quotas]`: what each tenant may have. What is not said has no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quotas {
    /// Streams at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_per_minute: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewers_max: Option<u64>,
    /// Bytes of providers in streams that are kept, wherever they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retained_bytes_max: Option<u64>,
    /// Tokens of providers on a day of UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
}

impl Quotas {
    /// Each with its name in the configuration.
    pub fn named(&self) -> [(&'static str, Option<u64>); 5] {
        [
            ("running_max", self.running_max),
            ("starts_per_minute", self.starts_per_minute),
            ("viewers_max", self.viewers_max),
            ("retained_bytes_max", self.retained_bytes_max),
            ("tokens_per_day", self.tokens_per_day),
        ]
    }

    /// These, and the general ones where these say nothing.
    #[must_use]
    pub fn or(&self, general: &Self) -> Self {
        Self {
            running_max: self.running_max.or(general.running_max),
            starts_per_minute: self.starts_per_minute.or(general.starts_per_minute),
            viewers_max: self.viewers_max.or(general.viewers_max),
            retained_bytes_max: self.retained_bytes_max.or(general.retained_bytes_max),
            tokens_per_day: self.tokens_per_day.or(general.tokens_per_day),
        }
    }
}

/// A limit that was reached, by its key in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{key}, which is {max}, is reached: try again in {} s", .retry_after.as_secs().max(1))]
pub struct Reached {
    pub key: &'static str,
    pub max: u64,
    /// When it makes sense to come again.
    pub retry_after: Duration,
}

impl Reached {
    /// Whether it is the tenant's own.
    pub fn is_quota(&self) -> bool {
        self.key.starts_with("quotas.")
    }
}
