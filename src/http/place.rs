//! `GET /v1/webtransport`: where that is, and by which certificates it is known.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Uri, header};
use serde_json::json;

use super::{App, gate};
use crate::crypto::hex;

pub(super) async fn show(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    let pins: Vec<_> = app
        .place
        .pins()
        .iter()
        .map(|pin| {
            json!({
                "algorithm": "sha-256",
                "value": hex(&pin.sha256),
                "expires_at": humantime::format_rfc3339_seconds(pin.expires_at).to_string(),
            })
        })
        .collect();
    let url = base(&app, &uri, &headers).map(|base| format!("{base}/v1/session"));
    let mut response = Json(json!({ "url": url, "certificate_hashes": pins })).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What WebTransport URLs begin with: as configured, else under the name that the caller has used.
pub(super) fn base(app: &App, uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let public = app.names.public_url.as_ref().and_then(|url| url.host_str()).map(str::to_owned);
    let asked = || gate::host(uri, headers).map(|host| host.host().to_owned());
    app.place.base(&public.or_else(asked)?)
}
