//! What the endpoint proves itself by where it has no files: a certificate of our own, which pages know by its hash.

use rustls::ServerConfig;
use rustls::version::TLS13;
use wtransport::Identity;
use wtransport::tls::WEBTRANSPORT_ALPN;
use wtransport::tls::self_signed::time;

use crate::crypto::sha256;
use crate::edge::certificate::{Certificate, CertificateError};
use crate::edge::place::Pin;

/// What a browser takes at most, by hash, is 14 days; one of them is for clocks that differ.
const DAYS: i64 = 13;
/// Older than now, for clocks that are behind ours.
const BACKDATED: time::Duration = time::Duration::hours(1);

/// One of our own under these names, valid from now on.
pub(super) fn own(names: &[String]) -> Result<Certificate, CertificateError> {
    let not_before = time::OffsetDateTime::now_utc() - BACKDATED;
    let identity = Identity::self_signed_builder()
        .subject_alt_names(names)
        .not_before(not_before)
        .offset_from_not_before(time::Duration::days(DAYS))
        .build()
        .map_err(|error| CertificateError::Own(error.to_string()))?;
    let chain = identity.certificate_chain().as_slice();
    let chain: Vec<_> = chain.iter().map(|one| one.der().to_vec()).collect();
    Certificate::of(chain, identity.private_key().secret_der().to_vec()).map_err(CertificateError::Own)
}

/// TLS 1.3, as WebTransport wants it.
pub(super) fn tls(certificate: &Certificate) -> Result<ServerConfig, CertificateError> {
    let tls = certificate.tls(&[&TLS13], &[WEBTRANSPORT_ALPN]);
    tls.map_err(|error| CertificateError::Own(error.to_string()))
}

/// What pages know it by.
pub(super) fn pin(certificate: &Certificate) -> Pin {
    Pin { sha256: sha256(&certificate.chain[0]), expires_at: certificate.expires_at }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    #[test]
    fn our_own_is_what_browsers_take_by_its_hash() {
        let own = own(&["localhost".into(), "127.0.0.1".into()]).unwrap();
        let left = own.expires_at.duration_since(SystemTime::now()).unwrap();
        assert!(left > Duration::from_secs(12 * 86_400) && left < Duration::from_secs(14 * 86_400));
        tls(&own).unwrap();
        let (_, parsed) = X509Certificate::from_der(&own.chain[0]).unwrap();
        assert_eq!(parsed.public_key().algorithm.algorithm.to_string(), "1.2.840.10045.2.1", "ECDSA");
    }
}
