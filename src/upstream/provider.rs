//! The configured providers: names, base URLs, keys, and which model goes where.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tracing::{Instrument, info_span};
use url::Url;
use wildmatch::WildMatch;

use super::breaker::Breaker;
use super::proxy::secrets;
use super::secret::Secret;
use super::{Limits, run};
use crate::cast::Producer;
use crate::cast::account::tokens_in;
use crate::cast::coalesce;
use crate::cast::hub::order::{Ask, AskError, CREDENTIALS, Launch, Offer, Origin};
use crate::dialect::{Family, splice};
use crate::tasks::Tasks;

/// What is shorter stands in for a key where a server wants none, and may be a word of its answers.
const KEY_BYTES_MIN: usize = 16;

/// `[[providers]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What `provider` in a POST names.
    pub name: String,
    pub dialect: Family,
    /// As the provider's own SDK takes it.
    pub base_url: Url,
    /// The environment variable that holds the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    #[serde(default)]
    pub credentials: Credentials,
    /// Globs that route a model here.
    #[serde(default = "every_model")]
    pub models: Vec<String>,
    /// Paths that a POST may name beside those of the dialect.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Globs of paths that are handed on as they come; those of the dialect where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_paths: Option<Vec<String>>,
}

fn every_model() -> Vec<String> {
    vec!["*".into()]
}

/// Whose key the provider sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    #[default]
    Gateway,
    Caller,
}

/// One provider, ready to be called.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) name: Arc<str>,
    pub(super) family: Family,
    pub(super) base_url: String,
    api_key: Option<SecretString>,
    credentials: Credentials,
    models: Vec<WildMatch>,
    paths: Vec<String>,
    proxy_paths: Vec<WildMatch>,
    pub(super) breaker: Arc<Breaker>,
}

/// All providers, in the order of the configuration.
#[derive(Debug)]
pub struct Registry {
    providers: Vec<Arc<Provider>>,
    client: reqwest::Client,
    limits: Limits,
    coalesce: coalesce::Config,
    tasks: Tasks,
}

impl Registry {
    /// `variable` looks up environment variables.
    pub fn new(
        configs: &[Config],
        variable: impl Fn(&str) -> Option<String>,
        client: reqwest::Client,
        limits: Limits,
        coalesce: coalesce::Config,
        tasks: Tasks,
    ) -> Self {
        let provider = |config| Arc::new(Provider::new(config, &limits.config, &variable));
        let providers = configs.iter().map(provider).collect();
        Self { providers, client, limits, coalesce, tasks }
    }

    pub(super) fn providers(&self) -> &[Arc<Provider>] {
        &self.providers
    }

    pub(super) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    fn route(&self, ask: &Ask) -> Result<&Arc<Provider>, AskError> {
        let speaks =
            |provider: &&Arc<Provider>| ask.dialect.is_none_or(|wanted| provider.family.name() == wanted);
        if let Some(name) = &ask.provider {
            let provider = self.providers.iter().filter(speaks).find(|provider| *provider.name == **name);
            return provider.ok_or_else(|| {
                let known = self.providers.iter().filter(speaks).map(|provider| &*provider.name);
                AskError::UnknownProvider { name: name.clone(), known: known.collect::<Vec<_>>().join(", ") }
            });
        }
        let path = ask.path.as_deref().unwrap_or_default();
        let model = splice::top_level_string(ask.request.get(), "model");
        let in_path = || Family::Gemini.model_in(path).map(str::to_owned);
        let model = model.or_else(in_path).ok_or(AskError::NoModel)?;
        let provider = self.providers.iter().filter(speaks).find(|provider| provider.serves(&model));
        provider.ok_or(AskError::UnknownModel { model })
    }
}

impl Provider {
    fn new(config: &Config, limits: &super::Config, variable: &impl Fn(&str) -> Option<String>) -> Self {
        let api_key = config.api_key_env.as_ref().and_then(|name| {
            let key = variable(name).filter(|key| !key.is_empty());
            if key.is_none() {
                tracing::warn!(
                    provider = config.name,
                    variable = name,
                    "the variable is not set: requests go without a key"
                );
            }
            key.map(SecretString::from)
        });
        Self {
            breaker: Breaker::new(config.name.as_str().into(), limits),
            name: config.name.as_str().into(),
            family: config.dialect,
            base_url: config.base_url.as_str().trim_end_matches('/').to_owned(),
            api_key,
            credentials: config.credentials,
            models: config.models.iter().map(|glob| WildMatch::new(glob)).collect(),
            paths: config.paths.clone(),
            proxy_paths: match &config.proxy_paths {
                Some(globs) => globs.iter().map(|glob| WildMatch::new(glob)).collect(),
                None => config.dialect.proxy_paths().iter().map(|glob| WildMatch::new(glob)).collect(),
            },
        }
    }

    /// Whether calls of this path go to the provider as they are.
    pub(super) fn hands_on(&self, path: &str) -> bool {
        !path.contains("..") && self.proxy_paths.iter().any(|glob| glob.matches(path))
    }

    pub(super) fn takes_callers_key(&self) -> bool {
        self.credentials == Credentials::Caller
    }

    pub(super) fn serves(&self, model: &str) -> bool {
        self.models.iter().any(|glob| glob.matches(model))
    }

    /// The path to call: the one that is asked for, if it is on the list.
    fn path(&self, asked: Option<&str>, request: &str) -> Result<String, AskError> {
        let Some(path) = asked else {
            let model = splice::top_level_string(request, "model");
            return self.family.default_path(model.as_deref()).map(Into::into).ok_or(AskError::NoPath);
        };
        if self.family.allows(path) || self.paths.iter().any(|known| known == path) {
            return Ok(path.to_owned());
        }
        let allowed: Vec<&str> =
            self.family.paths().iter().copied().chain(self.paths.iter().map(String::as_str)).collect();
        let (provider, path) = (self.name.to_string(), path.to_owned());
        Err(AskError::PathNotAllowed { provider, path, allowed: allowed.join(", ") })
    }

    /// The header fields of one request, credential included.
    pub(super) fn headers(
        &self,
        passed: &[(String, SecretString)],
    ) -> Result<Vec<(String, SecretString)>, AskError> {
        let is_credential = |name: &str| CREDENTIALS.contains(&name);
        let (theirs, mut headers): (Vec<_>, Vec<_>) =
            passed.iter().cloned().partition(|(name, _)| is_credential(name));
        for (name, value) in self.family.headers() {
            if headers.iter().all(|(passed, _)| passed != name) {
                headers.push(((*name).to_owned(), SecretString::from(*value)));
            }
        }
        match (self.credentials, &self.api_key) {
            (Credentials::Gateway, Some(key)) => {
                let (name, before) = self.family.credential();
                let value = format!("{before}{}", key.expose_secret());
                headers.push((name.to_owned(), value.into()));
            }
            (Credentials::Gateway, None) => {}
            (Credentials::Caller, _) if theirs.is_empty() => {
                return Err(AskError::NoCredentials { provider: self.name.to_string() });
            }
            (Credentials::Caller, _) => headers.extend(theirs),
        }
        Ok(headers)
    }
}

impl Origin for Registry {
    fn admit(&self, ask: Ask) -> Result<Box<dyn Launch>, AskError> {
        let provider = self.route(&ask)?;
        let path = provider.path(ask.path.as_deref(), ask.request.get())?;
        let body = provider.family.prepare(&path, ask.request.get(), ask.ask_usage);
        let body = body.map_err(|error| AskError::BadRequest(error.to_string()))?;
        let headers = provider.headers(&ask.passed)?;
        // Whoever waits for the provider's own words is told before anything is begun. Others see it end.
        if ask.wants_head {
            provider.breaker.check()?;
        }
        Ok(Box::new(Job {
            call: Call {
                name: provider.name.clone(),
                url: format!("{}{path}{}", provider.base_url, query(provider.family, ask.query.as_deref())),
                wants_head: ask.wants_head,
                path,
                family: provider.family,
                headers,
                breaker: provider.breaker.clone(),
                body: body.into(),
            },
            client: self.client.clone(),
            limits: self.limits.clone(),
            coalesce: self.coalesce.clone(),
            tasks: self.tasks.clone(),
        }))
    }

    fn offers(&self) -> Vec<Offer> {
        let offer = |provider: &Arc<Provider>| Offer {
            name: provider.name.to_string(),
            dialect: provider.family.name(),
            models: provider.models.iter().map(ToString::to_string).collect(),
        };
        self.providers.iter().map(offer).collect()
    }
}

/// What stands behind the path: what makes the answer a stream, and what the caller has asked for beside it.
fn query(family: Family, asked: Option<&str>) -> String {
    let own = family.query().trim_start_matches('?');
    let is_own = |pair: &&str| !own.is_empty() && pair.split('=').next() == own.split('=').next();
    let asked =
        asked.into_iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty() && !is_own(pair));
    let all: Vec<&str> = Some(own).filter(|own| !own.is_empty()).into_iter().chain(asked).collect();
    if all.is_empty() { String::new() } else { format!("?{}", all.join("&")) }
}

/// One admitted request.
struct Job {
    call: Call,
    client: reqwest::Client,
    limits: Limits,
    coalesce: coalesce::Config,
    tasks: Tasks,
}

/// One call of a provider.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: Arc<str>,
    pub(super) url: String,
    pub(super) path: String,
    pub(super) family: Family,
    /// Somebody hands on how the provider begins its answer.
    pub(super) wants_head: bool,
    pub(super) breaker: Arc<Breaker>,
    headers: Vec<(String, SecretString)>,
    body: Bytes,
}

impl Call {
    pub(super) fn request(&self, client: &reqwest::Client) -> reqwest::RequestBuilder {
        let mut request = client
            .post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, self.family.content_type())
            .header(ACCEPT_ENCODING, "identity")
            .body(self.body.clone());
        for (name, value) in &self.headers {
            if let Ok(mut value) = HeaderValue::from_str(value.expose_secret()) {
                value.set_sensitive(true);
                request = request.header(name, value);
            }
        }
        request
    }

    /// The keys that this call was made with.
    pub(super) fn secrets(&self) -> Vec<&str> {
        secrets(&self.headers)
    }

    /// Those of them that no answer has by chance.
    pub(super) fn keys(&self) -> Vec<Secret<'_>> {
        self.secrets().into_iter().filter(|key| key.len() >= KEY_BYTES_MIN).map(Secret::new).collect()
    }

    /// The text without them.
    pub(super) fn scrub(&self, text: &str) -> String {
        let scrub = |text: String, secret| {
            let clean = Secret::new(secret).taken_out(text.as_bytes());
            clean.map_or(text, |clean| String::from_utf8_lossy(&clean).into_owned())
        };
        self.secrets().into_iter().fold(text.to_owned(), scrub)
    }
}

impl Launch for Job {
    fn provider(&self) -> Arc<str> {
        self.call.name.clone()
    }

    fn tokens(&self) -> u64 {
        tokens_in(&self.call.body)
    }

    fn launch(self: Box<Self>, producer: Producer) {
        let Self { call, client, limits, coalesce, tasks } = *self;
        let span = info_span!("stream", id = %producer.cast().id(), provider = &*call.name);
        tasks.spawn(async move { run(&call, &client, &limits, &coalesce, producer).await }.instrument(span));
    }
}
