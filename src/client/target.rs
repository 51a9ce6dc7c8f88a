//! Where a stream is, and what opens it.

use secrecy::SecretString;
use url::Url;

/// A stream's place, from its own URL or that of its events.
#[derive(Debug, Clone)]
pub struct Target {
    url: Url,
    ticket: Option<SecretString>,
}

/// A text that names no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}: write http://HOST/v1/streams/ID, with ?ticket=… if you have one")]
pub struct BadTarget {
    problem: &'static str,
}

impl Target {
    /// Takes the ticket out of the query, so that it appears in no message and in no log.
    pub fn parse(text: &str) -> Result<Self, BadTarget> {
        let bad = |problem| BadTarget { problem };
        let mut url = Url::parse(text).map_err(|_| bad("this is no URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("this is no http or https URL"));
        }
        let mut ticket = None;
        for (name, value) in url.query_pairs() {
            match &*name {
                "ticket" if ticket.is_none() => ticket = Some(SecretString::from(value.into_owned())),
                "ticket" => return Err(bad("there are two tickets")),
                _ => return Err(bad("only the ticket can stand in the query")),
            }
        }
        url.set_query(None);
        url.set_fragment(None);
        let path: Vec<&str> = url.path().trim_end_matches('/').split('/').collect();
        let path = path.strip_suffix(&["events"]).unwrap_or(&path);
        match path {
            // A gateway behind a proxy may have a path in front of ours.
            [.., "v1", "streams", id] if !id.is_empty() => {}
            _ => return Err(bad("this is not the URL of a stream")),
        }
        let path = path.join("/");
        url.set_path(&path);
        Ok(Self { url, ticket })
    }

    /// The stream's own URL, which holds no secret.
    pub fn url(&self) -> &Url {
        &self.url
    }

    pub fn ticket(&self) -> Option<&SecretString> {
        self.ticket.as_ref()
    }

    pub(super) fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn every_way_to_write_it() {
        for text in [
            "http://h:1/v1/streams/a",
            "http://h:1/v1/streams/a/",
            "http://h:1/v1/streams/a/events",
            "http://h:1/v1/streams/a/events?ticket=t",
            "http://h:1/v1/streams/a?ticket=t#x",
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!(target.url().as_str(), "http://h:1/v1/streams/a", "{text}");
            let ticket = target.ticket().map(|ticket| ticket.expose_secret());
            assert_eq!(ticket, text.contains("ticket").then_some("t"), "{text}");
        }
        let behind = Target::parse("https://h/gateway/v1/streams/a/events").unwrap();
        assert_eq!(behind.url().as_str(), "https://h/gateway/v1/streams/a");
        // A stream may have that id.
        assert_eq!(Target::parse("http://h/v1/streams/events").unwrap_err().problem, NOT_A_STREAM);
        let named = Target::parse("http://h/v1/streams/events/events").unwrap();
        assert_eq!(named.url().path(), "/v1/streams/events");
    }

    const NOT_A_STREAM: &str = "this is not the URL of a stream";

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "h:1/v1/streams/a",
            "/v1/streams/a",
            "ftp://h/v1/streams/a",
            "http://h/",
            "http://h/v1/streams/",
            "http://h/v1/streams/a/text",
            "http://h/v1/streams/a?after=3",
            "http://h/v1/streams/a?ticket=1&ticket=2",
        ] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }
}
