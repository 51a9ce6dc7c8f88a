//! What the endpoint proves itself by: a certificate from files, or one of our own that pages know by its hash.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use wtransport::Identity;
use wtransport::tls::WEBTRANSPORT_ALPN;
use wtransport::tls::self_signed::time;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::crypto::sha256;
use crate::edge::place::Pin;

/// What a browser takes at most, by hash, is 14 days; one of them is for clocks that differ.
const DAYS: i64 = 13;
/// Older than now, for clocks that are behind ours.
const BACKDATED: time::Duration = time::Duration::hours(1);

/// A chain, the key of its first certificate, and when that expires.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) expires_at: SystemTime,
}

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error(
        "webtransport.certificate = {0:?}: {1}: write a PEM file with the chain, its own certificate first"
    )]
    Chain(std::path::PathBuf, String),
    #[error("webtransport.key = {0:?}: {1}: write a PEM file with the key of webtransport.certificate")]
    Key(std::path::PathBuf, String),
    #[error("a certificate cannot be made: {0}")]
    Own(String),
}

impl Certificate {
    /// One of our own under these names, valid from now on.
    pub(super) fn own(names: &[String]) -> Result<Self, CertificateError> {
        let not_before = time::OffsetDateTime::now_utc() - BACKDATED;
        let identity = Identity::self_signed_builder()
            .subject_alt_names(names)
            .not_before(not_before)
            .offset_from_not_before(time::Duration::days(DAYS))
            .build()
            .map_err(|error| CertificateError::Own(error.to_string()))?;
        let chain = identity.certificate_chain().as_slice();
        let chain: Vec<_> = chain.iter().map(|one| one.der().to_vec()).collect();
        Self::of(chain, identity.private_key().secret_der().to_vec()).map_err(CertificateError::Own)
    }

    /// From what was kept: DER, the key as PKCS #8.
    pub(super) fn of(chain: Vec<Vec<u8>>, key: Vec<u8>) -> Result<Self, String> {
        let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
        let expires_at = expires_at(chain.first().ok_or("there is none")?)?;
        Ok(Self { chain, key: PrivatePkcs8KeyDer::from(key).into(), expires_at })
    }

    pub(super) fn from_files(chain_file: &Path, key_file: &Path) -> Result<Self, CertificateError> {
        let bad_chain = |error: String| CertificateError::Chain(chain_file.to_owned(), error);
        let bad_key = |error: String| CertificateError::Key(key_file.to_owned(), error);
        let chain =
            CertificateDer::pem_file_iter(chain_file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|error| bad_chain(error.to_string()))?;
        let leaf = chain.first().ok_or_else(|| bad_chain("there is no certificate in it".into()))?;
        let expires_at = expires_at(leaf).map_err(bad_chain)?;
        if expires_at <= SystemTime::now() {
            return Err(bad_chain("it has expired".into()));
        }
        let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| bad_key(error.to_string()))?;
        let certificate = Self { chain, key, expires_at };
        certificate.tls().map_err(|error| bad_key(error.to_string()))?;
        Ok(certificate)
    }

    /// The same once more.
    pub(super) fn again(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key(), expires_at: self.expires_at }
    }

    /// TLS 1.3 by this certificate, as WebTransport wants it.
    pub(super) fn tls(&self) -> Result<rustls::ServerConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        tls.alpn_protocols = vec![WEBTRANSPORT_ALPN.to_vec()];
        Ok(tls)
    }

    /// What pages know it by.
    pub(super) fn pin(&self) -> Pin {
        Pin { sha256: sha256(&self.chain[0]), expires_at: self.expires_at }
    }
}

fn expires_at(certificate: &CertificateDer<'_>) -> Result<SystemTime, String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    Ok(UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_is_what_browsers_take_by_its_hash() {
        let own = Certificate::own(&["localhost".into(), "127.0.0.1".into()]).unwrap();
        let left = own.expires_at.duration_since(SystemTime::now()).unwrap();
        assert!(left > Duration::from_secs(12 * 86_400) && left < Duration::from_secs(14 * 86_400));
        own.tls().unwrap();
        let (_, parsed) = X509Certificate::from_der(&own.chain[0]).unwrap();
        assert_eq!(parsed.public_key().algorithm.algorithm.to_string(), "1.2.840.10045.2.1", "ECDSA");
    }

    #[test]
    fn a_bad_file_is_named() {
        let error =
            Certificate::from_files(Path::new("/nowhere.pem"), Path::new("/nowhere.key")).unwrap_err();
        assert!(error.to_string().starts_with("webtransport.certificate = \"/nowhere.pem\""), "{error}");
    }
}
