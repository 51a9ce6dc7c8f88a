//! HTTP clients of this process: of providers, of a running gateway, of streams; and what went wrong with them.

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

/// The error and what is behind it, in one line.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}
