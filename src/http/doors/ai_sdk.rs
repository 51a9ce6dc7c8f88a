//! The AI SDK's chats: a message starts a stream, which is answered as its UI message stream; a chat is resumed by its id
//! or by the stream's, and stopped for everybody.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::to_raw_value;

use super::ai_messages::{self, Message};
use super::{call, passing};
use crate::auth::Grant;
use crate::cast::Cast;
use crate::cast::about::About;
use crate::cast::end::Why;
use crate::cast::hub::order::{Ask, Order, Started};
use crate::cast::id::Id;
use crate::crypto::fingerprint;
use crate::dialect::splice::top_level;
use crate::heavy;
use crate::http::chat::Noted;
use crate::http::error::Error;
use crate::http::gate::Granted;
use crate::http::params::{Name, Params};
use crate::http::serve::Link;
use crate::http::{App, depth, intake, ui};

/// Chats whose newest stream is remembered; of others, and after a restart, the streams' metadata tells.
const CHATS_MAX: usize = 10_000;

/// `[ai_sdk]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who answers chats; whoever serves the model otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model of chats that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whether a chat may name its model.
    pub model_from_body: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { provider: None, model: None, model_from_body: true }
    }
}

/// The newest stream of each chat.
#[derive(Debug, Clone, Default)]
pub(in crate::http) struct Chats(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    streams: HashMap<(Arc<str>, String), Id>,
    /// Those that were heard of first in front.
    order: VecDeque<(Arc<str>, String)>,
}

impl Chats {
    /// Notes a stream that has just begun, if it says that it belongs to a chat.
    pub(in crate::http) fn note(&self, cast: &Cast) {
        let about = cast.about();
        let Some(Noted { chat, .. }) = Noted::of(about) else { return };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (about.tenant.clone(), chat);
        if known.streams.insert(name.clone(), about.id.clone()).is_some() {
            return;
        }
        known.order.push_back(name);
        if known.order.len() > CHATS_MAX
            && let Some(first) = known.order.pop_front()
        {
            known.streams.remove(&first);
        }
    }

    fn newest(&self, tenant: &Arc<str>, chat: &str) -> Option<Id> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.streams.get(&(tenant.clone(), chat.to_owned())).cloned()
    }
}

/// What the AI SDK sends.
#[derive(Debug, Deserialize)]
struct Chat {
    id: Option<String>,
    messages: Vec<Message>,
    model: Option<String>,
}

/// `POST /api/chat`, which Ollama's SDKs call, too.
pub(super) async fn start(
    State(app): State<App>,
    uri: Uri,
    granted: Result<Granted, Error>,
    headers: HeaderMap,
    link: Option<Extension<Link>>,
    body: Body,
) -> Response {
    let (app, ollama) = (State(app), call::ollama_chat);
    let Ok(Granted(grant)) = granted else { return ollama(app, uri, granted, headers, link, body).await };
    let body = match intake::read(&app, &headers, body).await {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    if !heavy::run(body.len(), || is_ours(&body)).await {
        return ollama(app, uri, Ok(Granted(grant)), headers, link, Body::from(body)).await;
    }
    chat(&app, &grant, &headers, body, link).await.unwrap_or_else(IntoResponse::into_response)
}

/// Whether it is the AI SDK that has sent this: it says why it does, or its messages are in parts.
fn is_ours(body: &[u8]) -> bool {
    let Ok(body) = std::str::from_utf8(body) else { return false };
    let messages =
        || top_level(body, "messages").and_then(|list| serde_json::from_str::<Vec<Value>>(&list).ok());
    let in_parts = |message: &Value| message["parts"].is_array();
    top_level(body, "trigger").is_some() || messages().is_some_and(|messages| messages.iter().any(in_parts))
}

async fn chat(
    app: &App,
    grant: &Grant,
    headers: &HeaderMap,
    body: Bytes,
    link: Option<Extension<Link>>,
) -> Result<Response, Error> {
    grant.start()?;
    let key = intake::idempotency_key(headers)?;
    let invalid = |what: String| Error::bad_request("invalid_field", what);
    let read = heavy::run(body.len(), || {
        depth::check(&body)?;
        serde_json::from_slice(&body)
            .map_err(|error| invalid(format!("this is no chat of the AI SDK: {error}")))
    });
    let Chat { id: chat, messages, model } = read.await?;
    let config = &app.ai_sdk;
    let named = model.filter(|model| config.model.as_ref() != Some(model));
    if named.is_some() && !config.model_from_body {
        return Err(invalid("model: chats have the model that ai_sdk.model says: name none".into()));
    }
    let model = named.or_else(|| config.model.clone()).ok_or_else(|| {
        Error::bad_request(
            "unknown_model",
            "there is no model: set ai_sdk.model, or send `model` in the body",
        )
    })?;
    let served = app.forward.serving(config.provider.as_deref(), &model);
    let (provider, dialect) = served.map_err(crate::cast::hub::order::Refused::Ask)?;
    let metadata = chat.map(|chat| {
        // The answer to a tool's result belongs to the message that has called the tool.
        let message =
            messages.last().filter(|last| last.role == "assistant").and_then(|last| last.id.clone());
        to_raw_value(&Noted { chat, message }).expect("plain data is JSON")
    });
    let max = app.config.metadata_bytes_max;
    if metadata.as_ref().is_some_and(|metadata| metadata.get().len() > max) {
        return Err(invalid(format!("id: it is longer than http.metadata_bytes_max, {max} bytes")));
    }
    let request = ai_messages::request(dialect, &model, &messages).map_err(invalid)?;
    let ask = Ask {
        provider: Some(provider),
        path: None,
        request: to_raw_value(&request).expect("plain data is JSON"),
        ask_usage: true,
        passed: passing::passed(app, headers, ""),
        dialect: None,
        query: None,
        wants_head: false,
    };
    let order = Order {
        tenant: grant.tenant.clone(),
        ask,
        fingerprint: fingerprint(&[&body, b"", b"ai-sdk"]),
        id: None,
        key,
        metadata,
        ttl: None,
        cancel_after: None,
        is_watched: true,
    };
    let Started { cast, replayed } = app.hub.start(order).await?;
    if !replayed {
        app.chats.note(&cast);
    }
    let attached = if replayed { cast.try_attach()? } else { cast.attach() };
    let mut response = ui::follow(app, grant, attached, 0, link).await?;
    if replayed {
        intake::mark_replayed(response.headers_mut());
    }
    Ok(response)
}

/// `GET /api/chat/{x}/stream`: a stream by its id with `startIndex`, else the one that runs in a chat.
pub(super) async fn resume(
    State(app): State<App>,
    Granted(grant): Granted,
    Name(name): Name,
    params: Params,
    link: Option<Extension<Link>>,
) -> Result<Response, Error> {
    grant.read()?;
    if let Some(index) = ui::start_index(&params)? {
        let cast = app.find(&grant, &name).await?;
        return ui::follow(&app, &grant, cast.try_attach()?, index, link).await;
    }
    match active(&app, &grant, &name).await {
        Some(cast) => ui::follow(&app, &grant, cast.try_attach()?, 0, link).await,
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// `DELETE /api/chat/{chat}/stream`
pub(super) async fn stop(
    State(app): State<App>,
    Granted(grant): Granted,
    Name(chat): Name,
) -> Result<StatusCode, Error> {
    grant.stop()?;
    if let Some(cast) = active(&app, &grant, &chat).await {
        cast.stop(Why::Stopped);
        cast.watch().closed().await;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The stream that runs in a chat.
async fn active(app: &App, grant: &Grant, chat: &str) -> Option<Cast> {
    let noted = app.chats.newest(&grant.tenant, chat);
    let id = noted.or_else(|| {
        let is_of = |about: &About| Noted::of(about).is_some_and(|noted| noted.chat == chat);
        let mut running = app.hub.running();
        running.retain(|cast| cast.about().tenant == grant.tenant && is_of(cast.about()));
        let newest = running.iter().max_by_key(|cast| cast.about().number);
        newest.map(|cast| cast.id().clone())
    })?;
    let cast = app.find(grant, id.as_str()).await.ok()?;
    cast.end().is_none().then_some(cast)
}
