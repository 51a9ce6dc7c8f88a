//! Query parameters, each given at most once.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use url::form_urlencoded;

use super::refusal::Refusal;

/// The query of a URL, which is never shown: there may be a ticket in it.
#[derive(Default)]
pub(crate) struct Query(String);

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Query")
    }
}

impl Query {
    /// What stands behind the `?`.
    pub(crate) fn new(query: &str) -> Self {
        Self(query.to_owned())
    }

    /// The one value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Cow<'_, str>>, Refusal> {
        let mut values = form_urlencoded::parse(self.0.as_bytes()).filter(|(key, _)| key == name);
        let value = values.next().map(|(_, value)| value);
        if values.next().is_some() {
            return Err(invalid(name, "give it once"));
        }
        Ok(value)
    }

    /// A whole number within a range.
    pub(crate) fn number(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        match digits(&value).filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                Err(invalid(name, &format!("write a whole number from {} to {}", range.start(), range.end())))
            }
        }
    }

    /// `1` or `0`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        Ok(self.number(name, 0..=1)? == Some(1))
    }
}

pub(crate) fn invalid(name: &str, what_to_do: &str) -> Refusal {
    Refusal::bad_request("invalid_parameter", format!("{name}: {what_to_do}"))
}

/// A number written in digits only.
pub(crate) fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}
