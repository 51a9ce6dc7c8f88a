//! `GET /v1/providers`: what a start can name.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::App;
use super::error::Error;
use super::gate::Granted;

pub(super) async fn list(State(app): State<App>, Granted(grant): Granted) -> Result<Response, Error> {
    grant.start()?;
    Ok(Json(json!({ "providers": app.hub.offers() })).into_response())
}
