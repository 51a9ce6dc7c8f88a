//! The accept loop: a connection that does not ask for something in time is closed, and so is one that does not take
//! what it asked for. (`axum::serve` has neither deadline.)

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::response::Parts;
use http::{Method, Request, Version};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tower_service::Service;
use tracing::{debug, warn};

use super::Config;
use super::lane::{Held, Lane, Left, Order, Rooms, Slot, write_headers};
use super::wire::{Answering, Flushes, Wire};
use crate::tasks::Tasks;
use crate::telemetry;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Where a connection comes from and arrives; a request finds it in its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) local: SocketAddr,
    pub(crate) flushes: Flushes,
    /// Other requests may be answered at the same time.
    pub(crate) is_shared: bool,
    /// The answer to this request may be left to a room.
    pub(crate) takes_lane: bool,
    pub(crate) answering: Answering,
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

/// Serves connections until they are to stop; then no new ones are taken, and idle ones are closed.
pub(crate) async fn serve(listener: TcpListener, connections: Connections) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = connections.stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                // One that is gone again already is none.
                if let (Ok(()), Ok(local)) = (stream.set_nodelay(true), stream.local_addr()) {
                    connections.take(stream, local);
                }
            }
            Err(error) => {
                // Out of file descriptors, mostly: the backlog waits until there are some again.
                warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves connections, whoever accepts them; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    router: Router,
    config: Arc<Config>,
    places: Arc<Semaphore>,
    rooms: Rooms,
    tasks: Tasks,
    stop: CancellationToken,
}

impl Connections {
    pub(crate) fn new(router: Router, config: Config, tasks: Tasks, stop: CancellationToken) -> Self {
        let places = Arc::new(Semaphore::new(config.connections_max));
        let rooms = Rooms::new(tasks.clone(), Duration::from_secs(config.stalled_s));
        Self { router, config: Arc::new(config), places, rooms, tasks, stop }
    }

    /// Serves a connection that has arrived at this address, if there is a place for it.
    pub(crate) fn take(&self, stream: TcpStream, local: SocketAddr) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            refuse(&stream);
            return;
        };
        let Self { router, config, rooms, tasks, stop, .. } = self.clone();
        self.tasks.spawn(async move {
            let held = Held { _place: place, _open: telemetry::Connection::opened() };
            match connection(stream, local, router, &config, tasks, stop).await {
                Ok(Some((stream, head, order))) => rooms.seat(stream, &head, order, held),
                Ok(None) => {}
                Err(error) => debug!(error = &*error, "connection closed"),
            }
        });
    }
}

/// Says in as few bytes as possible that there is no place for one more connection.
fn refuse(stream: &TcpStream) {
    const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    telemetry::connection_refused();
    debug!("refused a connection: http.connections_max is reached");
    let _ = stream.try_write(FULL);
}

async fn connection(
    stream: TcpStream,
    local: SocketAddr,
    router: Router,
    config: &Config,
    tasks: Tasks,
    stop: CancellationToken,
) -> Result<Option<(TcpStream, Parts, Order)>, Box<dyn std::error::Error + Send + Sync>> {
    let Some(speaks_h2) = stop
        .run_until_cancelled(speaks_h2(&stream, Duration::from_secs(config.first_byte_s)))
        .await
        .transpose()?
    else {
        return Ok(None);
    };
    let mut wire = Wire::new(stream, Duration::from_secs(config.stalled_s));
    if speaks_h2 {
        over_h2(wire, local, router, config, tasks, stop).await?;
        return Ok(None);
    }
    let mut has_lane = true;
    loop {
        let Some(left) = over_h1(wire, local, router.clone(), config, &stop, has_lane).await? else {
            return Ok(None);
        };
        if left.behind.is_empty() {
            return Ok(Some((left.wire.into_stream(), left.head, left.order)));
        }
        // Something was asked behind the viewer: it is answered again, by a body, and what is behind it after it.
        (wire, has_lane) = (left.wire.again([left.asked, left.behind].concat().into()), false);
    }
}

/// A connection that has left hyper.
struct Leaving {
    wire: Wire,
    head: Parts,
    order: Order,
    /// The request as it stood on the wire, and what was read behind it.
    asked: Bytes,
    behind: Bytes,
}

async fn over_h1(
    wire: Wire,
    local: SocketAddr,
    router: Router,
    config: &Config,
    stop: &CancellationToken,
    has_lane: bool,
) -> Result<Option<Leaving>, hyper::Error> {
    let (slot, answering) = (Slot::default(), wire.answering());
    let link = Link {
        local,
        flushes: wire.flushes(),
        is_shared: false,
        takes_lane: false,
        answering: answering.clone(),
    };
    let filling = slot.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let takes_lane = has_lane && is_plain(&request);
        answering.set(takes_lane);
        request.extensions_mut().insert(Link { takes_lane, ..link.clone() });
        let (mut router, slot, answering) = (router.clone(), filling.clone(), answering.clone());
        let asked = if takes_lane { wire_head(&request) } else { Vec::new() };
        // Boxed, so that the connection can be taken apart.
        Box::pin(async move {
            let response = router.call(request.map(Body::new)).await.unwrap_or_else(|never| match never {});
            if let Some(order) = response.extensions().get::<Lane>().and_then(Lane::take) {
                slot.fill(Left { head: response.into_parts().0, order, asked: asked.into() });
                return std::future::pending().await;
            }
            answering.set(false);
            Ok::<_, Infallible>(response)
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(config.head_s))
        .max_headers(100)
        .max_buf_size(config.head_bytes_max as usize)
        .serve_connection(TokioIo::new(wire), service);
    let mut is_stopping = false;
    let Left { head, order, asked } = loop {
        tokio::select! {
            done = &mut connection => {
                done?;
                return Ok(None);
            }
            left = slot.filled() => break left,
            () = stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let parts = connection.into_parts();
    Ok(Some(Leaving { wire: parts.io.into_inner(), head, order, asked, behind: parts.read_buf }))
}

async fn over_h2(
    wire: Wire,
    local: SocketAddr,
    router: Router,
    config: &Config,
    tasks: Tasks,
    stop: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let link = Link {
        local,
        flushes: wire.flushes(),
        is_shared: true,
        takes_lane: false,
        answering: wire.answering(),
    };
    let asked = Arc::new(AtomicBool::new(false));
    let seen = asked.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        seen.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(link.clone());
        router.clone().call(request.map(Body::new))
    });
    let connection = http2::Builder::new(Executor(tasks))
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.h2_streams_max)
        .max_send_buf_size(64 * 1024)
        .max_header_list_size(config.head_bytes_max)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .serve_connection(TokioIo::new(wire), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        done = connection.as_mut() => done?,
        () = unasked(&asked, Duration::from_secs(config.request_s)) => return Err("no request in time".into()),
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await?;
        }
    }
    Ok(())
}

/// A request without a body, as it stands on the wire.
fn wire_head(request: &Request<Incoming>) -> Vec<u8> {
    let mut out = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    write_headers(request.headers(), &mut out);
    out.extend_from_slice(b"\r\n");
    out
}

/// Whether a request says everything in its head, and can be answered until the connection ends.
fn is_plain(request: &Request<Incoming>) -> bool {
    request.method() == Method::GET && request.version() == Version::HTTP_11 && request.body().is_end_stream()
}

/// Whether the client begins with the HTTP/2 preface. Waits for the first byte, and then for as many as it takes to
/// tell, within one deadline.
async fn speaks_h2(stream: &TcpStream, within: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + within;
    let late = || io::Error::new(io::ErrorKind::TimedOut, "no request in time");
    let mut begin = [0; PREFACE.len()];
    loop {
        let len = timeout_at(deadline, stream.peek(&mut begin)).await.map_err(|_| late())??;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if begin[..len] != PREFACE[..len] {
            return Ok(false);
        }
        if len == PREFACE.len() {
            return Ok(true);
        }
        // A peek does not wait for more than there is.
        if Instant::now() >= deadline {
            return Err(late());
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Returns if nothing was asked within the deadline.
async fn unasked(asked: &AtomicBool, within: Duration) {
    sleep(within).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// Runs the tasks of HTTP/2 connections where all tasks run.
#[derive(Clone)]
struct Executor(Tasks);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}
