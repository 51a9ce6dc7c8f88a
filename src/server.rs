//! A whole gateway: started in order, run, drained in numbered phases.

use std::net::SocketAddr;
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
use crate::journal::Opened;
use crate::tasks::Tasks;
use crate::upstream::Limits;
use crate::upstream::provider::Registry;
use crate::{http, journal, telemetry};

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
}

/// A gateway that serves.
#[derive(Debug)]
pub struct Server {
    http: SocketAddr,
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
    pub fn start(config: Config, variable: impl Fn(&str) -> Option<String>) -> Result<Self, StartError> {
        let metrics = telemetry::install();
        let Opened { journal, known, secret } = journal::open(&config.journal)?;
        let bind = |key, addr| http::bind(addr).map_err(|error| StartError::Bind { key, addr, error });
        let listener = bind("http.listen", config.http.listen)?;
        let ops_listener = bind("ops.listen", config.ops.listen)?;

        let (streams, public, services) = (Tasks::default(), Tasks::default(), Tasks::default());
        let limits =
            Limits { config: config.upstream.clone(), stream_bytes_max: config.limits.stream_bytes_max };
        let registry =
            Registry::new(&config.providers, variable, limits, config.coalesce.clone(), streams.clone());
        let hub = Hub::new(
            config.retention.clone(),
            config.limits.clone(),
            journal,
            Arc::new(registry),
            streams.clone(),
        );
        hub.restore(known);

        let server = Self {
            http: local(&listener, config.http.listen),
            ops: local(&ops_listener, config.ops.listen),
            hub: hub.clone(),
            grace: Duration::from_secs(config.drain.grace_s),
            streams,
            public,
            services,
            accepting: CancellationToken::new(),
            closing: CancellationToken::new(),
        };
        let app = http::App::new(http::Parts {
            gate: Gate::new(&config.auth, &secret),
            may_lose: config.journal.durability == journal::Durability::Process,
            total: Duration::from_secs(config.upstream.total_s),
            closing: server.closing.clone(),
            hub: hub.clone(),
            config: config.http.clone(),
        });
        let Self { public, services, accepting, .. } = &server;
        let stop = services.stop();
        let (router, ops) = (http::router(app.clone()), http::ops_router(app, metrics.clone()));
        public.spawn(http::serve(listener, router, config.http.clone(), public.clone(), accepting.clone()));
        services.spawn(http::serve(ops_listener, ops, config.http, services.clone(), stop.clone()));
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
        info!(http = %server.http, ops = %server.ops, providers = config.providers.len(), "tokencast serves");
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

fn local(listener: &TcpListener, wanted: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(wanted)
}
