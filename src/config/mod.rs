//! The whole configuration: defaults ← file ← environment ← flags, read and validated before anything is bound.
//!
//! Each area owns its part; this file composes them. `layers` merges where they come from, `problems` says which
//! key is wrong and what to write instead.

mod layers;
mod presets;
mod problems;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::layers::Sources;
pub use self::problems::Problems;
use crate::cast::account::Quotas;
use crate::cast::{coalesce, hub};
use crate::edge::addresses;
use crate::upstream::provider;
use crate::{auth, http, journal, logging, upstream, webtransport};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub http: http::Config,
    pub addresses: addresses::Config,
    pub ops: http::OpsConfig,
    pub ai_sdk: http::AiSdk,
    pub webtransport: webtransport::Config,
    pub auth: auth::Config,
    pub journal: journal::Config,
    pub coalesce: coalesce::Config,
    pub retention: hub::Retention,
    pub limits: hub::Limits,
    pub quotas: Quotas,
    pub upstream: upstream::Config,
    pub drain: Drain,
    pub log: logging::Config,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<provider::Config>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<hub::Tenant>,
}

/// `[drain]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    pub grace_s: u64,
}

impl Default for Drain {
    fn default() -> Self {
        Self { grace_s: 30 }
    }
}
