//! The accept loop: who may have a connection at all. (`axum::serve` has no deadline and no limit.)

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::error::{self, Error};
use super::lane::{Held, Rooms};
use super::tls::Tls;
use super::wire::{Answering, Flushes};
use super::{Config, connection, last_words};
use crate::edge::addresses::{Addresses, Connected};
use crate::tasks::Tasks;
use crate::telemetry::{self, Listener};

/// How long nothing is accepted where there is no file descriptor for it.
const RESPITE: Duration = Duration::from_millis(100);
/// How long that is not said again.
const SAID_FOR: Duration = Duration::from_secs(10);

/// Where a connection has arrived, and where it comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
}

/// What a request has to know of its connection; it finds it in its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) listener: Listener,
    pub(crate) place: Place,
    pub(crate) flushes: Flushes,
    /// Other requests may be answered at the same time.
    pub(crate) is_shared: bool,
    /// The head can be read in one way only. After any other nothing more is read.
    pub(crate) is_clean: bool,
    /// The answer to this request may be left to a room.
    pub(crate) takes_lane: bool,
    pub(crate) answering: Answering,
}

/// What a listener serves, and to whom.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) listener: Listener,
    pub(crate) router: Router,
    pub(crate) config: Config,
    pub(crate) connections_max: usize,
    /// Who counts the connections of each address, if anybody does.
    pub(crate) addresses: Option<Addresses>,
}

/// Binds a listener whose connections keep little in the kernel: a viewer that never reads would otherwise hold
/// megabytes there.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    const SEND_BUFFER_BYTES: u32 = 64 * 1024;
    const BACKLOG: u32 = 4096;
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// What a peer does not take is not kept by the kernel for longer than by us: a closed connection would hold it on, beyond
/// every limit, for as long as its peer likes.
#[cfg(target_os = "linux")]
fn forget_in_time(stream: &TcpStream, patience: Duration) {
    const THEN: Duration = Duration::from_secs(5);
    let millis = u32::try_from((patience + THEN).as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, millis) {
        debug!(%error, "a connection may be kept by the kernel");
    }
}

/// Serves connections until they are to stop; then no new ones are taken, and idle ones are closed.
pub(crate) async fn serve(listener: TcpListener, connections: Connections) {
    let mut said: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = connections.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                // One that is gone again already is none.
                #[cfg(target_os = "linux")]
                forget_in_time(&stream, Duration::from_secs(connections.site.config.stalled_s));
                if let (Ok(()), Ok(local)) = (stream.set_nodelay(true), stream.local_addr()) {
                    connections.take(stream, local);
                }
            }
            Err(error) => {
                // Out of file descriptors, mostly: the backlog waits until there are some again.
                telemetry::refused(connections.site.listener, "not_accepted");
                if said.is_none_or(|at| at.elapsed() > SAID_FOR) {
                    said = Some(Instant::now());
                    warn!(%error, "connections cannot be accepted");
                }
                sleep(RESPITE).await;
            }
        }
    }
}

/// Serves connections, whoever accepts them; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    site: Arc<Site>,
    tls: Option<Tls>,
    places: Arc<Semaphore>,
    rooms: Rooms,
    tasks: Tasks,
    stop: CancellationToken,
}

impl Connections {
    pub(crate) fn new(site: Site, tasks: Tasks, stop: CancellationToken) -> Self {
        let places = Arc::new(Semaphore::new(site.connections_max));
        let rooms = Rooms::new(tasks.clone(), Duration::from_secs(site.config.stalled_s));
        Self { site: Arc::new(site), tls: None, places, rooms, tasks, stop }
    }

    /// The same over TLS, if there is any.
    pub(crate) fn over(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// Serves a connection that has arrived at this address, if there is a place for it.
    pub(crate) fn take(&self, stream: TcpStream, local: SocketAddr) {
        let peer = stream.peer_addr().unwrap_or(local);
        let (place, connected) = match self.admit(peer) {
            Ok(admitted) => admitted,
            Err(refusal) => return self.refuse(&stream, &refusal),
        };
        let Self { site, tls, rooms, tasks, stop, .. } = self.clone();
        self.tasks.spawn(async move {
            let held = Held { _place: place, _connected: connected, _open: telemetry::Connection::opened() };
            let place = Place { local, peer };
            match connection::run(stream, place, &site, tls.as_ref(), tasks, stop).await {
                Ok(Some((stream, head, order))) => rooms.seat(stream, &head, order, held),
                Ok(None) => {}
                Err(error) => debug!(error = &*error, "connection closed"),
            }
        });
    }

    /// A place for a connection, if there is one for its address.
    fn admit(&self, peer: SocketAddr) -> Result<(OwnedSemaphorePermit, Option<Connected>), Error> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| {
            telemetry::connection_refused();
            error::overloaded()
        })?;
        let addresses = self.site.addresses.as_ref();
        let connected =
            addresses.map(|addresses| addresses.connect(peer.ip()).ok_or_else(error::too_many_connections));
        Ok((place, connected.transpose()?))
    }

    /// Says at once that there is no place for one more connection, to whom it can be said without TLS.
    fn refuse(&self, stream: &TcpStream, refusal: &Error) {
        telemetry::refused(self.site.listener, refusal.code);
        debug!(code = refusal.code, "refused a connection");
        if self.tls.is_none() {
            let _ = stream.try_write(&last_words::of(refusal));
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use http::Method;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::edge::names::Names;
    use crate::http::finish;

    /// A surface with bugs in it.
    fn router(config: &Config) -> Router {
        async fn broken() -> Body {
            panic!("words of a stream");
        }
        let breaks_off = async || {
            Body::from_stream(async_stream::stream! {
                yield Ok::<_, io::Error>("so far");
                tokio::task::yield_now().await;
                panic!("words of a stream");
            })
        };
        let routes = Router::new()
            .route("/broken", get(broken))
            .route("/breaks-off", get(breaks_off))
            .route("/fine", get(async |method: Method| method.to_string()));
        let names = Names { public_url: None, hosts: Vec::new(), origins: Vec::new() };
        finish(routes, None, config.rules(names), ())
    }

    async fn ask(addr: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn a_panic_costs_one_request() {
        let config = Config::default();
        let site = Site {
            listener: Listener::Public,
            router: router(&config),
            connections_max: 4,
            config,
            addresses: None,
        };
        let (tasks, stop) = (Tasks::default(), CancellationToken::new());
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Connections::new(site, tasks.clone(), stop.clone());
        let places = connections.places.clone();
        tasks.spawn(serve(listener, connections));
        for _ in 0..10 {
            let broken = ask(addr, "/broken").await;
            assert!(broken.starts_with("HTTP/1.1 500 ") && broken.contains("\"internal\""), "{broken}");
            assert!(!broken.contains("words of a stream"), "{broken}");
            let breaks_off = ask(addr, "/breaks-off").await;
            assert!(breaks_off.contains("so far") && !breaks_off.ends_with("0\r\n\r\n"), "{breaks_off}");
        }
        assert!(ask(addr, "/fine").await.ends_with("GET"));
        stop.cancel();
        tasks.wait().await;
        assert_eq!(places.available_permits(), 4, "nothing is left of them");
    }
}
