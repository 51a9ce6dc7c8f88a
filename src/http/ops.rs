//! The operations listener: what Prometheus and orchestrators ask. It is there before anything else, and says so.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Config, error, finish};
use crate::edge::Edge;
use crate::edge::names::Names;
use crate::telemetry;

/// What the operations surface tells of; clones are the same.
#[derive(Clone)]
pub(crate) struct Ops {
    metrics: PrometheusHandle,
    /// Nothing while the journal is being read.
    edge: Arc<OnceLock<Edge>>,
}

impl Ops {
    pub(crate) fn new(metrics: PrometheusHandle) -> Self {
        Self { metrics, edge: Arc::default() }
    }

    /// The gateway serves from now on.
    pub(crate) fn serves(&self, edge: Edge) {
        let _ = self.edge.set(edge);
    }
}

/// How long a look at the journal may hold up an answer.
const SAMPLE: Duration = Duration::from_secs(1);

/// The operations surface.
pub(crate) fn router(config: &Config, names: Names, ops: Ops) -> Router {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready));
    let routes = routes.fallback(async || error::not_found());
    finish(routes, None, config.rules(names), ops)
}

async fn metrics(State(ops): State<Ops>) -> impl IntoResponse {
    if let Some(edge) = ops.edge.get() {
        sample(edge).await;
        let budget = edge.hub.budget();
        telemetry::sample((budget.held(), budget.bytes_max()), edge.hub.disk());
    }
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, content_type)], ops.metrics.render())
}

/// Looks at the journal, which a disk can hold up: then the figures are the last ones.
async fn sample(edge: &Edge) {
    let hub = edge.hub.clone();
    let _ = timeout(SAMPLE, spawn_blocking(move || hub.sample())).await;
}

/// Whether new streams are taken.
async fn ready(State(ops): State<Ops>) -> Response {
    let not = |why: String| (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    let Some(edge) = ops.edge.get() else { return not("recovering\n".into()) };
    if edge.hub.draining().is_cancelled() {
        return not("draining\n".into());
    }
    if let Some(trouble) = edge.hub.trouble() {
        return not(format!("{trouble}\n"));
    }
    (StatusCode::OK, "ready\n").into_response()
}
