//! The console at `/` and the browser client at `/client.js`: files that the binary carries.

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::crypto::{hex, sha256};

/// The page loads what this gateway has, and connects to it over any transport; WebTransport is another origin.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self' https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", file(HTML, include_str!("../../console/index.html")))
        .route("/console.css", file(STYLE, include_str!("../../console/console.css")))
        .route("/console.js", file(SCRIPT, include_str!("../../console/dist/console.js")))
        .route("/client.js", file(SCRIPT, include_str!("../../client/dist/client.js")))
}

/// Asked for anew each time, and sent again only when it has changed: an update of the gateway is one of its page.
fn file<S: Clone + Send + Sync + 'static>(
    content_type: &'static str,
    content: &'static str,
) -> axum::routing::MethodRouter<S> {
    let tag = format!("\"{}\"", &hex(&sha256(content.as_bytes()))[..16]);
    let tag = HeaderValue::from_str(&tag).expect("hexadecimal digits");
    get(move |headers: HeaderMap| {
        let answer = answer(&headers, content_type, content, tag.clone());
        async { answer }
    })
}

fn answer(
    headers: &HeaderMap,
    content_type: &'static str,
    content: &'static str,
    tag: HeaderValue,
) -> Response {
    let is_known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok())
        .is_some_and(|tags| tags.split(',').any(|known| known.trim().trim_start_matches("W/") == tag));
    let mut response =
        if is_known { StatusCode::NOT_MODIFIED.into_response() } else { content.into_response() };
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer.insert(header::ETAG, tag);
    if content_type == HTML {
        answer.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    }
    response
}
