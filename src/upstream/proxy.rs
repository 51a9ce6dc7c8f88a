//! Calls that a provider answers by itself: they go there and back as they are.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use super::provider::{Provider, Registry};
use super::read::is_head_too_large;
use super::secret::Secret;
use crate::cast::hub::order::{AskError, CREDENTIALS};
use crate::edge::forward::{Answer, Call, Forward, ForwardError, Forwarding, Known};
use crate::outbound::causes;

/// As much of an error as is looked through for keys.
const REFUSAL_BYTES_MAX: usize = 1024 * 1024;

/// What belongs to a connection and not to an answer, or tells of an encoding that is gone.
const HOP: [&str; 10] = [
    "connection",
    "content-encoding",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a provider says for its own name and not for ours, and what only we say.
const OWN: [&str; 16] = [
    "access-control-",
    "alt-svc",
    "clear-site-data",
    "content-location",
    "content-security-policy",
    "cross-origin-",
    "location",
    "nel",
    "permissions-policy",
    "refresh",
    "report-to",
    "reporting-endpoints",
    "set-cookie",
    "strict-transport-security",
    "tokencast-",
    "www-authenticate",
];

/// The header fields of an answer that are handed on. Those with a credential of ours in them are not.
pub(super) fn handed_on(headers: &HeaderMap, secrets: &[&str]) -> Vec<(String, Vec<u8>)> {
    let is_kept = |name: &str, value: &[u8]| {
        !HOP.contains(&name)
            && !OWN.iter().any(|own| name.starts_with(own))
            && !secrets.iter().any(|secret| Secret::new(secret).is_in(value))
    };
    let kept = headers.iter().filter(|(name, value)| is_kept(name.as_str(), value.as_bytes()));
    kept.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

/// The keys in header fields that a call was made with.
pub(super) fn secrets(headers: &[(String, SecretString)]) -> Vec<&str> {
    let credentials = headers.iter().filter(|(name, _)| CREDENTIALS.contains(&&**name));
    let keys = credentials.map(|(_, value)| {
        let whole = value.expose_secret();
        whole.split_once(' ').map_or(whole, |(_, key)| key).trim()
    });
    keys.filter(|key| !key.is_empty()).collect()
}

impl Forward for Registry {
    fn forward(&self, call: Call) -> Forwarding<'_> {
        Box::pin(async move {
            let provider = self.provider_for(&call)?.clone();
            self.send(&provider, call).await
        })
    }

    fn forward_to(&self, provider: &str, call: Call) -> Forwarding<'_> {
        let found = Self::providers(self).iter().find(|known| *known.name == *provider).cloned();
        Box::pin(async move {
            let provider = found.ok_or(ForwardError::NoPath)?;
            self.send(&provider, call).await
        })
    }

    fn providers(&self) -> Vec<Known> {
        let known = |provider: &Arc<Provider>| Known {
            name: provider.name.to_string(),
            dialect: provider.family.name(),
            takes_callers_key: provider.takes_callers_key(),
        };
        Registry::providers(self).iter().map(known).collect()
    }

    fn serving(&self, name: Option<&str>, model: &str) -> Result<(String, &'static str), AskError> {
        let mut providers = self.providers().iter();
        let found = match name {
            Some(name) => providers.find(|provider| *provider.name == *name),
            None => providers.find(|provider| provider.serves(model)),
        };
        let found = found.ok_or_else(|| AskError::UnknownModel { model: model.to_owned() })?;
        Ok((found.name.to_string(), found.family.name()))
    }
}

impl Registry {
    /// Who takes this call: by its model, else whoever speaks its dialect first.
    fn provider_for(&self, call: &Call) -> Result<&Arc<Provider>, ForwardError> {
        let path = call.path.split('?').next().unwrap_or_default();
        let mut able = Self::providers(self).iter().filter(|provider| {
            provider.family.name() == call.dialect && (!call.is_listed || provider.hands_on(path))
        });
        let Some(model) = &call.model else { return able.next().ok_or(ForwardError::NoPath) };
        let mut able = able.peekable();
        if able.peek().is_none() {
            return Err(ForwardError::NoPath);
        }
        let found = able.find(|provider| provider.serves(model));
        found.ok_or_else(|| AskError::UnknownModel { model: model.clone() }.into())
    }

    async fn send(&self, provider: &Provider, call: Call) -> Result<Answer, ForwardError> {
        let Call { method, path, passed, body, .. } = call;
        let sent = provider.headers(&passed)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &sent {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(value.expose_secret());
            if let (Ok(name), Ok(mut value)) = (name, value) {
                value.set_sensitive(true);
                headers.append(name, value);
            }
        }
        let text = format!("{}{path}", provider.base_url);
        // A URL that is not what it says would lead elsewhere.
        let url: reqwest::Url = text.parse().map_err(|_| ForwardError::NoPath)?;
        if !text.split('?').next().is_some_and(|text| text.ends_with(url.path())) {
            return Err(ForwardError::NoPath);
        }
        let request = self.client().request(method, url).headers(headers).body(body);
        let limits = &self.limits().config;
        let (total, silent) = (Duration::from_secs(limits.total_s), Duration::from_secs(limits.silent_s));
        let attempt = provider.breaker.attempt().map_err(AskError::from)?;
        let response = match timeout(total, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                if !is_head_too_large(&error) {
                    attempt.failed();
                }
                return Err(ForwardError::Unreachable(causes(&error.without_url())));
            }
            Err(_) => {
                attempt.failed();
                return Err(ForwardError::Silent);
            }
        };
        attempt.got(response.status());
        let secrets = secrets(&sent);
        let status = response.status();
        let encoding = response.headers().get(CONTENT_ENCODING).cloned();
        let mut headers = handed_on(response.headers(), &secrets);
        if let Some(encoding) = encoding {
            // The bytes go on as they are.
            headers.push((CONTENT_ENCODING.as_str().to_owned(), encoding.as_bytes().to_vec()));
        }
        let secrets: Vec<String> =
            if status.is_success() { Vec::new() } else { secrets.into_iter().map(str::to_owned).collect() };
        let body = async_stream::stream! {
            let mut response = response;
            // An error may name the key that it refuses: it is read whole, as far as one is worth it.
            let mut refusal = Vec::new();
            loop {
                match timeout(silent, response.chunk()).await {
                    Ok(Ok(Some(chunk))) if secrets.is_empty() => yield Ok::<Bytes, _>(chunk),
                    Ok(Ok(Some(chunk))) => {
                        refusal.extend_from_slice(&chunk);
                        if refusal.len() > REFUSAL_BYTES_MAX {
                            yield Err(std::io::Error::other("the provider's error is too large"));
                            return;
                        }
                    }
                    Ok(Ok(None)) => break,
                    Ok(Err(error)) => {
                        yield Err(std::io::Error::other(causes(&error.without_url())));
                        return;
                    }
                    Err(_) => {
                        yield Err(std::io::Error::other("not a byte for upstream.silent_s"));
                        return;
                    }
                }
            }
            if !refusal.is_empty() {
                let scrub = |text: Vec<u8>, secret: &String| Secret::new(secret).taken_out(&text).unwrap_or(text);
                yield Ok(secrets.iter().fold(refusal, scrub).into());
            }
        };
        Ok(Answer { status: status.as_u16(), headers, body: Box::pin(body) })
    }
}
