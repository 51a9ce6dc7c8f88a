//! A call at a door: a stream that is started, or a call that is handed on.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use serde_json::value::RawValue;

use super::passing::{own_query, passed};
use super::{Door, again, answer, fault, proxy};
use crate::cast::hub::order::{Ask, Order, Started};
use crate::crypto::fingerprint;
use crate::dialect::splice::top_level_string;
use crate::heavy;
use crate::http::App;
use crate::http::depth;
use crate::http::error::Error;
use crate::http::gate::Granted;
use crate::http::intake;
use crate::http::serve::Link;

macro_rules! doors {
    ($($name:ident $door:ident,)*) => {
        $(pub(super) async fn $name(
            State(app): State<App>,
            uri: Uri,
            granted: Result<Granted, Error>,
            headers: HeaderMap,
            link: Option<Extension<Link>>,
            body: Body,
        ) -> Response {
            let called = call(&app, Door::$door, &uri, granted, &headers, link, body).await;
            called.unwrap_or_else(|error| fault::answer(Door::$door, error))
        })*
    };
}

doors! {
    chat Chat,
    completions Completions,
    responses Responses,
    messages Messages,
    gemini Gemini,
    ollama_chat OllamaChat,
    ollama_generate OllamaGenerate,
}

async fn call(
    app: &App,
    door: Door,
    uri: &Uri,
    granted: Result<Granted, Error>,
    headers: &HeaderMap,
    link: Option<Extension<Link>>,
    body: Body,
) -> Result<Response, Error> {
    let Granted(grant) = granted?;
    grant.start()?;
    let key = intake::idempotency_key(headers)?;
    let body = intake::read(app, headers, body).await?;
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let parsed = heavy::run(body.len(), || {
        let request = parse(&body)?;
        let is_streaming = door.is_streaming(path, query, request.get());
        Ok::<_, Error>((request, is_streaming))
    });
    let (request, is_streaming) = parsed.await?;
    if !is_streaming {
        let model = top_level_string(request.get(), "model").or_else(|| model_in(path));
        return proxy::hand_on(app, &grant, door, Method::POST, uri, headers, model, body, false).await;
    }
    let path = door.path(path);
    let this = again::call(door, &grant, headers, &path, &body);
    let known = again::is_claimed(headers).then(|| app.again.claim(&this)).flatten();
    let Started { cast, replayed } = match known {
        Some(cast) => Started { cast, replayed: true },
        None => {
            let fingerprint = fingerprint(&[&body, b"", path.as_bytes()]);
            let ask = Ask {
                provider: None,
                path: Some(path),
                request,
                ask_usage: false,
                passed: passed(app, headers, query),
                dialect: Some(door.dialect()),
                query: own_query(query),
                wants_head: true,
            };
            let order = Order {
                tenant: grant.tenant.clone(),
                ask,
                fingerprint,
                id: None,
                key,
                metadata: None,
                ttl: None,
                cancel_after: None,
                is_watched: true,
            };
            app.hub.start(order).await?
        }
    };
    // Whoever has just started it was counted then.
    let attached = if replayed { cast.try_attach()? } else { cast.attach() };
    let serving = app.again.serve(this, cast);
    let mut response = answer::stream(app, door, &grant, attached, serving, link).await?;
    if replayed {
        intake::mark_replayed(response.headers_mut());
    }
    Ok(response)
}

/// The model that a path names before what is to be done with it, as Gemini's do.
fn model_in(path: &str) -> Option<String> {
    let (model, _) = path.split_once("/models/")?.1.rsplit_once(':')?;
    Some(model.to_owned())
}

fn parse(body: &Bytes) -> Result<Box<RawValue>, Error> {
    depth::check(body)?;
    let request: Box<RawValue> = serde_json::from_slice(body)
        .map_err(|error| Error::bad_request("invalid_json", format!("the body is not JSON: {error}")))?;
    if !request.get().starts_with('{') {
        return Err(Error::bad_request(
            "invalid_field",
            "write a JSON object, as this provider's own API has it",
        ));
    }
    Ok(request)
}
