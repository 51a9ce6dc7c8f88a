//! Names and origins that are ours. A page that rebinds its own name to our address has another name.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::net::IpAddr;

use http::uri::Authority;
use url::Url;

/// What the configuration says about how this gateway is called, and by which pages.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// Where the outside finds the HTTP listener.
    pub(crate) public_url: Option<Url>,
    /// Further names under which it may be called.
    pub(crate) hosts: Vec<String>,
    /// Origins, exact, whose pages may call.
    pub(crate) origins: Vec<String>,
}

impl Names {
    /// Loopback names, the address under which the connection arrived, and what the configuration names.
    pub(crate) fn is_ours(&self, host: &str, local: Option<IpAddr>) -> bool {
        let name = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = name.parse::<IpAddr>() {
            return ip.is_loopback() || local == Some(ip) || self.is_configured(name);
        }
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || name.ends_with(".localhost") || self.is_configured(&name)
    }

    fn is_configured(&self, name: &str) -> bool {
        let public = self.public_url.as_ref().and_then(|url| url.host_str());
        public.is_some_and(|host| host.trim_matches(['[', ']']) == name)
            || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }

    /// Pages of the listener that is called `host`, and those of the configured origins.
    pub(crate) fn is_known_origin(&self, origin: &str, host: Option<&Authority>) -> bool {
        let own = host.is_some_and(|host| {
            origin
                .split_once("://")
                .is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host.as_str()))
        });
        let public = self.public_url.as_ref().map(|url| url.origin().ascii_serialization());
        own || public.as_deref() == Some(origin) || self.origins.iter().any(|known| known == origin)
    }

    /// Pages of the HTTP listener on `port`, whatever it is called, and those of the configured origins. For a listener
    /// on a port of its own, which no page has as its origin.
    pub(crate) fn is_page_of(&self, origin: &str, port: u16, local: Option<IpAddr>) -> bool {
        let own = origin.parse::<Url>().is_ok_and(|url| {
            url.port_or_known_default() == Some(port)
                && url.host_str().is_some_and(|host| self.is_ours(host, local))
        });
        own || self.is_known_origin(origin, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            public_url: Url::parse("https://stream.example.com").ok(),
            hosts: vec!["inner".into()],
            origins: vec!["https://app.example".into()],
        }
    }

    #[test]
    fn pages_of_the_other_listener() {
        let local = "10.0.0.7".parse().ok();
        for (origin, is_ours) in [
            ("http://localhost:8080", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://10.0.0.7:8080", true),
            ("http://inner:8080", true),
            ("https://stream.example.com", true),
            ("https://app.example", true),
            ("http://localhost:3000", false),
            ("http://localhost", false),
            ("http://10.0.0.8:8080", false),
            ("https://evil.example:8080", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(names().is_page_of(origin, 8080, local), is_ours, "{origin}");
        }
    }
}
