//! What passes a door: fields and queries of a request that mean something to the provider, and fields of its answer.

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use url::form_urlencoded;

use crate::http::{App, intake};

/// What a caller's request has that means something to the provider.
const PASSED: [&str; 10] = [
    "accept",
    "anthropic-beta",
    "anthropic-version",
    "content-type",
    "http-referer",
    "openai-beta",
    "openai-organization",
    "openai-project",
    "x-goog-user-project",
    "x-title",
];

/// Header fields that go to the provider. `accept` and `content-type` are of the call itself, and set by who makes it.
pub(super) fn passed(app: &App, headers: &HeaderMap, query: &str) -> Vec<(String, SecretString)> {
    let mut passed = credentials(app, headers, query);
    let wanted = PASSED.iter().filter(|name| !matches!(**name, "accept" | "content-type"));
    passed.extend(wanted.filter_map(|name| field(headers, name)));
    passed
}

/// The same, with what says how a body is to be read.
pub(super) fn passed_with_types(app: &App, headers: &HeaderMap, query: &str) -> Vec<(String, SecretString)> {
    let mut passed = credentials(app, headers, query);
    passed.extend(PASSED.iter().filter_map(|name| field(headers, name)));
    passed
}

/// The caller's credentials for the provider. Google's may stand in the query; there it goes no further.
fn credentials(app: &App, headers: &HeaderMap, query: &str) -> Vec<(String, SecretString)> {
    let mut found = intake::credentials(app, headers);
    let may_be_theirs = app.gate.is_open() || headers.contains_key("tokencast-key");
    let key = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "key").map(|(_, key)| key);
    if let Some(key) = key.filter(|key| found.is_empty() && may_be_theirs && !app.gate.is_ours(key)) {
        found.push(("x-goog-api-key".to_owned(), SecretString::from(key.into_owned())));
    }
    found
}

fn field(headers: &HeaderMap, name: &str) -> Option<(String, SecretString)> {
    Some((name.to_owned(), SecretString::from(headers.get(name)?.to_str().ok()?)))
}

/// The query without what is ours, and without keys, which go in header fields.
pub(super) fn own_query(query: &str) -> Option<String> {
    // Names are read as they will be read: `k%65y` is `key`.
    let name = |pair: &str| form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name.into_owned());
    let is_theirs =
        |pair: &&str| !pair.is_empty() && !matches!(name(pair).as_deref(), Some("ticket" | "key"));
    let query: Vec<&str> = query.split('&').filter(is_theirs).collect();
    (!query.is_empty()).then(|| query.join("&"))
}

/// Header fields of the provider's answer.
pub(super) fn hand_back(from: &[(String, Vec<u8>)], to: &mut HeaderMap) {
    for (name, value) in from {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            to.append(name, value);
        }
    }
}
