//! The HTTP surface: extract, one core call, translate. docs/protocol.md is its specification.

mod cursor;
mod error;
mod gate;
mod intake;
mod long_poll;
mod ops;
mod params;
mod serve;
mod streams;
mod viewing;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tower_http::cors::CorsLayer;
use url::Url;

pub(crate) use self::ops::router as ops_router;
pub(crate) use self::serve::{bind, serve};
use crate::auth::{self, Grant};
use crate::cast::Cast;
use crate::cast::hub::Hub;
use crate::cast::hub::order::Missing;
use crate::cast::id::Id;

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    /// Where the outside finds this gateway; urls in answers begin with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<Url>,
    /// Further names under which the gateway may be called.
    pub hosts: Vec<String>,
    /// Web origins that may call and read answers.
    pub cors_origins: Vec<String>,
    pub body_bytes_max: usize,
    pub metadata_bytes_max: usize,
    pub connections_max: usize,
    pub h2_streams_max: u32,
    pub head_bytes_max: u32,
    pub first_byte_s: u64,
    pub head_s: u64,
    pub request_s: u64,
    pub body_s: u64,
    pub stalled_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            hosts: Vec::new(),
            cors_origins: Vec::new(),
            body_bytes_max: 4 * 1024 * 1024,
            metadata_bytes_max: 16 * 1024,
            connections_max: 16_384,
            h2_streams_max: 128,
            head_bytes_max: 32 * 1024,
            first_byte_s: 5,
            head_s: 10,
            request_s: 10,
            body_s: 30,
            stalled_s: 30,
        }
    }
}

/// `[ops]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpsConfig {
    pub listen: SocketAddr,
}

impl Default for OpsConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9464)) }
    }
}

/// What handlers work with; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct App(Arc<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) hub: Hub,
    pub(crate) gate: auth::Gate,
    /// A stream that was interrupted by a restart may have lost its last block: whoever has more than it is told the
    /// end again.
    pub(crate) may_lose: bool,
    /// The longest time that a stream can run.
    pub(crate) total: Duration,
    /// Cancelled when viewers have to leave.
    pub(crate) closing: CancellationToken,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The cast of that name, if there is one that the grant reaches. All others look alike.
    async fn find(&self, grant: &Grant, id: &str) -> Result<Cast, Missing> {
        let id = Id::parse(id).map_err(|_| Missing::Unknown)?;
        if !grant.reaches(&id) {
            return Err(Missing::Unknown);
        }
        self.0.hub.find(&grant.tenant, &id).await
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The public surface.
pub(crate) fn router(app: App) -> Router {
    let routes = Router::new()
        .route("/v1/streams", post(intake::start).get(streams::list))
        .route("/v1/streams/{id}", get(streams::show).delete(streams::stop))
        .route("/v1/streams/{id}/events", get(viewing::events))
        .route("/v1/streams/{id}/raw", get(viewing::raw))
        .route("/v1/streams/{id}/text", get(viewing::text));
    let cors = gate::cors(&app.config);
    finish(routes, cors, app)
}

/// What every router of this gateway has: guards in front, our own errors behind.
fn finish(routes: Router<App>, cors: Option<CorsLayer>, app: App) -> Router {
    let routes = routes
        .fallback(async || error::Error::not_found())
        .method_not_allowed_fallback(async || error::Error::method_not_allowed());
    // Behind the guard, which also guards and names the answers to preflights.
    let routes = match cors {
        Some(cors) => routes.layer(cors),
        None => routes,
    };
    routes.layer(from_fn_with_state(app.clone(), gate::guard)).with_state(app)
}
