//! What cannot be right, whatever the types say.

use std::fmt;

use super::Config;
use crate::auth::key::without_keys;

const ROTATE_S_MAX: u64 = 6 * 86_400;

/// Everything that is wrong with a configuration, a line each.
#[derive(Debug)]
pub struct Problems(pub(super) Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_keys(&self.0.join("\n")))
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl std::error::Error for Problems {}

impl Config {
    /// Everything that cannot be right, whatever the types say.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |is_right: bool, key: &str, value: &dyn fmt::Display, instead: &str| {
            if !is_right {
                problems.push(format!("{key} = {value}: {instead}"));
            }
        };
        let Self { http, addresses, webtransport, coalesce, retention, limits, upstream, .. } = self;
        let open = self.auth.wants_keys() || self.auth.insecure_open;
        let reach = [
            ("http.listen", http.listen, true),
            ("webtransport.listen", webtransport.listen, webtransport.enabled),
        ];
        for (key, listen, is_on) in reach {
            check(
                open || !is_on || listen.ip().is_loopback(),
                key,
                &listen,
                "whoever reaches this address could spend your provider's key. Add a key (`tokencast key` prints what \
                 to write under [[auth.keys]]), or listen on 127.0.0.1, or pass --insecure-open",
            );
        }
        let public =
            [("http.public_url", &http.public_url), ("webtransport.public_url", &webtransport.public_url)];
        for (key, url) in public.into_iter().filter_map(|(key, url)| Some((key, url.as_ref()?))) {
            let origin = url.origin().ascii_serialization();
            check(
                is_bare(url),
                key,
                &origin,
                "write it without user, password and query: everybody is told it",
            );
        }
        if let Some(url) = &http.public_url {
            check(is_http(url), "http.public_url", &url.scheme(), "write an http:// or https:// URL");
        }
        if let Some(url) = &webtransport.public_url {
            check(url.scheme() == "https", "webtransport.public_url", &url.scheme(), "write an https:// URL");
        }
        check(
            webtransport.certificate.is_some() == webtransport.key.is_some(),
            "webtransport.certificate",
            &if webtransport.certificate.is_some() { "a file" } else { "nothing" },
            "write both webtransport.certificate and webtransport.key, or neither",
        );
        check(
            http.certificate.is_some() == http.key.is_some(),
            "http.certificate",
            &if http.certificate.is_some() { "a file" } else { "nothing" },
            "write both http.certificate and http.key, or neither",
        );
        check(
            (1..=ROTATE_S_MAX).contains(&webtransport.rotate_s),
            "webtransport.rotate_s",
            &webtransport.rotate_s,
            "write 1 to 518400 (6 days): browsers take a certificate by its hash for 14 days, of which it is known for \
             one such time and in use for another",
        );
        for origin in &http.cors_origins {
            let parsed = origin.parse::<url::Url>();
            let is_origin = parsed.is_ok_and(|url| url.origin().ascii_serialization() == *origin);
            check(
                is_origin,
                "http.cors_origins",
                origin,
                "write exact origins, as in \"https://app.example\"",
            );
        }
        let providers = self.providers.iter().filter_map(|provider| provider.api_key_env.as_ref());
        let apps = self.auth.ticket_keys.iter().filter_map(|key| key.secret_env.as_ref());
        let names = providers.map(|name| ("api_key_env", name)).chain(apps.map(|name| ("secret_env", name)));
        for (key, name) in names {
            // What is no name may be the secret itself.
            check(
                is_variable(name),
                key,
                &"…",
                "write the name of an environment variable, of letters, digits and _: the secret stands in that variable",
            );
        }
        let positive = [
            ("http.connections_max", http.connections_max as u64),
            ("http.body_bytes_max", http.body_bytes_max as u64),
            ("http.h2_streams_max", u64::from(http.h2_streams_max)),
            ("http.head_fields_max", http.head_fields_max as u64),
            ("http.uri_bytes_max", http.uri_bytes_max as u64),
            ("http.tls_handshake_s", http.tls_handshake_s),
            ("http.first_byte_s", http.first_byte_s),
            ("http.head_s", http.head_s),
            ("http.request_s", http.request_s),
            ("http.idle_s", http.idle_s),
            ("http.body_s", http.body_s),
            ("http.stalled_s", http.stalled_s),
            ("addresses.connections_max", addresses.connections_max as u64),
            ("addresses.subscriptions_per_s", u64::from(addresses.subscriptions_per_s)),
            ("addresses.subscriptions_burst", u64::from(addresses.subscriptions_burst)),
            ("webtransport.sessions_max", webtransport.sessions_max as u64),
            ("webtransport.stalled_s", webtransport.stalled_s),
            ("coalesce.frame_bytes_max", coalesce.frame_bytes_max as u64),
            ("retention.ttl_s", retention.ttl_s),
            ("limits.memory_bytes_max", limits.memory_bytes_max as u64),
            ("limits.disk_bytes_max", limits.disk_bytes_max),
            ("limits.streams_max", limits.streams_max as u64),
            ("limits.running_max", limits.running_max as u64),
            ("limits.stream_bytes_max", limits.stream_bytes_max),
            ("limits.viewers_max", limits.viewers_max),
            ("limits.stream_viewers_max", limits.stream_viewers_max),
            ("upstream.connect_s", upstream.connect_s),
            ("upstream.first_byte_s", upstream.first_byte_s),
            ("upstream.silent_s", upstream.silent_s),
            ("upstream.next_byte_s", upstream.next_byte_s),
            ("upstream.total_s", upstream.total_s),
            ("upstream.connect_attempts", u64::from(upstream.connect_attempts)),
            ("upstream.block_bytes_max", upstream.block_bytes_max as u64),
            ("upstream.journal_stall_s", upstream.journal_stall_s),
            ("upstream.breaker_window_s", upstream.breaker_window_s),
            ("upstream.breaker_open_s", upstream.breaker_open_s),
        ];
        for (key, value) in positive {
            check(value > 0, key, &value, "write at least 1");
        }
        check(
            http.head_bytes_max >= 8192,
            "http.head_bytes_max",
            &http.head_bytes_max,
            "write at least 8192",
        );
        check(
            http.uri_bytes_max < http.head_bytes_max as usize,
            "http.uri_bytes_max",
            &http.uri_bytes_max,
            "write less than http.head_bytes_max",
        );
        check(
            coalesce.frame_interval_ms <= 1000,
            "coalesce.frame_interval_ms",
            &coalesce.frame_interval_ms,
            "write at most 1000; 16 is a frame of a screen",
        );
        check(
            coalesce.pending_bytes_max >= coalesce.frame_bytes_max,
            "coalesce.pending_bytes_max",
            &coalesce.pending_bytes_max,
            "write at least coalesce.frame_bytes_max",
        );
        check(
            u32::try_from(coalesce.pending_bytes_max).is_ok()
                && u32::try_from(upstream.block_bytes_max).is_ok(),
            "coalesce.pending_bytes_max",
            &coalesce.pending_bytes_max,
            "write less than 4 GiB, and so for upstream.block_bytes_max",
        );
        check(
            retention.ttl_s <= retention.ttl_s_max,
            "retention.ttl_s",
            &retention.ttl_s,
            "write at most retention.ttl_s_max",
        );
        let own = self.tenants.iter().map(|tenant| ("tenants.quotas", &tenant.quotas));
        for (of, quotas) in std::iter::once(("quotas", &self.quotas)).chain(own) {
            for (name, value) in quotas.named() {
                let is_right = value.is_none_or(|value| value > 0);
                let instead = "write at least 1, or leave it out: then there is no limit";
                check(is_right, &format!("{of}.{name}"), &0, instead);
            }
        }
        for (place, tenant) in self.tenants.iter().enumerate() {
            let is_first = self.tenants.iter().position(|other| other.name == tenant.name) == Some(place);
            check(is_first, "tenants.name", &tenant.name, "a tenant stands here twice: make one of both");
        }
        let ai_sdk = &self.ai_sdk;
        if let Some(name) = &ai_sdk.provider {
            check(
                self.providers.iter().any(|provider| provider.name == *name),
                "ai_sdk.provider",
                name,
                "write the name of one of the [[providers]]",
            );
        }
        check(
            ai_sdk.model_from_body || ai_sdk.model.is_some(),
            "ai_sdk.model_from_body",
            &ai_sdk.model_from_body,
            "write ai_sdk.model, or let chats name their model",
        );
        for (place, provider) in self.providers.iter().enumerate() {
            let name = &provider.name;
            check(!name.is_empty(), "providers.name", &"\"\"", "give every provider a name");
            let is_first = self.providers.iter().position(|other| other.name == *name) == Some(place);
            check(is_first, "providers.name", name, "two providers have this name: choose another one");
            let url = &provider.base_url;
            check(is_http(url), "providers.base_url", &url.scheme(), "write an http(s) URL");
            check(
                is_bare(url),
                "providers.base_url",
                &url.origin().ascii_serialization(),
                "write it without user, password and query: a key stands in the variable that api_key_env names",
            );
            let rooted = provider.paths.iter().all(|path| path.starts_with('/'));
            check(rooted, "providers.paths", &provider.paths.join(", "), "begin every path with /");
        }
        problems
    }
}

/// Whether there is nothing in it but where somebody is.
fn is_bare(url: &url::Url) -> bool {
    url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none()
}

fn is_http(url: &url::Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}
