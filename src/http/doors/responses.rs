//! OpenAI's Responses after they were started: retrieved, resumed, cancelled, deleted, by the provider's own id. Those
//! that are not ours are the provider's business.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};

use super::{Door, again, answer, fault, proxy};
use crate::auth::Grant;
use crate::cast::Cast;
use crate::cast::block::Seq;
use crate::cast::end::Why;
use crate::cast::log::{Read, Source};
use crate::cast::pages::Page;
use crate::dialect::sse;
use crate::http::App;
use crate::http::error::Error;
use crate::http::gate::Granted;
use crate::http::introduction::introduce;
use crate::http::params::{self, Params};
use crate::http::serve::Link;

const DOOR: Door = Door::Responses;
const PIECE_BYTES: usize = 256 * 1024;

/// `GET /v1/responses/{id}[?stream=true[&starting_after=N]]`
pub(super) async fn retrieve(
    State(app): State<App>,
    uri: Uri,
    granted: Result<Granted, Error>,
    params::Name(id): params::Name,
    params: Params,
    headers: HeaderMap,
    link: Option<Extension<Link>>,
) -> Response {
    let retrieved = async {
        let Granted(grant) = granted?;
        grant.read()?;
        let Some(cast) = find(&app, &grant, &id).await? else {
            return elsewhere(&app, &grant, Method::GET, &uri, &headers).await;
        };
        if params.get("stream")?.as_deref() != Some("true") {
            return Ok(Json(object(&cast).await?).into_response());
        }
        let after = match params.number("starting_after", 0..=u64::MAX)? {
            Some(number) => behind(&cast, number).await?,
            None => 0,
        };
        let call = again::call(DOOR, &grant, &headers, uri.path(), b"");
        let attached = cast.try_attach()?;
        let mut serving = app.again.serve(call, cast.clone());
        serving.done();
        let mut response = answer::follow(&app, DOOR, &grant, attached, after, serving, link);
        response.headers_mut().insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("text/event-stream; charset=utf-8"),
        );
        introduce(&app, &grant, &cast, response.headers_mut());
        Ok(response)
    };
    retrieved.await.unwrap_or_else(|error: Error| fault::answer(DOOR, error))
}

/// `POST /v1/responses/{id}/cancel`
pub(super) async fn cancel(
    State(app): State<App>,
    uri: Uri,
    granted: Result<Granted, Error>,
    params::Name(id): params::Name,
    headers: HeaderMap,
) -> Response {
    let cancelled = async {
        let Granted(grant) = granted?;
        grant.stop()?;
        let Some(cast) = find(&app, &grant, &id).await? else {
            return elsewhere(&app, &grant, Method::POST, &uri, &headers).await;
        };
        cast.stop(Why::Stopped);
        cast.watch().closed().await;
        Ok(Json(object(&cast).await?).into_response())
    };
    cancelled.await.unwrap_or_else(|error: Error| fault::answer(DOOR, error))
}

/// `DELETE /v1/responses/{id}`
pub(super) async fn delete(
    State(app): State<App>,
    uri: Uri,
    granted: Result<Granted, Error>,
    params::Name(id): params::Name,
    headers: HeaderMap,
) -> Response {
    let deleted = async {
        let Granted(grant) = granted?;
        grant.purge()?;
        let Some(cast) = find(&app, &grant, &id).await? else {
            return elsewhere(&app, &grant, Method::DELETE, &uri, &headers).await;
        };
        app.hub.purge(&cast).await.map_err(|error| Error::storage(&error))?;
        app.deleted.note(&grant.tenant, &id);
        // The provider may keep it, too.
        drop(elsewhere(&app, &grant, Method::DELETE, &uri, &headers).await);
        Ok(Json(json!({ "id": id, "object": "response", "deleted": true })).into_response())
    };
    deleted.await.unwrap_or_else(|error: Error| fault::answer(DOOR, error))
}

/// Responses that were deleted here: nobody is asked for them any more. The newest ones, and as long as the process runs.
#[derive(Debug, Clone, Default)]
pub(in crate::http) struct Deleted(Arc<Mutex<VecDeque<Name>>>);

/// A tenant, and the provider's id.
type Name = (Arc<str>, String);

impl Deleted {
    const MAX: usize = 10_000;

    fn note(&self, tenant: &Arc<str>, id: &str) {
        let mut deleted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        deleted.truncate(Self::MAX - 1);
        deleted.push_front((tenant.clone(), id.to_owned()));
    }

    fn has(&self, tenant: &str, id: &str) -> bool {
        let deleted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        deleted.iter().any(|(of, known)| **of == *tenant && known == id)
    }
}

async fn find(app: &App, grant: &Grant, id: &str) -> Result<Option<Cast>, Error> {
    if app.deleted.has(&grant.tenant, id) {
        return Err(Error::new(StatusCode::NOT_FOUND, "not_found", "this response was deleted"));
    }
    let known = app.hub.answer_of(&grant.tenant, id).filter(|known| grant.reaches(known));
    let Some(known) = known else { return Ok(None) };
    Ok(Some(app.find(grant, known.as_str()).await?))
}

/// One that this gateway has not started: the provider may know it.
async fn elsewhere(
    app: &App,
    grant: &Grant,
    method: Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Error> {
    grant.start()?;
    // The provider knows one key for all tenants.
    if app.gate.has_several_tenants() {
        return Err(Error::new(StatusCode::NOT_FOUND, "not_found", "there is no such response here"));
    }
    let handed = proxy::hand_on(app, grant, DOOR, method, uri, headers, None, Bytes::new(), true).await;
    handed.map_err(|error| match error.code {
        "not_found" => Error::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is no such response here: it was not streamed through this gateway, or has expired",
        ),
        _ => error,
    })
}

/// The response as it stands: what the provider has last said of it whole.
async fn object(cast: &Cast) -> Result<Value, Error> {
    let mut object = None;
    each(cast, |_, data| {
        if let Some(response) = data.get("response").filter(|response| response.is_object()) {
            object = Some(response.clone());
        }
        true
    })
    .await?;
    let Some(Value::Object(mut object)) = object else {
        let message = "the provider has said nothing of this response yet";
        return Err(Error::new(StatusCode::NOT_FOUND, "not_found", message));
    };
    if let Some(end) = cast.end().filter(|end| !end.is_completed()) {
        let is_cancelled = end.why.reason() == "cancelled";
        object.insert("status".into(), if is_cancelled { "cancelled" } else { "failed" }.into());
        if !is_cancelled && object.get("error").is_none_or(Value::is_null) {
            object.insert("error".into(), json!({ "code": "server_error", "message": end.message }));
        }
    }
    Ok(Value::Object(object))
}

/// The cursor behind the event of that `sequence_number`.
async fn behind(cast: &Cast, number: u64) -> Result<Seq, Error> {
    let mut after = 0;
    each(cast, |seq, data| {
        let is_before = data["sequence_number"].as_u64().is_none_or(|found| found <= number);
        if is_before {
            after = seq;
        }
        is_before
    })
    .await?;
    Ok(after)
}

/// Reads the events that are there, each with the seq of its block, while `take` wants more.
async fn each(cast: &Cast, mut take: impl FnMut(Seq, &Value) -> bool) -> Result<(), Error> {
    let (mut seq, mut page) = (0, Page::default());
    loop {
        let read = cast.read_on(Source::Raw, seq, PIECE_BYTES, &mut page).await?;
        let Read::Batch { bytes, upto, .. } = read else { return Ok(()) };
        let mut begin = cast.offset(seq).await?;
        let mut rest = bytes;
        while seq < upto {
            seq = seq.saturating_add(1);
            let block = if seq == upto {
                std::mem::take(&mut rest)
            } else {
                let end = cast.offset(seq).await?;
                let len = usize::try_from(end.saturating_sub(begin)).unwrap_or(usize::MAX);
                begin = end;
                rest.split_to(len.min(rest.len()))
            };
            let message = sse::parse(&block, seq == 1);
            let data = message.and_then(|message| serde_json::from_str(&message.data).ok());
            if !take(seq, &data.unwrap_or(Value::Null)) {
                return Ok(());
            }
        }
    }
}
