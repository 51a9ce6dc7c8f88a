//! tokencast: an AI token-stream fan-out gateway.
//!
//! One `POST` starts a stream. The gateway calls the provider itself, reads its answer once, and writes it into one
//! ordered log; any number of viewers read that log, from any position, as often as they like.
//!
//! ```text
//! POST ─► intake ─► hub ─► cast ◄──────────────────────────┐ cursor, cursor, cursor
//!          auth      id →    │ in-memory log of frames       │
//!          route     cast    ▲                               ├─► viewer ─► SSE
//!          idempotency       │ append (visible once          ├─► viewer ─► long-poll
//!                            │         committed)            └─► viewer ─► raw, text
//! provider ─► upstream task ─► splitter ─► dialect ─► coalescer ─► journal commit
//!             reqwest          bytes →     block →    blocks →
//!                              blocks      events     frames
//! ```
//!
//! In the order in which to read:
//!
//! * [`cast`]: the core. Blocks, frames, the log, the one producer, the hub. No network, no HTTP, no SQL.
//! * [`dialect`]: what a provider's blocks mean. Pure.
//! * [`upstream`]: the task that calls a provider and fills a cast.
//! * [`view`]: renderings of the log for the wire.
//! * [`viewer`]: the one loop that every transport uses.
//! * `edge`: what both surfaces share: names, cursors, refusals.
//! * [`http`]: the HTTP surface over all of this.
//! * [`webtransport`]: the same events over WebTransport.
//! * [`journal`]: the durable log below the in-memory one.
//! * [`auth`]: a key or a ticket becomes a grant.
//! * [`telemetry`], [`logging`], [`tasks`], [`panics`], [`seldom`]: what is counted, said, awaited, goes wrong, and is hardly
//!   ever looked at.
//! * `alarm`: a timer that is put off far more often than it rings.
//! * `nesting`: how deep JSON goes, while it comes.
//! * [`client`]: the other side: follows one stream, and resumes by itself.
//! * [`outbound`]: HTTP clients, for whoever needs one.
//! * [`config`], [`gateway`], [`server`], [`cli`]: how all of it is put together, run and drained.
//!
//! `docs/architecture.md` has the invariants; `docs/protocol.md` is the specification of the wire.

pub(crate) mod alarm;
pub mod auth;
pub mod cast;
pub mod cli;
pub mod client;
pub mod config;
pub mod crypto;
pub(crate) mod descriptors;
pub mod dialect;
pub(crate) mod edge;
pub(crate) mod files;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
mod heavy;
pub mod http;
pub mod journal;
pub mod logging;
pub(crate) mod nesting;
pub mod outbound;
pub mod panics;
pub mod seldom;
pub mod server;
pub mod tasks;
pub mod telemetry;
pub mod upstream;
pub mod view;
pub mod viewer;
pub mod webtransport;
