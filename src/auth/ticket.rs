//! Tickets: short-lived tokens that let a viewer watch, and perhaps stop, one stream.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Can, Denied, Grant, jwt};
use crate::cast::id::Id;

const AUDIENCE: &str = "tokencast";
const LEN_MAX: usize = 4096;
/// How far the clocks of gateway and issuer may differ.
const LEEWAY: Duration = Duration::from_secs(30);

/// What a ticket says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    aud: String,
    exp: u64,
    tenant: String,
    stream: String,
    can: Vec<Capability>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Capability {
    Watch,
    Stop,
}

/// Issues tickets, and checks them: JWTs by HS256 under one secret.
pub struct Tickets {
    sign: EncodingKey,
    verify: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

/// Whether a credential has the form of a ticket; keys never do.
pub fn looks_like_one(credential: &str) -> bool {
    credential.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl Tickets {
    pub fn new(secret: &[u8; 32]) -> Self {
        jwt::install();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud"]);
        validation.leeway = LEEWAY.as_secs();
        Self { sign: EncodingKey::from_secret(secret), verify: DecodingKey::from_secret(secret), validation }
    }

    /// A ticket for one stream, and when it expires.
    pub fn issue(&self, tenant: &str, id: &Id, stop: bool, lifetime: Duration) -> (String, SystemTime) {
        let exp =
            (SystemTime::now() + lifetime).duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let claims = Claims {
            aud: AUDIENCE.into(),
            exp,
            tenant: tenant.into(),
            stream: id.to_string(),
            can: if stop { vec![Capability::Watch, Capability::Stop] } else { vec![Capability::Watch] },
        };
        let ticket = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.sign);
        (ticket.expect("claims are plain JSON"), UNIX_EPOCH + Duration::from_secs(exp))
    }

    pub fn check(&self, ticket: &str) -> Result<Grant, Denied> {
        if ticket.len() > LEN_MAX {
            return Err(Denied::BadTicket);
        }
        let claims = match jsonwebtoken::decode::<Claims>(ticket, &self.verify, &self.validation) {
            Ok(token) => token.claims,
            Err(error) if *error.kind() == ErrorKind::ExpiredSignature => return Err(Denied::Expired),
            Err(_) => return Err(Denied::BadTicket),
        };
        let only = Id::parse(&claims.stream).map_err(|_| Denied::BadTicket)?;
        let left = (UNIX_EPOCH + Duration::from_secs(claims.exp) + LEEWAY).duration_since(SystemTime::now());
        Ok(Grant {
            tenant: Arc::from(claims.tenant),
            can: Can { start: false, stop: claims.can.contains(&Capability::Stop) },
            only: Some(only),
            expires: Some(Instant::now() + left.unwrap_or_default()),
        })
    }
}
