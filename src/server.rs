//! A whole gateway: started in order, run, drained in numbered phases.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::auth::{self, Keyring};
use crate::cast::end::Why;
use crate::cast::hub::Hub;
use crate::config::Config;
use crate::edge::place::Place;
use crate::gateway::{self, Gateway};
use crate::http::{Connections, Ops, Site, Tls};
use crate::tasks::Tasks;
use crate::telemetry::Listener;
use crate::webtransport::{Endpoint, OpenError};
use crate::{descriptors, http, journal, telemetry, upstream, webtransport};

/// How long streams that were told to end, and connections that were told to close, may take.
const SOON: Duration = Duration::from_secs(5);
const UPKEEP: Duration = Duration::from_secs(5);
/// Scrapers and orchestrators are few.
const OPS_CONNECTIONS_MAX: usize = 64;

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{key} = {addr}: {error}: free that address, or write another one")]
    Bind { key: &'static str, addr: SocketAddr, error: std::io::Error },
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    #[error(transparent)]
    Auth(#[from] auth::Problem),
    #[error(transparent)]
    Certificate(#[from] webtransport::CertificateError),
}

/// A gateway that serves.
#[derive(Debug)]
pub struct Server {
    http: SocketAddr,
    webtransport: Option<SocketAddr>,
    ops: SocketAddr,
    gateway: Gateway,
    grace: Duration,
    /// The operations listener, its connections, and housekeeping.
    services: Tasks,
}

impl Server {
    /// Opens the listeners and begins to serve. `variable` looks up environment variables.
    pub fn start(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Result<Self, StartError> {
        let metrics = telemetry::install();
        let keyring = Keyring::open(&config.auth, &variable)?;
        let config = &within_descriptors(config);
        // 1. The journal is there, ours, and nobody else's: else nothing is opened at all.
        let prepared = journal::prepare(&config.journal)?;
        // 2. Who asks is told that it takes a while.
        let bind = |key, addr| http::bind(addr).map_err(|error| StartError::Bind { key, addr, error });
        let ops_listener = bind("ops.listen", config.ops.listen)?;
        let ops_addr = local(&ops_listener, config.ops.listen);
        let (ops, services) = (Ops::new(metrics.clone()), Tasks::default());
        let stop = services.stop().clone();
        // Where anything below fails, nobody is told anything any more.
        let unless_started = stop.clone().drop_guard();
        let site = Site {
            listener: Listener::Ops,
            router: http::ops_router(&config.http, gateway::names(config), ops.clone()),
            config: config.http.clone(),
            connections_max: OPS_CONNECTIONS_MAX,
            addresses: None,
        };
        let connections = Connections::new(site, services.clone(), stop.clone());
        services.spawn(http::serve(ops_listener, connections));
        // 3. What the process before this one has left; the public listeners come when it is known.
        let opened = prepared.recover()?;
        let listener = bind("http.listen", config.http.listen)?;
        let mut files = config.http.files();
        let tls = files.as_mut().map(Tls::open).transpose()?;
        let client = upstream::client(&config.upstream, |builder| builder);
        let gateway = Gateway::new(config, variable, client, keyring, opened);
        let Gateway { hub, edge, public, connections, accepting, .. } = &gateway;
        let place = edge.place.clone();
        let endpoint = config.webtransport.enabled.then(|| open_endpoint(config, place)).transpose()?;
        // 4. Everybody else.
        ops.serves(edge.clone());
        let http = local(&listener, config.http.listen);
        public.spawn(http::serve(listener, connections.clone().over(tls.clone())));
        if let Some((tls, files)) = tls.zip(files) {
            services.spawn(tls.renew(files, stop.clone()));
        }
        let webtransport = endpoint.as_ref().and_then(|endpoint| endpoint.local_addr().ok());
        if let Some(endpoint) = endpoint {
            public.spawn(endpoint.serve(edge.clone(), http.port(), accepting.clone()));
        }
        services.spawn(edge.gate.keys().clone().keep_current(stop.clone()));
        services.spawn_again({
            let (hub, stop) = (hub.clone(), stop.clone());
            move || hub.clone().expire(stop.clone())
        });
        services.spawn({
            let stop = stop.clone();
            async move {
                let mut tick = tokio::time::interval(UPKEEP);
                while stop.run_until_cancelled(tick.tick()).await.is_some() {
                    metrics.run_upkeep();
                }
            }
        });
        info!(%http, ops = %ops_addr, webtransport = webtransport.map(tracing::field::display), providers = config.providers.len(), "tokencast serves");
        unless_started.disarm();
        let grace = Duration::from_secs(config.drain.grace_s);
        Ok(Self { http, webtransport, ops: ops_addr, gateway, grace, services })
    }

    /// Where the public listener is.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where the operations listener is.
    pub fn ops(&self) -> SocketAddr {
        self.ops
    }

    /// Where WebTransport is, if it is on.
    pub fn webtransport(&self) -> Option<SocketAddr> {
        self.webtransport
    }

    pub fn hub(&self) -> &Hub {
        self.gateway.hub()
    }

    /// Serves until `shutdown`, then drains; `hurry` cuts the grace short.
    pub async fn run(self, shutdown: impl Future<Output = ()>, hurry: impl Future<Output = ()>) {
        shutdown.await;
        let Gateway { hub, streams, public, accepting, closing, .. } = &self.gateway;
        let running = hub.running().len();
        info!(running, grace_s = self.grace.as_secs(), "draining");

        // 1. Take nothing new: POST answers 503, readiness says so. Viewers stay, and new ones come.
        hub.drain();
        // 2. Let running streams end by themselves, for as long as the grace lasts.
        tokio::select! {
            _ = timeout(self.grace, streams.wait()) => {}
            () = hurry => info!("told to hurry"),
        }
        // 3. End the rest.
        let rest = hub.running();
        if !rest.is_empty() {
            info!(streams = rest.len(), "the grace is over: ending what still runs");
        }
        rest.iter().for_each(|cast| cast.stop(Why::Drain));
        if timeout(SOON, streams.wait()).await.is_err() {
            warn!(tasks = streams.len(), "some streams do not end");
        }
        // 4. Accept no more connections; those that are open close when they have said everything.
        accepting.cancel();
        if timeout(SOON, public.wait()).await.is_err() {
            info!(tasks = public.len(), "sending the last viewers away");
            closing.cancel();
            let _ = timeout(SOON, public.wait()).await;
        }
        // 5. Close the operations listener, and leave.
        self.services.stop().cancel();
        if timeout(SOON, self.services.wait()).await.is_err() {
            warn!(tasks = self.services.len(), "some connections do not close");
        }
        info!("drained");
    }
}

/// Opens the endpoint, with its keys beside the journal.
fn open_endpoint(config: &Config, place: Place) -> Result<Endpoint, StartError> {
    let directory = config.journal.path.parent().unwrap_or(Path::new("."));
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let urls = [&config.webtransport.public_url, &config.http.public_url].into_iter().flatten();
    names.extend(urls.filter_map(|url| url.host_str()).map(|host| host.trim_matches(['[', ']']).to_owned()));
    names.extend(config.http.hosts.iter().cloned());
    let addr = config.webtransport.listen;
    if !addr.ip().is_unspecified() {
        names.push(addr.ip().to_string());
    }
    names.sort();
    names.dedup();
    Endpoint::open(&config.webtransport, directory, names, place).map_err(|error| match error {
        OpenError::Bind(error) => StartError::Bind { key: "webtransport.listen", addr, error },
        OpenError::Certificate(error) => error.into(),
    })
}

/// The configuration with no more connections than there can be file descriptors for.
fn within_descriptors(config: &Config) -> Config {
    let (mut config, limit) = (config.clone(), descriptors::raise());
    let wanted = config.http.connections_max;
    let granted = descriptors::for_clients(wanted, limit);
    if granted < wanted {
        warn!(
            wanted,
            granted, limit, "http.connections_max is more than `ulimit -n` allows: raise that, or lower it"
        );
        config.http.connections_max = granted;
    }
    config
}

fn local(listener: &TcpListener, wanted: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(wanted)
}
