//! SDKs call again by themselves when their connection breaks. Such a call is the same one, and must not start a second
//! generation: it gets the stream of the first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use super::Door;
use crate::auth::Grant;
use crate::cast::Cast;
use crate::cast::end::Why;
use crate::cast::hub::order::CREDENTIALS;
use crate::crypto::fingerprint;

/// How long a broken call can be made again.
const WITHIN: Duration = Duration::from_secs(60);
const CALLS_MAX: usize = 10_000;

/// Calls whose caller has lost its connection.
#[derive(Debug, Clone, Default)]
pub(in crate::http) struct Again(Arc<Mutex<HashMap<Call, Vec<Broken>>>>);

/// What makes two calls the same one: who calls, and what for.
pub(super) type Call = [u8; 32];

#[derive(Debug)]
struct Broken {
    cast: Cast,
    at: Instant,
}

pub(super) fn call(door: Door, grant: &Grant, headers: &HeaderMap, path: &str, body: &[u8]) -> Call {
    let header = |name: &str| headers.get(name).map(|value| value.as_bytes()).unwrap_or_default();
    let mut parts = vec![door.dialect().as_bytes(), grant.tenant.as_bytes(), path.as_bytes(), body];
    parts.push(header("tokencast-key"));
    parts.extend(CREDENTIALS.iter().map(|name| header(name)));
    fingerprint(&parts)
}

/// Whether an SDK says that it has made this call before.
pub(super) fn is_claimed(headers: &HeaderMap) -> bool {
    let count =
        headers.get("x-stainless-retry-count").and_then(|count| count.to_str().ok()?.parse::<u32>().ok());
    count.is_some_and(|count| count > 0)
}

impl Again {
    /// The stream of the same call whose caller was lost a moment ago. It is given once.
    pub(super) fn claim(&self, call: &Call) -> Option<Cast> {
        let mut calls = self.lock();
        let broken = calls.get_mut(call)?;
        broken.retain(|broken| broken.at.elapsed() < WITHIN && !has_failed(&broken.cast));
        let found = broken.pop().map(|broken| broken.cast);
        if broken.is_empty() {
            calls.remove(call);
        }
        found
    }

    /// Watches over one caller: if it is dropped before it was served to the end, the caller can come again.
    pub(super) fn serve(&self, call: Call, cast: Cast) -> Serving {
        Serving { again: self.clone(), call, cast: Some(cast) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Call, Vec<Broken>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_failed(cast: &Cast) -> bool {
    cast.end().is_some_and(|end| end.why != Why::Completed)
}

/// One caller that is being served.
#[derive(Debug)]
pub(super) struct Serving {
    again: Again,
    call: Call,
    cast: Option<Cast>,
}

impl Serving {
    /// It has got everything.
    pub(super) fn done(&mut self) {
        self.cast = None;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let Some(cast) = self.cast.take() else { return };
        let mut calls = self.again.lock();
        if calls.len() >= CALLS_MAX {
            calls.retain(|_, broken| broken.iter().any(|broken| broken.at.elapsed() < WITHIN));
        }
        if calls.len() < CALLS_MAX {
            calls.entry(self.call).or_default().push(Broken { cast, at: Instant::now() });
        }
    }
}
