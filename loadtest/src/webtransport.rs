//! Where a gateway's WebTransport is, and sockets to reach it.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wtransport::config::IpBindConfig;
use wtransport::endpoint::endpoint_side::Client;
use wtransport::tls::Sha256Digest;
use wtransport::{ClientConfig, Endpoint};

use crate::Fault;
use crate::hex::unhex;
use crate::http::Connection;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    /// What URLs begin with.
    pub(crate) base: String,
    /// Of its certificates; empty where any client trusts them.
    pub(crate) hashes: Vec<[u8; 32]>,
}

/// Asks the gateway.
pub(crate) async fn place(gateway: SocketAddr, headers: &str) -> Result<Place, Fault> {
    let mut connection = Connection::open(gateway).await?;
    let (_, said) = connection.ask("GET", "/v1/webtransport", headers, "").await?;
    let said: Value = serde_json::from_slice(&said)?;
    let url = said["url"].as_str().ok_or("the gateway has no WebTransport: set webtransport.enabled")?;
    let hashes = said["certificate_hashes"].as_array().into_iter().flatten();
    let hashes = hashes.map(|hash| unhex(hash["value"].as_str().unwrap_or_default()));
    Ok(Place {
        base: url.trim_end_matches("/v1/session").to_owned(),
        hashes: hashes.collect::<Result<_, _>>()?,
    })
}

pub(crate) fn endpoint(hashes: &[[u8; 32]]) -> Result<Endpoint<Client>, Fault> {
    let config = ClientConfig::builder().with_bind_config(IpBindConfig::LocalV4);
    let config = if hashes.is_empty() {
        config.with_native_certs()
    } else {
        config.with_server_certificate_hashes(hashes.iter().map(|hash| Sha256Digest::new(*hash)))
    };
    Ok(Endpoint::client(config.keep_alive_interval(Some(Duration::from_secs(5))).build())?)
}
