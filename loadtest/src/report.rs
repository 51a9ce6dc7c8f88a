//! What came out: figures in the order in which they were noted, and everything that must not have happened.

use std::fmt;

use serde_json::{Map, Value, json};

/// Violations that are told one by one; all are counted.
const TOLD_MAX: usize = 20;

#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<(String, Value, &'static str)>,
    pub(crate) violations: Vec<String>,
}

impl Report {
    /// A figure with its unit, which stands in its name in JSON.
    pub(crate) fn note(&mut self, name: impl Into<String>, value: impl Into<Value>, unit: &'static str) {
        self.figures.push((name.into(), value.into(), unit));
    }

    pub(crate) fn json(&self) -> Value {
        let figures: Map<String, Value> = self
            .figures
            .iter()
            .map(|(name, value, unit)| {
                let unit = if unit.is_empty() { String::new() } else { format!(" ({unit})") };
                (format!("{name}{unit}"), value.clone())
            })
            .collect();
        json!({
            "figures": figures,
            "violations": self.violations.len(),
            "told": self.violations.iter().take(TOLD_MAX).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.figures.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
        for (name, value, unit) in &self.figures {
            let value = match value {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            writeln!(f, "{name:width$}  {value} {unit}")?;
        }
        for violation in self.violations.iter().take(TOLD_MAX) {
            writeln!(f, "VIOLATION  {violation}")?;
        }
        writeln!(f, "{:width$}  {}", "violations", self.violations.len())
    }
}

/// Two digits behind the point say enough.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
