//! HTTP clients of this process: of providers, of a running gateway, of streams.

use reqwest::{Client, ClientBuilder};
use rustls::{ClientConfig, RootCertStore};

/// Builds a client. Without certificates on this machine it still speaks to
/// `http://` URLs; `https://` ones fail then, and say so.
pub fn client(builder: impl Fn() -> ClientBuilder) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Ok(client) = builder().build() {
        return client;
    }
    tracing::warn!("this machine has no root certificates: https:// URLs will fail; install ca-certificates");
    let trusting_nobody =
        ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let client = builder().tls_backend_preconfigured(trusting_nobody).build();
    client.expect("nothing else is read from the system")
}
