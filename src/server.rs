//! A whole gateway: started in order, run, drained in numbered phases.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::auth::Gate;
use crate::cast::end::Why;
use crate::cast::hub::Hub;
use crate::config::Config;
use crate::edge::names::Names;
use crate::edge::place::Place;
use crate::edge::{self, Edge};
use crate::http::Ops;
use crate::journal::Opened;
use crate::tasks::Tasks;
use crate::upstream::Limits;
use crate::upstream::provider::Registry;
use crate::webtransport::{Endpoint, OpenError};
use crate::{http, journal, telemetry, webtransport};

/// How long streams that were told to end, and connections that were told to close, may take.
const SOON: Duration = Duration::from_secs(5);
const UPKEEP: Duration = Duration::from_secs(5);

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{key} = {addr}: {error}: free that address, or write another one")]
    Bind { key: &'static str, addr: SocketAddr, error: std::io::Error },
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    #[error(transparent)]
    Certificate(#[from] webtransport::CertificateError),
}

/// A gateway that serves.
#[derive(Debug)]
pub struct Server {
    http: SocketAddr,
    webtransport: Option<SocketAddr>,
    ops: SocketAddr,
    hub: Hub,
    grace: Duration,
    /// The upstream tasks, which belong to casts.
    streams: Tasks,
    /// The public listener and its connections.
    public: Tasks,
    /// The operations listener, its connections, and housekeeping.
    services: Tasks,
    accepting: CancellationToken,
    closing: CancellationToken,
}

impl Server {
    /// Opens the listeners and begins to serve. `variable` looks up environment variables.
    pub fn start(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Result<Self, StartError> {
        let metrics = telemetry::install();
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
        let names = Names {
            public_url: config.http.public_url.clone(),
            hosts: config.http.hosts.clone(),
            origins: config.http.cors_origins.clone(),
        };
        let router = http::ops_router(names.clone(), ops.clone());
        let settings = config.http.clone();
        services.spawn(http::serve(ops_listener, router, settings, services.clone(), stop.clone()));
        // 3. What the process before this one has left; the public listeners come when it is known.
        let Opened { journal, known, secret } = prepared.recover()?;
        let listener = bind("http.listen", config.http.listen)?;
        let place = Place::default();
        let endpoint =
            config.webtransport.enabled.then(|| open_endpoint(config, place.clone())).transpose()?;

        let (streams, public) = (Tasks::default(), Tasks::default());
        let limits =
            Limits { config: config.upstream.clone(), stream_bytes_max: config.limits.stream_bytes_max };
        let registry = Arc::new(Registry::new(
            &config.providers,
            variable,
            limits,
            config.coalesce.clone(),
            streams.clone(),
        ));
        let hub = Hub::new(
            config.retention.clone(),
            config.limits.clone(),
            journal,
            registry.clone(),
            streams.clone(),
        );
        hub.restore(known);

        let webtransport = endpoint.as_ref().and_then(|endpoint| endpoint.local_addr().ok());
        let server = Self {
            http: local(&listener, config.http.listen),
            webtransport,
            ops: ops_addr,
            hub: hub.clone(),
            grace: Duration::from_secs(config.drain.grace_s),
            streams,
            public,
            services,
            accepting: CancellationToken::new(),
            closing: CancellationToken::new(),
        };
        let edge = Edge::new(edge::Parts {
            hub: hub.clone(),
            gate: Gate::new(&config.auth, &secret),
            names,
            forward: registry,
            place,
            may_lose: config.journal.durability == journal::Durability::Process,
            total: Duration::from_secs(config.upstream.total_s),
            closing: server.closing.clone(),
        });
        let app = http::App::new(config.http.clone(), config.ai_sdk.clone(), edge.clone());
        // 4. Everybody else.
        ops.serves(edge.clone());
        let Self { public, services, accepting, .. } = &server;
        let router = http::router(app);
        public.spawn(http::serve(listener, router, config.http.clone(), public.clone(), accepting.clone()));
        if let Some(endpoint) = endpoint {
            public.spawn(endpoint.serve(edge, server.http.port(), accepting.clone()));
        }
        services.spawn(hub.expire(stop.clone()));
        services.spawn({
            let stop = stop.clone();
            async move {
                let mut tick = tokio::time::interval(UPKEEP);
                while stop.run_until_cancelled(tick.tick()).await.is_some() {
                    metrics.run_upkeep();
                }
            }
        });
        info!(http = %server.http, ops = %server.ops, webtransport = server.webtransport.map(tracing::field::display), providers = config.providers.len(), "tokencast serves");
        unless_started.disarm();
        Ok(server)
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
        &self.hub
    }

    /// Serves until `shutdown`, then drains; `hurry` cuts the grace short.
    pub async fn run(self, shutdown: impl Future<Output = ()>, hurry: impl Future<Output = ()>) {
        shutdown.await;
        let running = self.hub.running().len();
        info!(running, grace_s = self.grace.as_secs(), "draining");

        // 1. Take nothing new: POST answers 503, readiness says so. Viewers stay, and new ones come.
        self.hub.drain();
        // 2. Let running streams end by themselves, for as long as the grace lasts.
        tokio::select! {
            _ = timeout(self.grace, self.streams.wait()) => {}
            () = hurry => info!("told to hurry"),
        }
        // 3. End the rest.
        let rest = self.hub.running();
        if !rest.is_empty() {
            info!(streams = rest.len(), "the grace is over: ending what still runs");
        }
        rest.iter().for_each(|cast| cast.stop(Why::Drain));
        if timeout(SOON, self.streams.wait()).await.is_err() {
            warn!(tasks = self.streams.len(), "some streams do not end");
        }
        // 4. Accept no more connections; those that are open close when they have said everything.
        self.accepting.cancel();
        if timeout(SOON, self.public.wait()).await.is_err() {
            info!(tasks = self.public.len(), "sending the last viewers away");
            self.closing.cancel();
            let _ = timeout(SOON, self.public.wait()).await;
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

fn local(listener: &TcpListener, wanted: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(wanted)
}
