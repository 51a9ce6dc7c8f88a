//! The operations listener: what Prometheus and orchestrators ask.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{App, finish};
use crate::telemetry;

/// How long a look at the journal may hold up an answer.
const SAMPLE: Duration = Duration::from_secs(1);

/// The operations surface.
pub(crate) fn router(app: App, metrics: PrometheusHandle) -> Router {
    let routes = Router::new()
        .route(
            "/metrics",
            get(async move |State(app): State<App>| {
                sample(&app).await;
                telemetry::sample(app.hub.budget().held(), app.hub.budget().bytes_max());
                let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                ([(header::CONTENT_TYPE, content_type)], metrics.render())
            }),
        )
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready));
    finish(routes, None, app)
}

/// Looks at the journal, which a disk can hold up: then the figures are the last ones.
async fn sample(app: &App) {
    let hub = app.hub.clone();
    let _ = timeout(SAMPLE, spawn_blocking(move || hub.sample())).await;
}

/// Whether new streams are taken.
async fn ready(State(app): State<App>) -> Response {
    if app.hub.draining().is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    if let Some(trouble) = app.hub.trouble() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")).into_response();
    }
    (StatusCode::OK, "ready\n").into_response()
}
