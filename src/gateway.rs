//! A gateway without listeners: all that lies between its journal and its connections. `server` brings the sockets of
//! the network; the simulation (tests/sim) brings others, and a time of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::auth::{Gate, Keyring};
use crate::cast::hub::{self, Hub};
use crate::config::Config;
use crate::edge::addresses::Addresses;
use crate::edge::names::Names;
use crate::edge::place::Place;
use crate::edge::{self, Edge};
use crate::http::{self, Connections, Site};
use crate::journal::{Durability, Opened};
use crate::tasks::Tasks;
use crate::telemetry::Listener;
use crate::upstream::Limits;
use crate::upstream::provider::Registry;

/// The assembled pieces.
#[derive(Debug)]
pub struct Gateway {
    pub(crate) hub: Hub,
    pub(crate) edge: Edge,
    /// The upstream tasks, which belong to casts.
    pub(crate) streams: Tasks,
    /// Connections, and who accepts them.
    pub(crate) public: Tasks,
    pub(crate) connections: Connections,
    /// Cancelled when no more connections are accepted, and when viewers have to leave.
    pub(crate) accepting: CancellationToken,
    pub(crate) closing: CancellationToken,
}

impl Gateway {
    /// Puts everything together over a journal that is open. `variable` looks up environment variables; `client` calls
    /// providers, see [`upstream::client`](crate::upstream::client).
    pub fn new(
        config: &Config,
        variable: impl Fn(&str) -> Option<String>,
        client: Client,
        keyring: Keyring,
        opened: Opened,
    ) -> Self {
        let Opened { journal, known, spent, secret } = opened;
        let (streams, public) = (Tasks::default(), Tasks::default());
        let (accepting, closing) = (CancellationToken::new(), CancellationToken::new());
        let limits =
            Limits { config: config.upstream.clone(), stream_bytes_max: config.limits.stream_bytes_max };
        let (providers, coalesce) = (&config.providers, config.coalesce.clone());
        let registry =
            Arc::new(Registry::new(providers, variable, client, limits, coalesce, streams.clone()));
        let settings = hub::Settings {
            retention: config.retention.clone(),
            limits: config.limits.clone(),
            quotas: config.quotas.clone(),
            tenants: config.tenants.clone(),
        };
        let hub = Hub::new(settings, journal, registry.clone(), streams.clone());
        hub.restore(known, spent);
        let addresses = Addresses::new(config.addresses.clone());
        let edge = Edge::new(edge::Parts {
            hub: hub.clone(),
            gate: Gate::new(keyring, &secret),
            names: names(config),
            addresses: addresses.clone(),
            forward: registry,
            place: Place::default(),
            may_lose: config.journal.durability == Durability::Process,
            total: Duration::from_secs(config.upstream.total_s),
            closing: closing.clone(),
        });
        let app = http::App::new(config.http.clone(), config.ai_sdk.clone(), edge.clone());
        let site = Site {
            listener: Listener::Public,
            router: http::router(app),
            config: config.http.clone(),
            connections_max: config.http.connections_max,
            addresses: Some(addresses),
        };
        let connections = Connections::new(site, public.clone(), accepting.clone());
        Self { hub, edge, streams, public, connections, accepting, closing }
    }

    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Serves a connection that has arrived at this address.
    pub fn take(&self, stream: TcpStream, local: SocketAddr) {
        self.connections.take(stream, local);
    }

    /// Streams that are being read, and connections that are open.
    pub fn tasks(&self) -> (usize, usize) {
        (self.streams.len(), self.public.len())
    }
}

/// The names under which a gateway may be called.
pub(crate) fn names(config: &Config) -> Names {
    Names {
        public_url: config.http.public_url.clone(),
        hosts: config.http.hosts.clone(),
        origins: config.http.cors_origins.clone(),
    }
}

#[cfg(test)]
mod tests;
