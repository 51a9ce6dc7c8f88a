//! What came out: figures in the order in which they were noted, and everything that must not have happened.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::tally::Times;

/// Violations that are told one by one; all are counted.
const TOLD_MAX: usize = 20;
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<(String, Value, &'static str)>,
    told: Vec<String>,
    violations: u64,
}

impl Report {
    /// A figure with its unit, which stands in its name in JSON.
    pub(crate) fn note(&mut self, name: impl Into<String>, value: impl Into<Value>, unit: &'static str) {
        self.figures.push((name.into(), value.into(), unit));
    }

    /// Quantiles of times, if there are any.
    pub(crate) fn note_times(&mut self, name: &str, times: &Times) {
        if times.len() > 0 {
            for (of, quantile) in QUANTILES {
                self.note(format!("{name} {of}"), times.quantile_ms(quantile).map(rounded), "ms");
            }
        }
    }

    pub(crate) fn violation(&mut self, what: impl Into<String>) {
        self.violations(1, [what.into()]);
    }

    /// So many, of which some are told.
    pub(crate) fn violations(&mut self, count: u64, told: impl IntoIterator<Item = String>) {
        self.violations += count;
        self.told.extend(told);
    }

    pub(crate) fn is_good(&self) -> bool {
        self.violations == 0
    }

    /// Names, values and units as text.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, String, &'static str)> {
        self.figures.iter().map(|(name, value, unit)| {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Null => "–".to_owned(),
                value => value.to_string(),
            };
            (name.as_str(), value, *unit)
        })
    }

    /// The violations that are told, and how many there are.
    pub(crate) fn told(&self) -> (&[String], u64) {
        (&self.told[..self.told.len().min(TOLD_MAX)], self.violations)
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
        let (told, violations) = self.told();
        json!({ "kind": "result", "figures": figures, "violations": violations, "told": told })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.figures.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
        for (name, value, unit) in self.rows() {
            writeln!(f, "{name:width$}  {value} {unit}")?;
        }
        let (told, violations) = self.told();
        for violation in told {
            writeln!(f, "VIOLATION  {violation}")?;
        }
        writeln!(f, "{:width$}  {violations}", "violations")
    }
}

/// Two digits behind the point say enough.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The middle one, or of two the upper.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
