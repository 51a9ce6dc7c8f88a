//! The whole configuration: defaults ← file ← environment ← flags, read and validated before anything is bound.
//!
//! Each area owns its part; this file composes them, merges the layers, and says which key is wrong and what to write
//! instead.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::cast::{coalesce, hub};
use crate::upstream::provider::{self, Credentials};
use crate::{auth, dialect, http, journal, log, server, upstream};

const PREFIX: &str = "TOKENCAST_";
/// Variables of ours that are no keys.
const RESERVED: [&str; 3] = ["TOKENCAST_CONFIG", "TOKENCAST_KEY", "TOKENCAST_CORPUS"];

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub http: http::Config,
    pub ops: http::OpsConfig,
    pub webtransport: WebTransport,
    pub auth: auth::Config,
    pub journal: journal::Config,
    pub coalesce: coalesce::Config,
    pub retention: hub::Retention,
    pub limits: hub::Limits,
    pub upstream: upstream::Config,
    pub drain: server::Drain,
    pub log: log::Config,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<provider::Config>,
}

/// `[webtransport]`: read, and not served yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebTransport {
    pub enabled: bool,
    pub listen: SocketAddr,
}

impl Default for WebTransport {
    fn default() -> Self {
        Self { enabled: true, listen: SocketAddr::from(([127, 0, 0, 1], 4433)) }
    }
}

/// Everything that is wrong with a configuration, a line each.
#[derive(Debug)]
pub struct Problems(Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// Where a configuration comes from.
#[derive(Debug, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// The environment of the process.
    pub variables: Vec<(String, String)>,
    /// Keys that were given as flags, by their dotted name.
    pub flags: Vec<(&'static str, Value)>,
    /// Further providers, as `NAME=URL`.
    pub providers: Vec<String>,
}

impl Sources {
    /// Reads, merges and validates.
    pub fn load(&self) -> Result<Config, Problems> {
        let mut problems = Vec::new();
        let mut merged = Table::new();
        if let Some(path) = self.path() {
            match read(&path) {
                Ok(table) => merged = table,
                Err(problem) => return Err(Problems(vec![problem])),
            }
        }
        for (variable, text) in self.variables.iter().filter(|(name, _)| is_key(name)) {
            let key = variable[PREFIX.len()..].to_ascii_lowercase().replace("__", ".");
            overlay(&mut merged, &key, &literal(text), variable, &mut problems);
        }
        for (key, value) in &self.flags {
            overlay(&mut merged, key, value, "a flag", &mut problems);
        }
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let mut config: Config =
            merged.try_into().map_err(|error: toml::de::Error| Problems(vec![error.to_string()]))?;
        for text in &self.providers {
            match compatible(text) {
                Ok(provider) => config.providers.push(provider),
                Err(problem) => problems.push(problem),
            }
        }
        if config.providers.is_empty() {
            config.providers.extend(self.preset());
        }
        problems.extend(config.problems());
        if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
    }

    fn path(&self) -> Option<PathBuf> {
        self.file.clone().or_else(|| self.variable("TOKENCAST_CONFIG").map(PathBuf::from))
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// With nothing configured, OpenAI is there if its key is.
    fn preset(&self) -> Option<provider::Config> {
        self.variable("OPENAI_API_KEY")?;
        let base_url = self.variable("OPENAI_BASE_URL").unwrap_or("https://api.openai.com/v1");
        Some(provider::Config {
            name: "openai".into(),
            dialect: dialect::Family::Openai,
            base_url: base_url.parse().ok()?,
            api_key_env: Some("OPENAI_API_KEY".into()),
            credentials: Credentials::Gateway,
            models: vec!["*".into()],
            paths: Vec::new(),
        })
    }
}

/// A provider that speaks as OpenAI does, from `NAME=URL`.
fn compatible(text: &str) -> Result<provider::Config, String> {
    let wanted = || format!("--provider {text}: write NAME=URL, as in local=http://127.0.0.1:11434/v1");
    let (name, url) = text.split_once('=').ok_or_else(wanted)?;
    Ok(provider::Config {
        name: name.into(),
        dialect: dialect::Family::Openai,
        base_url: url.parse().map_err(|_| wanted())?,
        api_key_env: None,
        credentials: Credentials::Gateway,
        models: vec!["*".into()],
        paths: Vec::new(),
    })
}

fn read(path: &Path) -> Result<Table, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    // Read as a configuration first: that error shows the line.
    toml::from_str::<Config>(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn is_key(variable: &str) -> bool {
    variable.starts_with(PREFIX) && !RESERVED.contains(&variable)
}

/// A variable's text as the TOML value that it spells, else as a string.
fn literal(text: &str) -> Value {
    let spelled = toml::from_str::<Table>(&format!("value = {text}")).ok();
    spelled.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.into()))
}

/// Puts one value over a configuration. The value has to be right by itself, so that its origin can be named.
fn overlay(merged: &mut Table, key: &str, value: &Value, origin: &str, problems: &mut Vec<String>) {
    let put = |table: &mut Table| {
        let mut path = key.split('.').peekable();
        let mut table = table;
        while let Some(name) = path.next() {
            if path.peek().is_none() {
                table.insert(name.into(), value.clone());
                return;
            }
            let inner = table.entry(name).or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(inner) = inner else { return };
            table = inner;
        }
    };
    let mut alone = Table::new();
    put(&mut alone);
    match alone.try_into::<Config>() {
        Ok(_) => put(merged),
        Err(error) => {
            let shown = value.to_string();
            let hint = if key.contains('.') {
                ""
            } else {
                " (two underscores part the names: TOKENCAST_HTTP__LISTEN)"
            };
            problems.push(format!("{key} = {shown}, from {origin}: {}{hint}", error.message()));
        }
    }
}

impl Config {
    /// Everything that cannot be right, whatever the types say.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |is_right: bool, key: &str, value: &dyn fmt::Display, instead: &str| {
            if !is_right {
                problems.push(format!("{key} = {value}: {instead}"));
            }
        };
        let Self { http, coalesce, retention, limits, upstream, .. } = self;
        let open = !self.auth.keys.is_empty() || self.auth.insecure_open || http.listen.ip().is_loopback();
        check(
            open,
            "http.listen",
            &http.listen,
            "whoever reaches this address could spend your provider's key. Add a key (`tokencast key` prints what to \
             write under [[auth.keys]]), or listen on 127.0.0.1, or pass --insecure-open",
        );
        if let Some(url) = &http.public_url {
            check(is_http(url), "http.public_url", url, "write an http:// or https:// URL");
        }
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
        let positive = [
            ("http.connections_max", http.connections_max as u64),
            ("http.body_bytes_max", http.body_bytes_max as u64),
            ("http.h2_streams_max", u64::from(http.h2_streams_max)),
            ("http.first_byte_s", http.first_byte_s),
            ("http.head_s", http.head_s),
            ("http.request_s", http.request_s),
            ("http.body_s", http.body_s),
            ("http.stalled_s", http.stalled_s),
            ("coalesce.frame_bytes_max", coalesce.frame_bytes_max as u64),
            ("retention.ttl_s", retention.ttl_s),
            ("limits.memory_bytes_max", limits.memory_bytes_max as u64),
            ("limits.streams_max", limits.streams_max as u64),
            ("limits.running_max", limits.running_max as u64),
            ("limits.stream_bytes_max", limits.stream_bytes_max),
            ("upstream.connect_s", upstream.connect_s),
            ("upstream.first_byte_s", upstream.first_byte_s),
            ("upstream.silent_s", upstream.silent_s),
            ("upstream.total_s", upstream.total_s),
            ("upstream.connect_attempts", u64::from(upstream.connect_attempts)),
            ("upstream.block_bytes_max", upstream.block_bytes_max as u64),
            ("upstream.journal_stall_s", upstream.journal_stall_s),
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
        for (place, provider) in self.providers.iter().enumerate() {
            let name = &provider.name;
            check(!name.is_empty(), "providers.name", &"\"\"", "give every provider a name");
            let is_first = self.providers.iter().position(|other| other.name == *name) == Some(place);
            check(is_first, "providers.name", name, "two providers have this name: choose another one");
            check(
                is_http(&provider.base_url),
                "providers.base_url",
                &provider.base_url,
                "write an http(s) URL",
            );
            let rooted = provider.paths.iter().all(|path| path.starts_with('/'));
            check(rooted, "providers.paths", &provider.paths.join(", "), "begin every path with /");
        }
        problems
    }
}

fn is_http(url: &url::Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let path = std::env::temp_dir()
            .join(format!("tokencast-{}.toml", crate::crypto::hex(&crate::crypto::random::<8>())));
        std::fs::write(&path, file).unwrap();
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let loaded = Sources { file: Some(path.clone()), variables, ..Sources::default() }.load();
        std::fs::remove_file(path).unwrap();
        loaded.map_err(|problems| problems.to_string())
    }

    #[test]
    fn nothing_configured_is_the_default() {
        assert_eq!(Sources::default().load().unwrap(), Config::default());
    }

    #[test]
    fn the_documented_file_is_the_default() {
        let text =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/tokencast.toml")).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
        let documented: Table = toml::from_str(&text).unwrap();
        let complete: Table = toml::from_str(&toml::to_string(&Config::default()).unwrap()).unwrap();
        assert_eq!(documented, complete, "every key stands in the file");
    }

    #[test]
    fn the_example_files_are_right() {
        for name in ["dev.toml", "production.toml"] {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
            Sources { file: Some(file), ..Sources::default() }
                .load()
                .unwrap_or_else(|problem| panic!("{name}: {problem}"));
        }
    }

    #[test]
    fn layers_override_each_other() {
        let file = "[http]\nlisten = \"127.0.0.1:1\"\n[retention]\nttl_s = 5\n";
        let config =
            load(file, &[("TOKENCAST_HTTP__LISTEN", "127.0.0.1:2"), ("TOKENCAST_RETENTION__TTL_S", "7")]);
        let config = config.unwrap();
        assert_eq!((config.http.listen.port(), config.retention.ttl_s), (2, 7));
        let flags = vec![("http.listen", Value::String("127.0.0.1:3".into()))];
        let variables = vec![("TOKENCAST_HTTP__LISTEN".into(), "127.0.0.1:2".into())];
        let config = Sources { variables, flags, ..Sources::default() }.load().unwrap();
        assert_eq!(config.http.listen.port(), 3);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |file: &str, variables: &[(&str, &str)], wanted: &[&str]| {
            let problem = load(file, variables).unwrap_err();
            for part in wanted {
                assert!(problem.contains(part), "{problem:?} does not say {part:?}");
            }
        };
        check("[http]\nlisten = \"nowhere\"", &[], &["line 2", "listen = \"nowhere\"", "socket address"]);
        check("[htpp]\n", &[], &["unknown field `htpp`", "`http`"]);
        check(
            "",
            &[("TOKENCAST_HTTP__LISTEN", "nowhere")],
            &["http.listen", "nowhere", "TOKENCAST_HTTP__LISTEN"],
        );
        check("", &[("TOKENCAST_HTTP_LISTEN", "127.0.0.1:1")], &["http_listen", "TOKENCAST_HTTP__LISTEN"]);
        check("[http]\nlisten = \"0.0.0.0:8080\"", &[], &["http.listen = 0.0.0.0:8080", "tokencast key"]);
        check("[upstream]\nsilent_s = 0", &[], &["upstream.silent_s = 0", "at least 1"]);
        check("[http]\ncors_origins = [\"*\"]", &[], &["http.cors_origins = *", "exact origins"]);
        let provider = "[[providers]]\nname = \"a\"\ndialect = \"openai\"\nbase_url = \"http://x/v1\"\n";
        check(&provider.repeat(2), &[], &["providers.name = a", "another one"]);
        check(&provider.replace("openai", "smoke"), &[], &["smoke", "expected `openai`"]);
    }

    #[test]
    fn with_nothing_configured_openai_is_there_if_its_key_is() {
        let with =
            |name: &str| Sources { variables: vec![(name.into(), "sk-x".into())], ..Sources::default() };
        assert_eq!(with("OPENAI_API_KEY").load().unwrap().providers[0].name, "openai");
        assert!(with("OTHER_KEY").load().unwrap().providers.is_empty());
        let local =
            Sources { providers: vec!["local=http://127.0.0.1:1/v1".into()], ..with("OPENAI_API_KEY") };
        assert_eq!(local.load().unwrap().providers.len(), 1);
    }
}
