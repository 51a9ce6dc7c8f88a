//! `GET /v1/usage`: what the caller's tenant has of the gateway, and may have.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::App;
use super::error::Error;
use super::gate::Granted;

pub(super) async fn show(State(app): State<App>, Granted(grant): Granted) -> Result<Json<Value>, Error> {
    grant.start()?;
    let account = app.hub.account(&grant.tenant);
    let spent = account.spent();
    Ok(Json(json!({
        "running": account.running(),
        "viewers": account.viewers(),
        "retained_bytes": account.retained_bytes(),
        "tokens": { "total": spent.total(), "estimated": spent.estimated },
        "quotas": account.quotas(),
    })))
}
