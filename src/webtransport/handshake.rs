//! Who may come in: names, origins, paths and places are checked here; all that a page should be told why, later.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use percent_encoding::percent_decode_str;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::{Instrument, debug, debug_span};
use wtransport::endpoint::{IncomingSession, SessionRequest};

use super::meter::Meters;
use super::session::{Around, Session, Want};
use crate::auth::Credential;
use crate::edge::addresses::Connected;
use crate::edge::query::Query;
use crate::telemetry::{self, Handshake, Listener};

/// From the first packet to CONNECT.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// Until an answer to CONNECT has left.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Handshakes at once; more are refused before they cost anything.
const HANDSHAKES_MAX: usize = 512;
/// Above so many at once an address has to prove itself first.
const UNPROVEN_MAX: usize = 64;

/// Where connections wait until they are sessions.
#[derive(Debug)]
pub(super) struct Lobby {
    guard: Arc<Guard>,
    handshakes: Arc<Semaphore>,
    places: Arc<Semaphore>,
    meters: Meters,
}

/// What a handshake is measured against.
#[derive(Debug)]
struct Guard {
    around: Around,
    http_port: u16,
}

/// A CONNECT that is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Forbidden,
    NotFound,
    /// Its address has too many.
    Crowded,
    Full,
}

/// What a session holds as long as it is open.
#[derive(Debug)]
struct Held {
    _connected: Connected,
    _place: OwnedSemaphorePermit,
}

impl Lobby {
    /// For `sessions_max` sessions, beside the HTTP listener on `http_port`.
    pub(super) fn new(around: Around, http_port: u16, sessions_max: usize) -> Self {
        Self {
            guard: Arc::new(Guard { around, http_port }),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            places: Arc::new(Semaphore::new(sessions_max)),
            meters: Meters::default(),
        }
    }

    /// Takes a connection up, or sends it away.
    pub(super) fn receive(&self, incoming: IncomingSession) {
        let under_way = HANDSHAKES_MAX.saturating_sub(self.handshakes.available_permits());
        if under_way >= UNPROVEN_MAX && !incoming.remote_address_validated() {
            telemetry::handshake(Handshake::Retried);
            return incoming.retry();
        }
        let Ok(permit) = self.handshakes.clone().try_acquire_owned() else {
            telemetry::handshake(Handshake::Overloaded);
            return incoming.refuse();
        };
        let (guard, places, meters) = (self.guard.clone(), self.places.clone(), self.meters.clone());
        let peer = incoming.remote_address();
        // Below info: whatever is entered in every poll of every session costs as much as a frame's encryption.
        let span = debug_span!("session", %peer);
        self.guard.around.tasks.spawn(
            async move {
                let Ok(Ok(request)) = timeout(HANDSHAKE_WITHIN, incoming).await else {
                    telemetry::handshake(Handshake::Failed);
                    return;
                };
                // Only now the address has proved to be its own.
                let connected = guard.around.edge.addresses.connect(peer.ip());
                let admitted = guard.admit(&request).and_then(|want| {
                    let connected = connected.ok_or(Refused::Crowded)?;
                    let place = places.try_acquire_owned().map_err(|_| Refused::Full)?;
                    Ok((want, Held { _connected: connected, _place: place }))
                });
                match admitted {
                    Ok((want, held)) => guard.accept(request, want, held, permit, &meters).await,
                    Err(refused) => refuse(request, refused).await,
                }
            }
            .instrument(span),
        );
    }

    /// Counts what the sessions have sent and received so far.
    pub(super) fn measure(&self) {
        self.meters.read();
    }
}

impl Guard {
    /// What a CONNECT wants, if its names are ours and there is such a place.
    fn admit(&self, request: &SessionRequest) -> Result<Want, Refused> {
        let authority = request.authority().parse::<Authority>().map_err(|_| Refused::Forbidden)?;
        let host = authority.host();
        // What was called by its address has been called by no name that could mean something else.
        let local = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        let names = &self.around.edge.names;
        let is_ours = names.is_ours(host, local)
            && request.origin().is_none_or(|origin| names.is_page_of(origin, self.http_port, local));
        if !is_ours {
            return Err(Refused::Forbidden);
        }
        let (path, query) = request.path().split_once('?').unwrap_or((request.path(), ""));
        let stream = match path.split('/').collect::<Vec<_>>()[..] {
            ["", "v1", "session"] => None,
            ["", "v1", "streams", id] => Some(percent_decode_str(id).decode_utf8_lossy().into_owned()),
            _ => return Err(Refused::NotFound),
        };
        let header = |name| request.headers().get(name).map(String::as_str);
        let query = Query::new(query);
        let credential = Credential {
            key: header("tokencast-key").map(Into::into),
            bearer: header("authorization").and_then(Credential::bearer_of).map(Into::into),
            // Given twice it is none that could be right.
            ticket: query.get("ticket").ok().flatten().map(|ticket| ticket.into_owned().into()),
        };
        Ok(Want { stream, query, credential })
    }

    async fn accept(
        &self,
        request: SessionRequest,
        want: Want,
        held: Held,
        handshake: OwnedSemaphorePermit,
        meters: &Meters,
    ) {
        let Ok(Ok(connection)) = timeout(ANSWER_WITHIN, request.accept()).await else {
            telemetry::handshake(Handshake::Failed);
            return;
        };
        telemetry::handshake(Handshake::Accepted);
        drop(handshake);
        let _metered = meters.add(&connection);
        Box::pin(Session::new(connection, self.around.clone(), want).run()).await;
        drop(held);
    }
}

async fn refuse(request: SessionRequest, refused: Refused) {
    debug!(?refused, "a session is refused");
    let reason = match refused {
        Refused::Forbidden => "forbidden",
        Refused::NotFound => "not_found",
        Refused::Crowded => "too_many_connections",
        Refused::Full => "overloaded",
    };
    telemetry::refused(Listener::WebTransport, reason);
    telemetry::handshake(match refused {
        Refused::Forbidden => Handshake::Forbidden,
        Refused::NotFound => Handshake::NotFound,
        Refused::Full | Refused::Crowded => Handshake::Overloaded,
    });
    let _ = timeout(ANSWER_WITHIN, async {
        match refused {
            Refused::Forbidden => request.forbidden().await,
            Refused::NotFound => request.not_found().await,
            Refused::Full | Refused::Crowded => request.too_many_requests().await,
        }
    })
    .await;
}
