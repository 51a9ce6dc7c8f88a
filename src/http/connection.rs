//! One connection: which HTTP it speaks, its requests, and what ends it.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Version, header};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::ended::Ended;
use super::error;
use super::executor::{Executor, Unwatched};
use super::heads::Heads;
use super::lane::{Lane, Left, Order, Slot, write_headers};
use super::pulse::{Answer, Late, Patience, Pulse};
use super::serve::{Link, Place, Site};
use super::taking::{Taken, Taking};
use super::tls::Tls;
use super::wire::Wire;
use super::{last_words, tls};
use crate::tasks::Tasks;
use crate::telemetry;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const H2_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Between two pings to a peer that says nothing, and until it has to answer one.
const H2_PING: Duration = Duration::from_secs(20);
/// Streams that a peer has reset and that we have not looked at yet; more of them end the connection.
const H2_RESETS_PENDING_MAX: usize = 20;
/// Streams that we have reset for what the peer did; more of them end the connection.
const H2_RESETS_OWN_MAX: usize = 256;
/// Heads that are so many times too large are still read, to be answered with an error of ours; hyper's own has no body.
const H2_HEAD_MARGIN: u32 = 4;
/// How long a peer may take to hear that its connection is over.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a connection has ended that did not end by itself.
pub(super) type Closed = Box<dyn std::error::Error + Send + Sync>;

/// A connection that has left hyper.
struct Leaving<S> {
    wire: Wire<S>,
    head: Parts,
    order: Order,
    /// The request as it stood on the wire, and what was read behind it.
    asked: Bytes,
    behind: Bytes,
}

/// Serves a connection until it ends, or until its socket belongs to somebody else.
pub(super) async fn run(
    stream: TcpStream,
    place: Place,
    site: &Site,
    tls: Option<&Tls>,
    tasks: Tasks,
    stop: CancellationToken,
) -> Result<Option<(TcpStream, Parts, Order)>, Closed> {
    let patience = Duration::from_secs(site.config.stalled_s);
    if let Some(tls) = tls {
        let Some(accepted) = stop.run_until_cancelled(secured(stream, tls, site)).await else {
            return Ok(None);
        };
        let stream = accepted?;
        let talk = Talk { place, site, stop, takes_lane: false };
        if tls::speaks_h2(&stream) {
            talk.h2(Wire::new(stream, patience), tasks).await?;
        } else {
            talk.h1(Wire::new(stream, patience)).await?;
        }
        return Ok(None);
    }
    let Some(speaks_h2) = stop.run_until_cancelled(speaks_h2(&stream, site)).await else { return Ok(None) };
    let speaks_h2 = speaks_h2?;
    let mut wire = Wire::new(stream, patience);
    if speaks_h2 {
        Talk { place, site, stop, takes_lane: false }.h2(wire, tasks).await?;
        return Ok(None);
    }
    let mut takes_lane = true;
    loop {
        let talk = Talk { place, site, stop: stop.clone(), takes_lane };
        let Some(left) = talk.h1(wire).await? else { return Ok(None) };
        if left.behind.is_empty() {
            return Ok(Some((left.wire.into_stream(), left.head, left.order)));
        }
        // Something was asked behind the viewer: it is answered again, by a body, and what is behind it after it.
        (wire, takes_lane) = (left.wire.again([left.asked, left.behind].concat().into()), false);
    }
}

/// Speaks TLS with a peer that begins to in time.
async fn secured(mut stream: TcpStream, tls: &Tls, site: &Site) -> Result<TlsStream<TcpStream>, Closed> {
    let begun = Instant::now();
    let first = begun + Duration::from_secs(site.config.first_byte_s);
    let whole = begun + Duration::from_secs(site.config.tls_handshake_s);
    let Ok(is_spoken) = timeout_at(first.min(whole), tls::is_spoken(&stream)).await else {
        telemetry::refused(site.listener, "first_byte_timeout");
        return Err("no first byte in time".into());
    };
    if !is_spoken? {
        let refusal = error::tls_required();
        telemetry::refused(site.listener, refusal.code);
        last_words::say(&mut stream, &refusal).await;
        return Err("this is no TLS".into());
    }
    match timeout_at(whole, tls.accept(stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            telemetry::refused(site.listener, "tls_handshake");
            Err(error.into())
        }
        Err(_) => {
            telemetry::refused(site.listener, "tls_handshake_timeout");
            Err("no TLS in time".into())
        }
    }
}

/// Whether the client begins with the HTTP/2 preface. Waits for the first byte, and then for as many as it takes to
/// tell, within one deadline.
async fn speaks_h2(stream: &TcpStream, site: &Site) -> io::Result<bool> {
    let deadline = Instant::now() + Duration::from_secs(site.config.first_byte_s);
    let late = || {
        telemetry::refused(site.listener, "first_byte_timeout");
        io::Error::new(io::ErrorKind::TimedOut, "no request in time")
    };
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

/// The requests of one connection.
struct Talk<'a> {
    place: Place,
    site: &'a Site,
    stop: CancellationToken,
    takes_lane: bool,
}

impl Talk<'_> {
    fn patience(&self, first_s: u64) -> Patience {
        let config = &self.site.config;
        let [first, head, idle] = [first_s, config.head_s, config.idle_s].map(Duration::from_secs);
        Patience { first, head, idle }
    }

    fn link<S>(&self, wire: &Wire<S>, is_shared: bool) -> Link {
        let Self { place, site, .. } = *self;
        let (flushes, answering) = (wire.flushes(), wire.answering());
        Link {
            listener: site.listener,
            place,
            flushes,
            is_shared,
            is_clean: true,
            takes_lane: false,
            answering,
        }
    }

    async fn h1<S>(self, wire: Wire<S>) -> Result<Option<Leaving<S>>, Closed>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (pulse, slot) = (Pulse::default(), Slot::default());
        let heads = Heads::of(pulse.clone());
        let link = self.link(&wire, false);
        let (asking, filling, router) = (heads.clone(), slot.clone(), self.site.router.clone());
        let (may_take_lane, answering) = (self.takes_lane, wire.answering());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (busy, has_clean_lines) = asking.asked(!request.body().is_end_stream());
            let is_clean = has_clean_lines && is_plainly_coded(request.headers());
            let takes_lane = may_take_lane && is_plain(&request);
            answering.set(takes_lane);
            request.extensions_mut().insert(Link { takes_lane, is_clean, ..link.clone() });
            let (mut router, slot, answering) = (router.clone(), filling.clone(), answering.clone());
            let asked = if takes_lane { wire_head(&request) } else { Vec::new() };
            // Boxed, so that the connection can be taken apart.
            Box::pin(async move {
                let mut response =
                    router.call(request.map(Body::new)).await.unwrap_or_else(|never| match never {});
                if !is_clean {
                    // What follows may be a part of it, or not.
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                if let Some(order) = response.extensions().get::<Lane>().and_then(Lane::take) {
                    slot.fill(Left { head: response.into_parts().0, order, asked: asked.into() });
                    return std::future::pending().await;
                }
                answering.set(false);
                Ok::<_, Infallible>(response.map(|body| Answer { body, _busy: busy }))
            })
        });
        let config = &self.site.config;
        let head_bytes_max = config.head_bytes_max as usize;
        let mut connection = http1::Builder::new()
            .max_headers(config.head_fields_max)
            .max_header_size(head_bytes_max)
            .max_buf_size(head_bytes_max.max(H1_BUFFER_BYTES_MIN))
            .serve_connection(TokioIo::new(wire.for_heads(heads.clone())), service);
        let mut late = pin!(pulse.late(self.patience(config.first_byte_s)));
        let mut is_stopping = false;
        let ended = loop {
            tokio::select! {
                done = &mut connection => break Ended::Done(done),
                Left { head, order, asked } = slot.filled() => {
                    let parts = connection.into_parts();
                    let (wire, behind) = (parts.io.into_inner(), parts.read_buf);
                    return Ok(Some(Leaving { wire, head, order, asked, behind }));
                }
                late = &mut late => break Ended::Late(late),
                () = self.stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                }
            }
        };
        let wire = connection.into_parts().io.into_inner();
        let Some(refusal) = ended.refusal(&heads) else { return ended.told(self.site).map(|()| None) };
        telemetry::refused(self.site.listener, refusal.code);
        // Else hyper has said something.
        if wire.is_mute() {
            last_words::say(&mut wire.into_stream(), &refusal).await;
        }
        Err(refusal.message.into())
    }

    async fn h2<S>(self, wire: Wire<S>, tasks: Tasks) -> Result<(), Closed>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (pulse, unwatched) = (Pulse::default(), Unwatched::default());
        let link = self.link(&wire, true);
        let (asking, watching, router) = (pulse.clone(), unwatched.clone(), self.site.router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let taking = Taking::new(asking.asked());
            watching.put(taking.clone());
            request.extensions_mut().insert(link.clone());
            let mut router = router.clone();
            async move {
                let response =
                    router.call(request.map(Body::new)).await.unwrap_or_else(|never| match never {});
                Ok::<_, Infallible>(response.map(|body| Taken { body, taking }))
            }
        });
        let config = &self.site.config;
        let untaken = CancellationToken::new();
        let executor = Executor {
            tasks,
            listener: self.site.listener,
            patience: Duration::from_secs(config.stalled_s),
            unwatched,
            untaken: untaken.clone(),
        };
        let connection = http2::Builder::new(executor)
            .timer(TokioTimer::new())
            .max_concurrent_streams(config.h2_streams_max)
            .max_send_buf_size(H2_SEND_BUFFER_BYTES)
            .max_header_list_size(config.head_bytes_max.saturating_mul(H2_HEAD_MARGIN))
            .max_pending_accept_reset_streams(H2_RESETS_PENDING_MAX)
            .max_local_error_reset_streams(H2_RESETS_OWN_MAX)
            .keep_alive_interval(H2_PING)
            .keep_alive_timeout(H2_PING)
            .serve_connection(TokioIo::new(wire.for_frames()), service);
        let mut connection = pin!(connection);
        let mut late = pin!(pulse.late(self.patience(config.request_s)));
        let ended = tokio::select! {
            done = connection.as_mut() => Ended::Done(done),
            late = &mut late => Ended::Late(late),
            () = untaken.cancelled() => return Err("an answer was not taken".into()),
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                Ended::Done(connection.as_mut().await)
            }
        };
        match ended {
            Ended::Late(late) => {
                if late == Late::First {
                    telemetry::refused(self.site.listener, "request_timeout");
                }
                connection.as_mut().graceful_shutdown();
                let _ = timeout(GOODBYE, connection).await;
                Ok(())
            }
            done => done.told(self.site),
        }
    }
}

/// What hyper wants at least.
const H1_BUFFER_BYTES_MIN: usize = 8192;

/// A request without a body, as it stands on the wire.
fn wire_head(request: &Request<Incoming>) -> Vec<u8> {
    let mut out = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    write_headers(request.headers(), &mut out);
    out.extend_from_slice(b"\r\n");
    out
}

/// Whether everybody on the way finds the same end of the body, as far as its transfer coding goes.
fn is_plainly_coded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    codings.next().is_none_or(is_plain) && codings.next().is_none()
}

/// Whether a request says everything in its head, and can be answered until the connection ends.
fn is_plain(request: &Request<Incoming>) -> bool {
    request.method() == Method::GET && request.version() == Version::HTTP_11 && request.body().is_end_stream()
}
