//! Query parameters, each given at most once.

use std::borrow::Cow;
use std::convert::Infallible;
use std::ops::RangeInclusive;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use url::form_urlencoded;

use super::error::Error;
use crate::cast::hub::order::Missing;

/// The query of a request.
#[derive(Debug, Default)]
pub(super) struct Params(String);

impl Params {
    /// The one value of a parameter.
    pub(super) fn get(&self, name: &str) -> Result<Option<Cow<'_, str>>, Error> {
        let mut values = form_urlencoded::parse(self.0.as_bytes()).filter(|(key, _)| key == name);
        let value = values.next().map(|(_, value)| value);
        if values.next().is_some() {
            return Err(invalid(name, "give it once"));
        }
        Ok(value)
    }

    /// A whole number within a range.
    pub(super) fn number(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Error> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        match digits(&value).filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                Err(invalid(name, &format!("write a whole number from {} to {}", range.start(), range.end())))
            }
        }
    }

    /// `1` or `0`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Error> {
        Ok(self.number(name, 0..=1)? == Some(1))
    }
}

pub(super) fn invalid(name: &str, what_to_do: &str) -> Error {
    Error::bad_request("invalid_parameter", format!("{name}: {what_to_do}"))
}

/// A number written in digits only.
pub(super) fn digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// The `{id}` of a path. What cannot be a name is the name of nothing.
#[derive(Debug)]
pub(super) struct Name(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id)).map_err(|_| Missing::Unknown.into())
    }
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.uri.query().unwrap_or_default().to_owned()))
    }
}
