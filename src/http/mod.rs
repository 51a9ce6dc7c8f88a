//! The HTTP surface: extract, one core call, translate. docs/protocol.md is its specification.

mod chat;
mod connection;
mod crowd;
mod depth;
mod doors;
mod ended;
mod error;
mod executor;
mod frames;
mod gate;
mod heads;
mod intake;
mod introduction;
mod lane;
mod last_words;
mod long_poll;
mod manners;
mod ops;
mod page;
mod params;
mod place;
mod providers;
mod pulse;
mod serve;
mod streams;
mod taking;
mod tickets;
mod tls;
mod ui;
mod usage;
mod viewing;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;
use url::Url;

pub use self::doors::ai_sdk::Config as AiSdk;
use self::gate::Rules;
pub(crate) use self::ops::{Ops, router as ops_router};
pub(crate) use self::serve::{Connections, Site, bind, serve};
pub(crate) use self::tls::Tls;
use crate::edge::Edge;
use crate::edge::certificate::{CertificateError, Files};
use crate::edge::names::Names;
use crate::telemetry;

/// What is found in bytes that go by.
#[cfg(any(test, fuzzing))]
pub(crate) mod passing_by {
    pub(crate) use super::doors::bill::in_pieces as cost;
    pub(crate) use super::frames::in_pieces as frames;
    pub(crate) use super::heads::in_pieces as heads;
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub listen: SocketAddr,
    /// A certificate chain and its key, PEM; with them the listener speaks TLS and nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
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
    pub head_fields_max: usize,
    pub uri_bytes_max: usize,
    pub tls_handshake_s: u64,
    pub first_byte_s: u64,
    pub head_s: u64,
    pub request_s: u64,
    pub idle_s: u64,
    pub body_s: u64,
    pub stalled_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            certificate: None,
            key: None,
            public_url: None,
            hosts: Vec::new(),
            cors_origins: Vec::new(),
            body_bytes_max: 4 * 1024 * 1024,
            metadata_bytes_max: 16 * 1024,
            connections_max: 16_384,
            h2_streams_max: 128,
            head_bytes_max: 16 * 1024,
            head_fields_max: 64,
            uri_bytes_max: 4096,
            tls_handshake_s: 10,
            first_byte_s: 5,
            head_s: 5,
            request_s: 10,
            idle_s: 30,
            body_s: 30,
            stalled_s: 30,
        }
    }
}

impl Config {
    /// Where its certificate is, if it speaks TLS.
    pub(crate) fn files(&self) -> Option<Files> {
        let (chain, key) = self.certificate.clone().zip(self.key.clone())?;
        Some(Files::new("http", chain, key))
    }

    /// What urls of the listener begin with.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.certificate.is_some() { "https" } else { "http" }
    }

    fn rules(&self, names: Names) -> Rules {
        let Self { uri_bytes_max, head_bytes_max, head_fields_max, .. } = *self;
        Rules { names, uri_bytes_max, head_bytes_max: head_bytes_max as usize, head_fields_max }
    }
}

/// Whether the certificate that is configured can be used, if one is.
pub fn check(config: &Config) -> Result<(), CertificateError> {
    config.files().map_or(Ok(()), |files| files.read().map(drop))
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
pub(crate) struct App {
    config: Arc<Config>,
    edge: Edge,
    /// Callers at the doors who may come again.
    again: doors::Again,
    deleted: doors::Deleted,
    ai_sdk: Arc<AiSdk>,
    chats: doors::ai_sdk::Chats,
}

impl App {
    pub(crate) fn new(config: Config, ai_sdk: AiSdk, edge: Edge) -> Self {
        Self {
            config: Arc::new(config),
            edge,
            again: doors::Again::default(),
            deleted: doors::Deleted::default(),
            ai_sdk: Arc::new(ai_sdk),
            chats: doors::ai_sdk::Chats::default(),
        }
    }
}

impl std::ops::Deref for App {
    type Target = Edge;

    fn deref(&self) -> &Edge {
        &self.edge
    }
}

/// The public surface.
pub(crate) fn router(app: App) -> Router {
    let views = Router::new()
        .route("/v1/streams/{id}/events", get(viewing::events))
        .route("/v1/streams/{id}/raw", get(viewing::raw))
        .route("/v1/streams/{id}/text", get(viewing::text))
        .route("/v1/streams/{id}/ui", get(ui::show))
        .route_layer(from_fn_with_state(app.clone(), crowd::guard));
    let routes = Router::new()
        .route("/v1/streams", post(intake::start).get(streams::list))
        .route("/v1/streams/{id}", get(streams::show).delete(streams::stop))
        .merge(views)
        .route("/v1/providers", get(providers::list))
        .route("/v1/usage", get(usage::show))
        .route("/v1/tickets", post(tickets::issue))
        .route("/v1/webtransport", get(place::show))
        .merge(page::routes())
        .merge(doors::routes());
    let cors = gate::cors(&app.config.cors_origins);
    let rules = app.config.rules(app.names.clone());
    finish(routes, cors, rules, app)
}

/// What every router of this gateway has: guards in front, our own errors behind.
fn finish<S: Clone + Send + Sync + 'static>(
    routes: Router<S>,
    cors: Option<CorsLayer>,
    rules: Rules,
    state: S,
) -> Router {
    let routes = routes.method_not_allowed_fallback(async || error::method_not_allowed());
    // A bug in a handler costs the one request.
    let routes = routes.layer(CatchPanicLayer::custom(|_| {
        telemetry::panicked("http");
        error::internal().into_response()
    }));
    // Behind the guard, which also guards and names the answers to preflights.
    let routes = match cors {
        Some(cors) => routes.layer(cors).layer(map_response(gate::to_nobody_else)),
        None => routes,
    };
    routes.layer(from_fn_with_state(Arc::new(rules), gate::guard)).with_state(state)
}
