//! Whose tickets are believed: each issuer has one key, one algorithm, and one tenant.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation};
use ring::signature::KeyPair;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use super::claims::{Bounds, Claims};
use super::{KID_OWN, KID_OWN_HS256, jwt};
use crate::auth::grant::{Denied, Grant};
use crate::files;

/// In front of the 32 bytes of a public key of Ed25519, as DER (RFC 8410).
const SPKI_ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PUBLIC_KEY_BYTES: usize = 32;
const SECRET_BYTES_MIN: usize = 32;

/// `[[auth.ticket_keys]]`: an app that makes tickets by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which key this is, as the header of a ticket says it.
    pub kid: String,
    #[serde(default)]
    pub algorithm: Algorithm,
    /// Of EdDSA: PEM, or the 32 bytes in base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Of HS256: where the secret is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_env: Option<String>,
    /// The tenant whose streams its tickets open.
    #[serde(default = "crate::auth::default_tenant")]
    pub tenant: String,
    /// How far away the end of a ticket may be.
    #[serde(default = "day")]
    pub ttl_s_max: u32,
}

fn day() -> u32 {
    86_400
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Algorithm {
    #[default]
    #[serde(rename = "EdDSA")]
    EdDsa,
    #[serde(rename = "HS256")]
    Hs256,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::EdDsa => Self::EdDSA,
            Algorithm::Hs256 => Self::HS256,
        }
    }
}

/// One whose tickets are believed.
#[derive(Debug)]
pub(in crate::auth) struct Issuer {
    key: DecodingKey,
    validation: Validation,
    pub(super) bounds: Bounds,
}

impl Issuer {
    /// As the configuration has it; `variable` looks up environment variables.
    pub(in crate::auth) fn of(
        config: &Config,
        audience: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let Config { kid, algorithm, public_key, secret_file, secret_env, tenant, ttl_s_max } = config;
        if !is_kid(kid) {
            return Err("kid: write 1 to 64 of the characters A-Z a-z 0-9 _ -".into());
        }
        if [KID_OWN, KID_OWN_HS256].contains(&kid.as_str()) {
            return Err("kid: so the gateway calls its own key: choose another name".into());
        }
        let key = match (algorithm, public_key, secret_file, secret_env) {
            (Algorithm::EdDsa, Some(key), None, None) => DecodingKey::from_ed_der(&parse_public_key(key)?),
            (Algorithm::EdDsa, ..) => {
                return Err(
                    "algorithm EdDSA wants a public_key, and no secret: the app keeps the private key".into(),
                );
            }
            (Algorithm::Hs256, None, Some(path), None) => {
                let secret = files::secret(path)
                    .map_err(|error| format!("secret_file = {}: {error}", files::shown(path)))?;
                DecodingKey::from_secret(shared(&secret)?)
            }
            (Algorithm::Hs256, None, None, Some(name)) => {
                let secret = variable(name).ok_or_else(|| format!("secret_env: {name} is not set"))?;
                DecodingKey::from_secret(shared(secret.as_bytes())?)
            }
            (Algorithm::Hs256, ..) => {
                return Err(
                    "algorithm HS256 wants either secret_file or secret_env, and no public_key".into()
                );
            }
        };
        if *ttl_s_max == 0 {
            return Err("ttl_s_max: write at least 1".into());
        }
        let bounds = Bounds {
            tenant: Some(Arc::from(tenant.as_str())),
            lifetime_max: Duration::from_secs((*ttl_s_max).into()),
        };
        Ok(Self { key, validation: validation(*algorithm, audience), bounds })
    }

    /// The gateway itself, by a key of 32 bytes.
    pub(super) fn own(algorithm: Algorithm, key: &[u8; 32], audience: &str) -> Self {
        let key = match algorithm {
            Algorithm::Hs256 => DecodingKey::from_secret(key),
            Algorithm::EdDsa => {
                let pair = jwt::key_pair(key).expect("any 32 bytes are a seed");
                DecodingKey::from_ed_der(pair.public_key().as_ref())
            }
        };
        let bounds = Bounds { tenant: None, lifetime_max: super::LIFETIME_MAX };
        Self { key, validation: validation(algorithm, audience), bounds }
    }

    /// What a ticket of this issuer grants, at a time since 1970.
    pub(in crate::auth) fn check(&self, ticket: &str, now: Duration) -> Result<Grant, Denied> {
        self.verify(ticket)?.grant(&self.bounds, now)
    }

    /// What the ticket says, if this issuer has signed it for this gateway.
    fn verify(&self, ticket: &str) -> Result<Claims, Denied> {
        match jsonwebtoken::decode(ticket, &self.key, &self.validation) {
            Ok(token) => Ok(token.claims),
            // Both are found behind the signature: it is the issuer who is told.
            Err(error) => Err(match error.kind() {
                ErrorKind::InvalidAudience | ErrorKind::MissingRequiredClaim(_) => {
                    Denied::BadClaims("its `aud` is not this gateway: write what auth.audience says")
                }
                ErrorKind::Json(_) => Denied::BadClaims(
                    "a claim is missing, twice there, or of another type: `exp` is whole seconds since 1970, \
                     docs/protocol.md has the others",
                ),
                _ => Denied::BadTicket,
            }),
        }
    }
}

pub(in crate::auth) fn is_kid(text: &str) -> bool {
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(is_right)
}

/// One algorithm, whatever a ticket says. Times are checked with the other claims.
fn validation(algorithm: Algorithm, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm.into());
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["aud"]);
    validation.validate_exp = false;
    validation
}

fn parse_public_key(text: &str) -> Result<Vec<u8>, String> {
    const WANTED: &str = "public_key: write that of an Ed25519 key: PEM, as `openssl pkey -pubout` prints it, or its \
                          32 bytes in base64url";
    if text.contains("PRIVATE KEY") {
        return Err("public_key: this is the private key, which only the app should have".into());
    }
    let bytes = if text.contains("-----BEGIN") {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).map_err(|_| WANTED)?;
        der.strip_prefix(&SPKI_ED25519).map(<[u8]>::to_vec)
    } else {
        let key = DecodingKey::from_ed_components(text.trim()).map_err(|_| WANTED)?;
        key.try_get_as_bytes().map(<[u8]>::to_vec).ok()
    };
    let bytes = bytes.filter(|bytes| bytes.len() == PUBLIC_KEY_BYTES).ok_or(WANTED)?;
    if jwt::is_of_small_order(&bytes) {
        return Err("public_key: everybody can sign for this one, a point of small order: make a key with `openssl genpkey \
                    -algorithm ed25519`"
            .into());
    }
    Ok(bytes)
}

/// A secret that is shared with the app. The line break at the end of a file is not part of it.
pub(super) fn shared(secret: &[u8]) -> Result<&[u8], String> {
    let secret = secret.strip_suffix(b"\n").unwrap_or(secret);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.len() < SECRET_BYTES_MIN {
        return Err(format!(
            "the secret has {} bytes: take at least {SECRET_BYTES_MIN}, `openssl rand -base64 32` prints some",
            secret.len()
        ));
    }
    Ok(secret)
}
