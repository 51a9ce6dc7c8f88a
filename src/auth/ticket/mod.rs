//! Tickets: short-lived tokens that let a viewer watch, and perhaps stop, some streams. JWTs, made here or by an app.

mod claims;
pub mod issuer;
mod jwt;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

use self::claims::Claims;
use self::issuer::{Algorithm, Issuer};
use super::clock::Clock;
use super::grant::{Denied, Grant, Only};
use super::keys::Keys;
use super::scope::Scopes;
use crate::crypto::hmac;

pub const LEN_MAX: usize = 4096;
/// How far the clocks of gateway and issuer may differ.
const LEEWAY: Duration = Duration::from_secs(30);
/// Longer than any stream lives.
const LIFETIME_MAX: Duration = Duration::from_secs(u32::MAX as u64);
/// The keys of the gateway itself, one for each algorithm.
const KID_OWN: &str = "gateway";
const KID_OWN_HS256: &str = "gateway-hs256";

/// Issues tickets, and checks them.
pub struct Tickets {
    signer: Signer,
    /// The gateway itself: whichever way it signs now, what it has signed the other way before stays valid.
    own: Arc<Issuer>,
    own_hs256: Arc<Issuer>,
    keys: Arc<Keys>,
    clock: Clock,
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
    /// Those of the gateway itself are signed by a key that comes of `secret`; those of the apps in `keys` are believed, too.
    pub(super) fn new(
        keys: Arc<Keys>,
        audience: &str,
        algorithm: Algorithm,
        secret: &[u8; 32],
        clock: Clock,
    ) -> Self {
        jwt::install();
        Self {
            signer: Signer::own(algorithm, secret, audience),
            own: Issuer::own(Algorithm::EdDsa, &seed(secret), audience).into(),
            own_hs256: Issuer::own(Algorithm::Hs256, secret, audience).into(),
            keys,
            clock,
        }
    }

    /// A ticket for these streams, and when it expires.
    pub fn issue(
        &self,
        tenant: &str,
        only: &Only,
        scopes: Scopes,
        lifetime: Duration,
    ) -> (String, SystemTime) {
        self.signer.sign_at(self.clock.now(), tenant, only, scopes, lifetime)
    }

    /// What a ticket grants. Which key it was signed by is all that its header is asked, and which algorithm that key has
    /// is not for it to say: keys that it brings along (`jwk`, `jku`, `x5c`, `x5u`) mean nothing.
    pub fn check(&self, ticket: &str) -> Result<Grant, Denied> {
        if ticket.len() > LEN_MAX || !looks_like_one(ticket) {
            return Err(Denied::BadTicket);
        }
        let header = jsonwebtoken::decode_header(ticket).map_err(|_| Denied::BadTicket)?;
        if header.crit.is_some() {
            return Err(Denied::BadTicket);
        }
        let issuer = match header.kid.as_deref() {
            Some(KID_OWN) => self.own.clone(),
            // Tickets of earlier versions name no key.
            Some(KID_OWN_HS256) | None => self.own_hs256.clone(),
            Some(kid) => self.keys.issuer(kid).ok_or(Denied::BadTicket)?,
        };
        issuer.check(ticket, self.clock.now())
    }
}

/// Signs tickets by one key.
pub struct Signer {
    header: Header,
    key: EncodingKey,
    audience: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("kid", &self.header.kid).finish_non_exhaustive()
    }
}

impl Signer {
    /// As the gateway signs whose database has this secret.
    pub fn own(algorithm: Algorithm, secret: &[u8; 32], audience: &str) -> Self {
        let (kid, key) = match algorithm {
            Algorithm::EdDsa => (KID_OWN, EncodingKey::from_ed_der(&seed(secret))),
            Algorithm::Hs256 => (KID_OWN_HS256, EncodingKey::from_secret(secret)),
        };
        Self::new(kid, algorithm, key, audience)
    }

    /// As an app signs: by a private key of Ed25519 in PEM (PKCS #8), else by a secret that it shares with the gateway.
    pub fn app(kid: &str, key: &[u8], audience: &str) -> Result<Self, String> {
        if key.starts_with(b"-----BEGIN") {
            let der = PrivatePkcs8KeyDer::from_pem_slice(key).ok();
            let der = der.filter(|der| jwt::key_pair(der.secret_pkcs8_der()).is_some());
            let der = der.ok_or("write a private key as `openssl genpkey -algorithm ed25519` makes it")?;
            let key = EncodingKey::from_ed_der(der.secret_pkcs8_der());
            return Ok(Self::new(kid, Algorithm::EdDsa, key, audience));
        }
        let key = EncodingKey::from_secret(issuer::shared(key)?);
        Ok(Self::new(kid, Algorithm::Hs256, key, audience))
    }

    fn new(kid: &str, algorithm: Algorithm, key: EncodingKey, audience: &str) -> Self {
        jwt::install();
        let header = Header { kid: Some(kid.into()), ..Header::new(algorithm.into()) };
        Self { header, key, audience: audience.into() }
    }

    pub fn sign(
        &self,
        tenant: &str,
        only: &Only,
        scopes: Scopes,
        lifetime: Duration,
    ) -> (String, SystemTime) {
        self.sign_at(Clock::default().now(), tenant, only, scopes, lifetime)
    }

    fn sign_at(
        &self,
        now: Duration,
        tenant: &str,
        only: &Only,
        scopes: Scopes,
        lifetime: Duration,
    ) -> (String, SystemTime) {
        let exp = now.saturating_add(lifetime.min(LIFETIME_MAX)).as_secs();
        let claims = Claims::new(&self.audience, tenant, only, scopes, exp);
        let ticket = jsonwebtoken::encode(&self.header, &claims, &self.key);
        (
            ticket.expect("plain JSON, and a key of that algorithm"),
            UNIX_EPOCH.checked_add(Duration::from_secs(exp)).unwrap_or(UNIX_EPOCH),
        )
    }
}

/// The private key of the gateway, which comes of its secret alone.
pub(crate) fn seed(secret: &[u8; 32]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let seed = hmac::sign(&key, b"tokencast tickets Ed25519");
    seed.as_ref().try_into().expect("SHA-256 has 32 bytes")
}
