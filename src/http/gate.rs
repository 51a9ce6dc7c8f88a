//! What every request passes: names and origins that are ours, a credential, a request id, a count.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::debug;

use super::error::Error;
use super::params::Params;
use super::serve::Link;
use super::{App, Config};
use crate::auth::{Denied, Grant};
use crate::crypto;
use crate::telemetry;

const REQUEST_ID: HeaderName = HeaderName::from_static("tokencast-request-id");

/// What the bearer of the request's credential may do. A handler that takes this has authorised its caller.
#[derive(Debug)]
pub(super) struct Granted(pub(super) Grant);

impl FromRequestParts<App> for Granted {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Ok(params) = Params::from_request_parts(parts, app).await;
        let in_query = params.get("ticket")?;
        let grant = match (parts.headers.get("tokencast-key"), bearer(&parts.headers), in_query) {
            (Some(key), ..) => app.gate.grant(Some(key.to_str().map_err(|_| Denied::UnknownKey)?)),
            // A page that follows a link has no header to set: its ticket counts.
            (None, _, Some(ticket)) if app.gate.is_open() => app.gate.grant(Some(&ticket)),
            (None, Some(credential), _) => app.gate.grant_by_authorization(credential),
            (None, None, ticket) => app.gate.grant(ticket.as_deref()),
        };
        Ok(Self(grant?))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, credential) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim())
}

/// Refuses names and origins that are not ours, and notes how the request was answered.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let id = crypto::hex(&crypto::random::<8>());
    let mut response = match check(&app.config, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    telemetry::request_answered(&route, response.status().as_u16());
    debug!(%method, route, status = response.status().as_u16(), request = id, "answered");
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, HeaderValue::from_str(&id).expect("hexadecimal digits"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn check(config: &Config, request: &Request) -> Result<(), Error> {
    let host = host(request.uri(), request.headers());
    let local = request.extensions().get::<Link>().map(|link| link.local.ip());
    if !host.as_ref().is_some_and(|host| is_ours(config, host.host(), local)) {
        return Err(Error::new(
            StatusCode::MISDIRECTED_REQUEST,
            "host_not_allowed",
            "this gateway does not answer under that name: add it to http.hosts, or set http.public_url",
        ));
    }
    if changes_something(request.method())
        && let Some(origin) = request.headers().get(header::ORIGIN)
        && !is_known_origin(config, origin, host.as_ref())
    {
        return Err(Error::new(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "pages of this origin may not call this gateway: add it to http.cors_origins",
        ));
    }
    Ok(())
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

/// Loopback names, the address under which the connection arrived, and what the configuration names. A page that
/// rebinds its own name to our address has another name.
fn is_ours(config: &Config, host: &str, local: Option<IpAddr>) -> bool {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = name.parse::<IpAddr>() {
        return ip.is_loopback() || local == Some(ip) || is_configured(config, name);
    }
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || is_configured(config, &name)
}

fn is_configured(config: &Config, name: &str) -> bool {
    let public = config.public_url.as_ref().and_then(|url| url.host_str());
    public.is_some_and(|host| host.trim_matches(['[', ']']) == name)
        || config.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

fn changes_something(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Our own pages, and those of the configured origins.
fn is_known_origin(config: &Config, origin: &HeaderValue, host: Option<&Authority>) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let own = host.is_some_and(|host| {
        origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host.as_str()))
    });
    let public = config.public_url.as_ref().map(|url| url.origin().ascii_serialization());
    own || public.as_deref() == Some(origin) || config.cors_origins.iter().any(|known| known == origin)
}

/// Answers pages of the configured origins, and none else.
pub(super) fn cors(config: &Config) -> Option<CorsLayer> {
    if config.cors_origins.is_empty() {
        return None;
    }
    let origins = config.cors_origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
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
            REQUEST_ID,
        ])
        .max_age(Duration::from_secs(600));
    Some(layer)
}
