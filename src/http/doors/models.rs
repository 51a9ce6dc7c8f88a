//! `GET /v1/models`: what the configured providers have.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::StreamExt;

use super::{Door, fault, passing, proxy};
use crate::edge::forward::{Call, Known};
use crate::http::App;
use crate::http::error::Error;
use crate::http::gate::Granted;

/// A provider that does not answer by then is left out.
const WITHIN: Duration = Duration::from_secs(5);
const BYTES_MAX: usize = 4 * 1024 * 1024;

pub(super) async fn list(
    State(app): State<App>,
    uri: Uri,
    granted: Result<Granted, Error>,
    headers: HeaderMap,
) -> Response {
    let door = Door::of(&headers);
    let listed = async {
        let Granted(grant) = granted?;
        grant.start()?;
        if door != Door::Chat {
            return proxy::hand_on(&app, &grant, door, Method::GET, &uri, &headers, None, Bytes::new(), true)
                .await;
        }
        Ok(Json(all(&app, &headers).await).into_response())
    };
    listed.await.unwrap_or_else(|error| fault::answer(door, error))
}

/// The models of all providers in OpenAI's shape, in the order of the configuration; each name once.
async fn all(app: &App, headers: &HeaderMap) -> Value {
    let mut asked = JoinSet::new();
    let passed = passing::passed(app, headers, "");
    // A key of the caller's is for one provider, and it does not say for which: the first that takes such a one.
    let mut is_taken = false;
    for (place, Known { name, dialect, takes_callers_key }) in app.forward.providers().into_iter().enumerate()
    {
        let is_theirs = takes_callers_key && !is_taken && dialect == "openai";
        is_taken |= is_theirs;
        if takes_callers_key && !is_theirs {
            continue;
        }
        let (app, passed) = (app.clone(), passed.clone());
        asked.spawn(async move {
            let found = timeout(WITHIN, ask(&app, &name, dialect, passed)).await;
            (place, name, found.ok().flatten().unwrap_or_default())
        });
    }
    let mut found = asked.join_all().await;
    found.sort_by_key(|(place, ..)| *place);
    let mut known = BTreeSet::new();
    let mut data = Vec::new();
    let offers = app.hub.offers();
    for (_, provider, mut models) in found {
        // Who does not tell has at least what the configuration names.
        if models.is_empty() {
            let named = offers.iter().filter(|offer| offer.name == provider).flat_map(|offer| &offer.models);
            models.extend(named.filter(|glob| !glob.contains(['*', '?'])).map(|id| json!({ "id": id })));
        }
        for mut model in models {
            let Some(object) = model.as_object_mut() else { continue };
            let Some(id) = object.get("id").and_then(Value::as_str).map(str::to_owned) else { continue };
            if known.insert(id) {
                let fields =
                    [("object", json!("model")), ("created", json!(0)), ("owned_by", json!(provider))];
                for (field, default) in fields {
                    let said = object.entry(field).or_insert(Value::Null);
                    if said.is_null() {
                        *said = default;
                    }
                }
                data.push(model);
            }
        }
    }
    json!({ "object": "list", "data": data })
}

/// What one provider says that it has, as objects with an `id`.
async fn ask(
    app: &App,
    provider: &str,
    dialect: &'static str,
    passed: Vec<(String, secrecy::SecretString)>,
) -> Option<Vec<Value>> {
    let (path, list, id) = match dialect {
        "anthropic" => ("/v1/models?limit=1000", "data", "id"),
        "gemini" => ("/v1beta/models?pageSize=1000", "models", "name"),
        "ollama" => ("/api/tags", "models", "name"),
        _ => ("/models", "data", "id"),
    };
    let call = Call {
        method: Method::GET,
        path: path.to_owned(),
        dialect,
        model: None,
        passed,
        body: Bytes::new(),
        is_listed: false,
    };
    let mut answer =
        app.forward.forward_to(provider, call).await.ok().filter(|answer| answer.status == 200)?;
    let mut body = Vec::new();
    while let Some(Ok(chunk)) = answer.body.next().await {
        body.extend_from_slice(&chunk);
        if body.len() > BYTES_MAX {
            return None;
        }
    }
    let said: Value = serde_json::from_slice(&body).ok()?;
    let models = said.get(list)?.as_array()?.iter().filter_map(|model| {
        let name = model.get(id)?.as_str()?;
        let name = name.strip_prefix("models/").unwrap_or(name);
        let mut object = if id == "id" { model.as_object()?.clone() } else { Map::new() };
        object.insert("id".into(), name.into());
        Some(Value::Object(object))
    });
    Some(models.collect())
}
