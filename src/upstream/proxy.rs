//! Calls that a provider answers by itself: they go there and back as they are.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::provider::{Provider, Registry};
use crate::cast::hub::order::AskError;
use crate::edge::forward::{Answer, Call, Forward, ForwardError, Forwarding};
use crate::outbound::causes;

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

/// The header fields of an answer that are handed on.
pub(super) fn handed_on(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    // Cookies would be set for this gateway's name.
    let kept =
        headers.iter().filter(|(name, _)| !HOP.contains(&name.as_str()) && name.as_str() != "set-cookie");
    kept.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

impl Forward for Registry {
    fn forward(&self, call: Call) -> Forwarding<'_> {
        Box::pin(async move {
            let provider = self.provider_for(&call)?.clone();
            self.send(&provider, call).await
        })
    }

    fn forward_to(&self, provider: &str, call: Call) -> Forwarding<'_> {
        let found = self.providers().iter().find(|known| *known.name == *provider).cloned();
        Box::pin(async move {
            let provider = found.ok_or(ForwardError::NoPath)?;
            self.send(&provider, call).await
        })
    }

    fn providers(&self, dialect: Option<&str>) -> Vec<(String, &'static str)> {
        let wanted = self
            .providers()
            .iter()
            .filter(|provider| dialect.is_none_or(|wanted| provider.family.name() == wanted));
        wanted.map(|provider| (provider.name.to_string(), provider.family.name())).collect()
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
        let mut able = self.providers().iter().filter(|provider| {
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
        let mut headers = HeaderMap::new();
        for (name, value) in provider.headers(&passed)? {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(value.expose_secret());
            if let (Ok(name), Ok(mut value)) = (name, value) {
                value.set_sensitive(true);
                headers.append(name, value);
            }
        }
        let url = format!("{}{path}", provider.base_url);
        let request = self.client().request(method, url).headers(headers).body(body);
        let within = Duration::from_secs(self.limits().config.total_s);
        let response = match timeout(within, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(ForwardError::Unreachable(causes(&error.without_url()))),
            Err(_) => return Err(ForwardError::Silent),
        };
        let (status, headers) = (response.status().as_u16(), handed_on(response.headers()));
        let body = async_stream::stream! {
            let mut response = response;
            loop {
                match response.chunk().await {
                    Ok(Some(chunk)) => yield Ok::<Bytes, _>(chunk),
                    Ok(None) => return,
                    Err(error) => {
                        yield Err(std::io::Error::other(causes(&error.without_url())));
                        return;
                    }
                }
            }
        };
        Ok(Answer { status, headers, body: Box::pin(body) })
    }
}
