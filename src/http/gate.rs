//! What every request passes: names and origins that are ours, a credential, a request id, a count.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use secrecy::SecretString;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::debug;

use super::App;
use super::error::{self, Code, Error};
use super::params::Params;
use super::serve::Link;
use crate::auth::{Credential, Denied, Grant};
use crate::crypto;
use crate::edge::names::Names;
use crate::telemetry;

const REQUEST_ID: HeaderName = HeaderName::from_static("tokencast-request-id");

/// What every answer carries.
pub(super) const EVERYWHERE: [(&str, &str); 2] =
    [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")];

/// Fields that say who asks, or what for: whichever of two counted, somebody on the way may have looked at the other.
const ONCE: [&str; 7] =
    ["authorization", "tokencast-key", "x-api-key", "x-goog-api-key", "api-key", "origin", "content-type"];

/// What the bearer of the request's credential may do. A handler that takes this has authorised its caller.
#[derive(Debug)]
pub(super) struct Granted(pub(super) Grant);

impl FromRequestParts<App> for Granted {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Ok(params) = Params::from_request_parts(parts, app).await;
        let header = |name| parts.headers.get(name);
        let key = header("tokencast-key").map(|key| key.to_str().map_err(|_| Denied::UnknownKey));
        let authorization = header("authorization").and_then(|value| value.to_str().ok());
        // Where SDKs put the key of their provider, they put ours when only their base URL was changed.
        let of_an_sdk = || {
            let in_header = ["x-api-key", "x-goog-api-key", "api-key"].into_iter().find_map(header);
            let in_header = in_header.and_then(|value| Some(value.to_str().ok()?.to_owned()));
            in_header.or_else(|| params.get("key").ok()?.map(Into::into))
        };
        let credential = Credential {
            key: key.transpose()?.map(SecretString::from),
            bearer: authorization
                .and_then(Credential::bearer_of)
                .map(str::to_owned)
                .or_else(of_an_sdk)
                .map(SecretString::from),
            ticket: params.get("ticket")?.map(|ticket| SecretString::from(ticket.into_owned())),
        };
        Ok(Self(app.gate.grant_to(&credential)?))
    }
}

/// What every request is measured against.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) names: Names,
    pub(super) uri_bytes_max: usize,
    pub(super) head_bytes_max: usize,
    pub(super) head_fields_max: usize,
}

/// Refuses names and origins that are not ours, and notes how the request was answered.
pub(super) async fn guard(State(rules): State<Arc<Rules>>, request: Request, next: Next) -> Response {
    let listener = request.extensions().get::<Link>().map(|link| link.listener);
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let id = crypto::hex(&crypto::random::<8>());
    let mut response = match check(&rules, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    telemetry::request_answered(&route, response.status().as_u16());
    if let Some((Code(code), listener)) = response.extensions().get().zip(listener) {
        telemetry::refused(listener, code);
    }
    debug!(%method, route, status = response.status().as_u16(), request = id, "answered");
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, HeaderValue::from_str(&id).expect("hexadecimal digits"));
    for (name, value) in EVERYWHERE {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn check(rules: &Rules, request: &Request) -> Result<(), Error> {
    let Rules { names, uri_bytes_max, head_bytes_max, head_fields_max } = rules;
    if len(request.uri()) > *uri_bytes_max {
        return Err(error::uri_too_long());
    }
    if request.headers().len() > *head_fields_max
        || request.version() == Version::HTTP_2 && unpacked(request) > *head_bytes_max
    {
        return Err(error::head_too_large());
    }
    if request.extensions().get::<Link>().is_some_and(|link| !link.is_clean) {
        let message = "the request head can be read in two ways: end each line in CR LF, and code the body as `chunked`, \
                       once, or not at all";
        return Err(Error::bad_request("malformed_request", message));
    }
    for name in ONCE {
        if request.headers().get_all(name).iter().nth(1).is_some() {
            let message = format!("the field `{name}` stands in the request more than once: send it once");
            return Err(Error::bad_request("repeated_field", message));
        }
    }
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || hosts == 0 && request.uri().authority().is_none() {
        return Err(Error::bad_request("invalid_host", "send one Host field, with the name of this gateway"));
    }
    let host = host(request.uri(), request.headers());
    let local = request.extensions().get::<Link>().map(|link| link.place.local.ip());
    if !host.as_ref().is_some_and(|host| names.is_ours(host.host(), local)) {
        return Err(Error::new(
            StatusCode::MISDIRECTED_REQUEST,
            "host_not_allowed",
            "this gateway does not answer under that name: add it to http.hosts, or set http.public_url",
        ));
    }
    if changes_something(request.method())
        && let Some(origin) = request.headers().get(header::ORIGIN)
        && !origin.to_str().is_ok_and(|origin| names.is_known_origin(origin, host.as_ref()))
    {
        return Err(Error::new(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "pages of this origin may not call this gateway: add it to http.cors_origins",
        ));
    }
    Ok(())
}

/// How an answer may be used is told to those alone who may read it.
pub(super) async fn to_nobody_else(mut response: Response) -> Response {
    let headers = response.headers_mut();
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        for name in [
            header::ACCESS_CONTROL_ALLOW_METHODS,
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            header::ACCESS_CONTROL_MAX_AGE,
        ] {
            headers.remove(name);
        }
    }
    response
}

/// A head of HTTP/2 as it counts, with its pseudo-fields.
fn unpacked(request: &Request) -> usize {
    const EACH: usize = 32;
    const PSEUDO: usize = ":method:scheme:authority:path".len() + 4 * EACH;
    let scheme = request.uri().scheme_str().unwrap_or_default();
    let pseudo = [PSEUDO, request.method().as_str().len(), scheme.len(), len(request.uri())];
    let fields = request.headers().iter();
    let fields = fields.flat_map(|(name, value)| [EACH, name.as_str().len(), value.len()]);
    fields.chain(pseudo).fold(0, usize::saturating_add)
}

/// As long as it came.
fn len(uri: &Uri) -> usize {
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    uri.path_and_query().map_or(0, |path| path.as_str().len()).saturating_add(authority)
}

/// The name under which a request calls us, given once.
pub(super) fn host(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let host = match uri.authority() {
        Some(authority) => authority.clone(),
        None => {
            let mut hosts = headers.get_all(header::HOST).iter();
            let host = hosts.next().filter(|_| hosts.next().is_none())?;
            host.to_str().ok()?.parse().ok()?
        }
    };
    // A name and perhaps a port, and nothing that only looks like them.
    let is_plain = match host.port_u16() {
        None => host.as_str() == host.host(),
        Some(port) => host.as_str() == format!("{}:{port}", host.host()),
    };
    is_plain.then_some(host)
}

fn changes_something(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Answers pages of the configured origins, and none else.
pub(super) fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let header = HeaderName::from_static;
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            header("idempotency-key"),
            header("last-event-id"),
            header("tokencast-key"),
        ])
        .expose_headers([
            header::LOCATION,
            header::RETRY_AFTER,
            header("idempotency-replayed"),
            header("tokencast-after"),
            header("tokencast-offset"),
            header("tokencast-stream-id"),
            header("tokencast-ticket"),
            header("x-vercel-ai-ui-message-stream"),
            header("x-workflow-run-id"),
            header("x-workflow-stream-tail-index"),
            REQUEST_ID,
        ])
        .max_age(Duration::from_secs(600));
    Some(layer)
}
