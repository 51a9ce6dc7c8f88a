//! HS256 and EdDSA (Ed25519) for `jsonwebtoken`, by the crypto library that is there already: its own providers would
//! add a second one.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use signature::{Error, Signer, Verifier};

use crate::crypto::hmac;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

enum Signs {
    Hs256(hmac::Key),
    EdDsa(Ed25519KeyPair),
}

enum Verifies {
    Hs256(hmac::Key),
    EdDsa(UnparsedPublicKey<Vec<u8>>),
}

/// Makes this process use the provider; any number of times.
pub(super) fn install() {
    let _ = PROVIDER.install_default();
}

/// A private key of Ed25519: its seed, or PKCS #8 as DER.
pub(super) fn key_pair(bytes: &[u8]) -> Option<Ed25519KeyPair> {
    let seed = Ed25519KeyPair::from_seed_unchecked(bytes);
    seed.or_else(|_| Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes)).ok()
}

/// Whether everybody can sign for this public key of Ed25519: a point of small order, under which one and the same
/// signature is right for every eighth message or more.
pub(super) fn is_of_small_order(public: &[u8]) -> bool {
    let public = UnparsedPublicKey::new(&ED25519, public);
    let mut signature = [0; 64];
    if let Some(first) = signature.first_mut() {
        *first = 1;
    }
    (0..=u8::MAX).any(|message| public.verify(&[message], &signature).is_ok())
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    let key = key.as_bytes();
    Ok(Box::new(match algorithm {
        Algorithm::HS256 => Signs::Hs256(hmac::Key::new(hmac::HMAC_SHA256, key)),
        Algorithm::EdDSA => Signs::EdDsa(key_pair(key).ok_or(ErrorKind::InvalidKeyFormat)?),
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    }))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let key = key.try_get_as_bytes()?;
    Ok(Box::new(match algorithm {
        Algorithm::HS256 => Verifies::Hs256(hmac::Key::new(hmac::HMAC_SHA256, key)),
        Algorithm::EdDSA => Verifies::EdDsa(UnparsedPublicKey::new(&ED25519, key.to_vec())),
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    }))
}

impl Signer<Vec<u8>> for Signs {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        Ok(match self {
            Self::Hs256(key) => hmac::sign(key, message).as_ref().to_vec(),
            Self::EdDsa(key) => key.sign(message).as_ref().to_vec(),
        })
    }
}

impl Verifier<Vec<u8>> for Verifies {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let verified = match self {
            Self::Hs256(key) => hmac::verify(key, message, signature),
            Self::EdDsa(key) => key.verify(message, signature),
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtSigner for Signs {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hs256(_) => Algorithm::HS256,
            Self::EdDsa(_) => Algorithm::EdDSA,
        }
    }
}

impl JwtVerifier for Verifies {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hs256(_) => Algorithm::HS256,
            Self::EdDsa(_) => Algorithm::EdDSA,
        }
    }
}
