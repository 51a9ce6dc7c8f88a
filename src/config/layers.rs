//! Defaults ← file ← environment ← flags.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Config, Problems, presets};
use crate::dialect::Family;
use crate::upstream::provider::{self, Credentials};

const PREFIX: &str = "TOKENCAST_";
/// Variables of ours that are no keys.
const RESERVED: [&str; 3] = ["TOKENCAST_CONFIG", "TOKENCAST_KEY", "TOKENCAST_CORPUS"];

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
            config.providers = presets::found(|name| self.variable(name));
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
}

/// A provider that speaks as OpenAI does, from `NAME=URL`.
fn compatible(text: &str) -> Result<provider::Config, String> {
    let (name, url) = text.split_once('=').unwrap_or_default();
    let wanted = || format!("--provider {name}: write NAME=URL, as in local=http://127.0.0.1:11434/v1");
    Ok(provider::Config {
        name: name.into(),
        dialect: Family::Openai,
        base_url: url.parse().map_err(|_| wanted())?,
        api_key_env: None,
        credentials: Credentials::Gateway,
        models: vec!["*".into()],
        paths: Vec::new(),
        proxy_paths: None,
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
