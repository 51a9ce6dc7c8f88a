//! What a listener proves itself by: a chain of certificates and its key, mostly from files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::files::{self, Watched};

/// A chain, the key of its first certificate, and when that expires.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) expires_at: SystemTime,
}

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("{0}.certificate = {1}: {2}: write a PEM file with the chain, its own certificate first")]
    Chain(&'static str, String, String),
    #[error("{0}.key = {1}: {2}: write a PEM file with the key of {0}.certificate")]
    Key(&'static str, String, String),
    #[error("a certificate cannot be made: {0}")]
    Own(String),
}

impl Certificate {
    /// From DER, the key as PKCS #8.
    pub(crate) fn of(chain: Vec<Vec<u8>>, key: Vec<u8>) -> Result<Self, String> {
        let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
        let expires_at = expires_at(chain.first().ok_or("there is none")?)?;
        Ok(Self { chain, key: PrivatePkcs8KeyDer::from(key).into(), expires_at })
    }

    /// The same once more.
    pub(crate) fn again(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key(), expires_at: self.expires_at }
    }

    /// TLS by this certificate, over ring.
    pub(crate) fn tls(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&[u8]],
    ) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(tls)
    }
}

/// A certificate and its key in two PEM files, which are read again when they change.
#[derive(Debug)]
pub(crate) struct Files {
    /// The table of the configuration that names them.
    area: &'static str,
    watched: Watched<2>,
}

impl Files {
    pub(crate) fn new(area: &'static str, chain: PathBuf, key: PathBuf) -> Self {
        Self { area, watched: Watched::new([chain, key]) }
    }

    /// What is in them, if that is something else than before. An error is told once.
    pub(crate) fn renewed(&mut self) -> Result<Option<Certificate>, CertificateError> {
        if self.watched.have_changed() { self.read().map(Some) } else { Ok(None) }
    }

    /// What is in them.
    pub(crate) fn read(&self) -> Result<Certificate, CertificateError> {
        let [chain_file, key_file] = self.watched.paths();
        let bad_chain = |error: String| CertificateError::Chain(self.area, files::shown(chain_file), error);
        let bad_key = |error: String| CertificateError::Key(self.area, files::shown(key_file), error);
        let chain =
            CertificateDer::pem_file_iter(chain_file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|error| bad_chain(error.to_string()))?;
        let leaf = chain.first().ok_or_else(|| bad_chain("there is no certificate in it".into()))?;
        let expires_at = expires_at(leaf).map_err(bad_chain)?;
        if expires_at <= SystemTime::now() {
            return Err(bad_chain("it has expired".into()));
        }
        let key = files::secret(key_file).map_err(|error| bad_key(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| bad_key(error.to_string()))?;
        let certificate = Certificate { chain, key, expires_at };
        // A key that is another one's is found when it is used.
        certificate.tls(rustls::DEFAULT_VERSIONS, &[]).map_err(|error| bad_key(error.to_string()))?;
        Ok(certificate)
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
    fn a_bad_file_is_named() {
        let here = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        let mut files = Files::new("http", here.clone(), "/nowhere.key".into());
        let error = files.renewed().unwrap_err();
        assert!(error.to_string().starts_with(&format!("http.certificate = {here:?}")), "{error}");
        // What is no path may be the key itself.
        let error = Files::new("http", "-----BEGIN".into(), "/nowhere.key".into()).renewed().unwrap_err();
        assert!(error.to_string().starts_with("http.certificate = \"…\""), "{error}");
    }
}
