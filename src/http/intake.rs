//! `POST /v1/streams`: an envelope of ours around a request that stays the provider's.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};
use serde_json::json;
use serde_json::value::RawValue;

use super::App;
use super::depth;
use super::error::Error;
use super::gate::{self, Granted};
use super::place;
use crate::auth::scope::Scope;
use crate::auth::{Credential, Grant, Only};
use crate::cast::Cast;
use crate::cast::hub::order::{Ask, CREDENTIALS, Order, Started};
use crate::cast::id::Id;
use crate::crypto::fingerprint;
use crate::heavy;

/// Time that a ticket has beyond the life of its stream, for clocks and for slow starts.
const TICKET_MARGIN: Duration = Duration::from_secs(60);
const CANCEL_AFTER_S_MAX: u64 = 86_400;

/// What an app sends. `request` is the provider's business, byte for byte.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    request: Box<RawValue>,
    provider: Option<String>,
    path: Option<String>,
    id: Option<String>,
    metadata: Option<Box<RawValue>>,
    ttl_s: Option<u64>,
    #[serde(default, deserialize_with = "on_no_viewers")]
    on_no_viewers: Option<Duration>,
    #[serde(default = "yes")]
    ask_usage: bool,
}

fn yes() -> bool {
    true
}

/// `"continue"`, or how long to go on without viewers.
fn on_no_viewers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct CancelAfter {
        cancel_after_s: u64,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Policy {
        Word(String),
        Cancel(CancelAfter),
    }
    let wanted = || {
        de::Error::custom(format!(
            "write \"continue\", or {{\"cancel_after_s\": N}} with N from 0 to {CANCEL_AFTER_S_MAX}"
        ))
    };
    match Policy::deserialize(deserializer).map_err(|_| wanted())? {
        Policy::Word(word) if word == "continue" => Ok(None),
        Policy::Cancel(CancelAfter { cancel_after_s: s @ 0..=CANCEL_AFTER_S_MAX }) => {
            Ok(Some(Duration::from_secs(s)))
        }
        Policy::Word(_) | Policy::Cancel(_) => Err(wanted()),
    }
}

/// Starts a stream; answers as soon as its id is durable.
pub(super) async fn start(
    State(app): State<App>,
    Granted(grant): Granted,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    grant.start()?;
    let key = idempotency_key(&headers)?;
    is_json(&headers)?;
    let body = read(&app, &headers, body).await?;
    let order = heavy::run(body.len(), || {
        depth::check(&body)?;
        order(&app, &grant, &headers, key, parse(&body)?)
    });
    let order = order.await?;
    let Started { cast, replayed } = app.hub.start(order).await?;
    if !replayed {
        app.chats.note(&cast);
    }
    Ok(started(&app, &grant, &Bases::of(&app, &uri, &headers), &cast, replayed))
}

/// Only `application/json`, which no page can send from a foreign origin without asking first.
pub(super) fn is_json(headers: &HeaderMap) -> Result<(), Error> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Error::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "send JSON, with `content-type: application/json`",
    ))
}

pub(super) async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Bytes, Error> {
    let max = app.config.body_bytes_max;
    let too_large = || {
        let message = format!("the body is larger than http.body_bytes_max, {max} bytes: send less");
        Error::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    };
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|len| len > max) {
        return Err(too_large());
    }
    let within = Duration::from_secs(app.config.body_s);
    match tokio::time::timeout(within, Limited::new(body, max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Error::bad_request("body_incomplete", "the body broke off: send it whole")),
        Err(_) => Err(Error::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "the body did not arrive in time: send it faster, or raise http.body_s",
        )),
    }
}

fn parse(body: &[u8]) -> Result<Envelope, Error> {
    use serde_json::error::Category;
    // A body that is no JSON at all is told apart from one that has something wrong in it.
    if let Err(error) = serde_json::from_slice::<&RawValue>(body) {
        return Err(Error::bad_request("invalid_json", format!("the body is not JSON: {error}")));
    }
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::bad_request("invalid_field", "write a JSON object with a `request` in it"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let text = inner.to_string();
        let code = match inner.classify() {
            Category::Data if text.starts_with("unknown field") => "unknown_field",
            Category::Data if text.starts_with("missing field") => "missing_field",
            _ => "invalid_field",
        };
        let text = text.split(" at line ").next().unwrap_or(&text).to_owned();
        let message = if path == "." { text } else { format!("{path}: {text}") };
        Error::bad_request(code, message)
    })
}

fn order(
    app: &App,
    grant: &Grant,
    headers: &HeaderMap,
    key: Option<Arc<str>>,
    envelope: Envelope,
) -> Result<Order, Error> {
    let Envelope { request, provider, path, id, metadata, ttl_s, on_no_viewers, ask_usage } = envelope;
    let field = |name: &str, what: String| Error::bad_request("invalid_field", format!("{name}: {what}"));
    if !is_object(&request) {
        return Err(field("request", "write the provider's request, a JSON object".into()));
    }
    if let Some(metadata) = &metadata {
        let max = app.config.metadata_bytes_max;
        if !is_object(metadata) || metadata.get().len() > max {
            return Err(field("metadata", format!("write a JSON object of at most {max} bytes")));
        }
    }
    let ttl_max = app.hub.retention().ttl_s_max;
    if ttl_s.is_some_and(|ttl| !(1..=ttl_max).contains(&ttl)) {
        return Err(field("ttl_s", format!("write seconds from 1 to {ttl_max}")));
    }
    let id = id.map(|id| Id::parse(&id)).transpose();
    let id = id.map_err(|error| Error::bad_request("invalid_id", format!("id: {error}")))?;
    let part = |text: &Option<String>| text.as_ref().map(|text| format!("={text}")).unwrap_or_default();
    Ok(Order {
        tenant: grant.tenant.clone(),
        fingerprint: fingerprint(&[
            request.get().as_bytes(),
            part(&provider).as_bytes(),
            part(&path).as_bytes(),
        ]),
        ask: Ask {
            provider,
            path,
            request,
            ask_usage,
            passed: credentials(app, headers),
            dialect: None,
            query: None,
            wants_head: false,
        },
        id,
        key,
        metadata,
        ttl: ttl_s.map(Duration::from_secs),
        cancel_after: on_no_viewers,
        is_watched: false,
    })
}

fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

/// The credentials that are meant for the provider. Where there are keys ours is in `tokencast-key` then: what
/// opens this gateway is not for others.
pub(super) fn credentials(app: &App, headers: &HeaderMap) -> Vec<(String, SecretString)> {
    if !app.gate.is_open() && !headers.contains_key("tokencast-key") {
        return Vec::new();
    }
    let found = CREDENTIALS.iter().filter_map(|name| {
        let value = headers.get(*name)?.to_str().ok()?;
        let bare = Credential::bearer_of(value).unwrap_or(value);
        // What opens this gateway is nobody else's, wherever it stands.
        (!app.gate.is_ours(bare)).then(|| ((*name).to_owned(), SecretString::from(value)))
    });
    found.collect()
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<Arc<str>>, Error> {
    const LEN_MAX: usize = 255;
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=LEN_MAX).contains(&key.len()) && values.next().is_none());
    key.map(|key| Some(key.into())).ok_or_else(|| {
        Error::bad_request(
            "invalid_idempotency_key",
            format!("Idempotency-Key: give it once, with 1 to {LEN_MAX} visible ASCII characters"),
        )
    })
}

fn started(app: &App, grant: &Grant, bases: &Bases, cast: &Cast, replayed: bool) -> Response {
    let (ticket, expires_at) = ticket(app, grant, cast);
    let on = |base: &str| format!("{base}/v1/streams/{}", cast.id());
    let url = on(&bases.http);
    let answer = json!({
        "id": cast.id(),
        "status": cast.status(),
        "ticket": ticket,
        "ticket_expires_at": humantime::format_rfc3339_seconds(expires_at).to_string(),
        "urls": {
            "events": format!("{url}/events"),
            "raw": format!("{url}/raw"),
            "text": format!("{url}/text"),
            "ui": format!("{url}/ui"),
            "webtransport": bases.webtransport.as_deref().map(on),
        },
    });
    let status = if replayed { StatusCode::OK } else { StatusCode::CREATED };
    let mut response = (status, Json(answer)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(location) = HeaderValue::from_str(&url) {
        headers.insert(header::LOCATION, location);
    }
    if replayed {
        mark_replayed(headers);
    }
    response
}

/// Says that nothing was started: the stream was there.
pub(super) fn mark_replayed(headers: &mut HeaderMap) {
    headers.insert(HeaderName::from_static("idempotency-replayed"), HeaderValue::from_static("true"));
}

/// The ticket of who has started a stream: to watch it, and to stop it where its caller may stop.
pub(super) fn ticket(app: &App, grant: &Grant, cast: &Cast) -> (String, SystemTime) {
    let scopes = [Some(Scope::Read), grant.stop().is_ok().then_some(Scope::Stop)];
    let only = Only::Streams([cast.id().clone()].into());
    let lifetime = lifetime(app, cast.about().ttl());
    app.gate.tickets().issue(&grant.tenant, &only, scopes.into_iter().flatten().collect(), lifetime)
}

/// As long as a stream can live that starts now and stays so long after its end.
pub(super) fn lifetime(app: &App, ttl: Duration) -> Duration {
    app.total.saturating_add(ttl).saturating_add(TICKET_MARGIN)
}

/// Where the caller finds us: what the configuration says, else under the name that it used.
struct Bases {
    http: String,
    webtransport: Option<String>,
}

impl Bases {
    fn of(app: &App, uri: &Uri, headers: &HeaderMap) -> Self {
        let http = match &app.names.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => {
                let host = gate::host(uri, headers)
                    .map_or_else(|| app.config.listen.to_string(), |host| host.to_string());
                format!("{}://{host}", app.config.scheme())
            }
        };
        Self { http, webtransport: place::base(app, uri, headers) }
    }
}
