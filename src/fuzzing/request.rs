//! What a request says of itself outside of its body: query, cursor, host, origin.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use url::form_urlencoded;

use crate::auth::Credential;
use crate::cast::id::Id;
use crate::edge::cursor::Cursor;
use crate::edge::names::Names;
use crate::edge::query::Query;

const CURSOR_MAX: u128 = (1 << 53) - 1;

/// A line each: a query, a `Last-Event-ID`, a host, an origin. A cursor is the number that stands there, or refused; a
/// host that is ours has one of our names; an origin that is known is one that was configured, or of a page of ours.
pub fn request(bytes: &[u8]) {
    let mut lines = bytes.splitn(4, |byte| *byte == b'\n').map(String::from_utf8_lossy);
    let mut line = || lines.next().unwrap_or_default().into_owned();
    let (query, header, host, origin) = (line(), line(), line(), line());
    cursor(&query, &header);
    names(&host, &origin);
    if let Ok(id) = Id::parse(&host) {
        assert_eq!(Id::parse(id.as_str()).ok(), Some(id));
    }
    if let Some(credential) = Credential::bearer_of(&header) {
        assert!(header.ends_with(credential.trim_end()) || header.trim_end().ends_with(credential));
    }
}

fn cursor(text: &str, header: &str) {
    let query = Query::new(text);
    if let Ok(Some(number)) = query.number("heartbeat_ms", 500..=30_000) {
        assert!((500..=30_000).contains(&number));
    }
    let given = |name: &str| -> Vec<String> {
        let pairs = form_urlencoded::parse(text.as_bytes());
        pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
    };
    let mut headers = HeaderMap::new();
    let Ok(value) = HeaderValue::from_str(header) else { return };
    headers.insert("last-event-id", value);
    let read = Cursor::read(&query, Some(&headers)).ok();
    let after = match &given("after")[..] {
        [] => Some(None),
        [after] => number(after).map(Some),
        _ => None,
    };
    let live = match &given("from")[..] {
        [] => Some(false),
        [word] if word == "live" => Some(true),
        _ => None,
    };
    let header = if header.is_empty() { Some(None) } else { number(header).map(Some) };
    let wanted = header.zip(after).zip(live);
    let wanted = wanted.and_then(|((header, after), live)| Cursor::new(header.or(after), live).ok());
    assert_eq!(read, wanted, "{text:?} {header:?}");
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u128 = digits.then(|| text.parse().ok()).flatten()?;
    (number <= CURSOR_MAX).then_some(number as u64)
}

fn names(host: &str, origin: &str) {
    let names = Names {
        public_url: "https://stream.example.com".parse().ok(),
        hosts: vec!["inner".into()],
        origins: vec!["https://app.example".into()],
    };
    if names.is_ours(host, None) {
        assert!(names.is_ours(&host.to_ascii_uppercase(), None), "{host:?}: case means nothing");
        let name = host.trim_matches(['[', ']', '.']).to_ascii_lowercase();
        let is_loopback = || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let is_ours = ["localhost", "stream.example.com", "inner"].contains(&&*name);
        assert!(is_ours || name.ends_with(".localhost") || is_loopback(), "{host:?}");
    }
    if names.is_known_origin(origin, None) {
        assert!(["https://app.example", "https://stream.example.com"].contains(&origin), "{origin:?}");
    }
    let _ = names.is_page_of(origin, 8080, None);
    if let Ok(authority) = host.parse() {
        let _ = names.is_known_origin(origin, Some(&authority));
    }
}
