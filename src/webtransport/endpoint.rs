//! The UDP socket: opened once, with certificates that change while it is open, and its accept loop.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::HashedConnectionIdGenerator;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use wtransport::ServerConfig;
use wtransport::endpoint::endpoint_side::Server;
use wtransport::quinn::{AckFrequencyConfig, IdleTimeout, TransportConfig, VarInt};

use super::Config;
use super::certificate::tls;
use super::codes::Code;
use super::handshake::Lobby;
use super::identity::Identity;
use super::kept::Kept;
use super::session::Around;
use crate::crypto::hmac;
use crate::edge::Edge;
use crate::edge::certificate::{Certificate, CertificateError};
use crate::edge::place::Place;
use crate::tasks::Tasks;
use crate::telemetry;

/// How often certificates are looked at, and sessions measured.
const UPKEEP: Duration = Duration::from_secs(2);
/// How long the last packets may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// Room in the kernel for the packets of many sessions.
const SOCKET_BYTES: usize = 4 * 1024 * 1024;
/// Connections that have sent a packet and are not accepted yet, and what is kept of them meanwhile.
const INCOMING_MAX: usize = 1024;
const INCOMING_BYTES: u64 = 16 * 1024;
const INCOMING_BYTES_TOTAL: u64 = 16 * 1024 * 1024;

/// An open socket.
pub(crate) struct Endpoint {
    quic: wtransport::Endpoint<Server>,
    identity: Identity,
    config: Config,
    place: Place,
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Bind(#[from] io::Error),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Endpoint {
    /// Opens the socket. `directory` has what outlives the process; `names` are those of a certificate of our own.
    pub(crate) fn open(
        config: &Config,
        directory: &Path,
        names: Vec<String>,
        place: Place,
    ) -> Result<Self, OpenError> {
        let kept = Kept::open(directory, names);
        let reset_key = hmac::Key::new(hmac::HMAC_SHA256, &kept.derive(b"stateless reset"));
        let [a, b, c, d, e, f, g, h, ..] = kept.derive(b"connection ids");
        let cid_key = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let mut identity = Identity::of(config, kept);
        let certificate = identity.renewed()?.expect("the first one is new");
        let mut settings = settings(bind(config.listen)?, &certificate)?;
        let endpoint = settings.quic_endpoint_config_mut();
        // The same after a restart: whoever speaks to a session that died with the process is told at once.
        endpoint.reset_key(Arc::new(reset_key));
        endpoint.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(cid_key)));
        endpoint.min_reset_interval(Duration::from_millis(1));
        let quic = wtransport::Endpoint::server(settings)?;
        place.serves(quic.local_addr()?.port(), config.public_url.clone());
        place.pin(identity.pins());
        telemetry::certificate_expires(certificate.expires_at);
        Ok(Self { quic, identity, config: config.clone(), place })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.quic.local_addr()
    }

    /// Serves sessions until `stop`; then no new ones are taken, and each closes when it has said everything.
    pub(crate) async fn serve(mut self, edge: Edge, http_port: u16, stop: CancellationToken) {
        let sessions = Tasks::default();
        let stalled = Duration::from_secs(self.config.stalled_s);
        let around = Around { edge, stalled, tasks: sessions.clone(), stop: stop.clone() };
        let lobby = Lobby::new(around, http_port, self.config.sessions_max);
        let mut upkeep = interval(UPKEEP);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                incoming = self.quic.accept() => lobby.receive(incoming),
                _ = upkeep.tick() => {
                    if let Err(error) = self.renew() {
                        warn!(%error, "the certificate stays as it is");
                    }
                    lobby.measure();
                }
            }
        }
        sessions.wait().await;
        // Accepting ended before: an endpoint that is closed may not be asked for more.
        self.quic.close(Code::Draining.wire(), b"draining");
        if timeout(CLOSE_WITHIN, self.quic.wait_idle()).await.is_err() {
            info!("some sessions do not say goodbye");
        }
    }

    /// Takes a new certificate into use, if there is one; sessions that stand go on.
    fn renew(&mut self) -> Result<(), OpenError> {
        let Some(certificate) = self.identity.renewed()? else { return Ok(()) };
        // The settings want a socket, and the one that is open stays.
        let unused = bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        self.quic.reload_config(settings(unused, &certificate)?, false)?;
        self.place.pin(self.identity.pins());
        telemetry::certificate_expires(certificate.expires_at);
        info!("another certificate is in use");
        Ok(())
    }
}

/// How the endpoint speaks, and by which certificate.
fn settings(socket: UdpSocket, certificate: &Certificate) -> Result<ServerConfig, OpenError> {
    let mut settings = ServerConfig::builder()
        .with_bind_socket(socket)
        .with_custom_tls_and_transport(tls(certificate)?, transport())
        .build();
    settings
        .quic_config_mut()
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL);
    Ok(settings)
}

/// What one session may hold. Small windows towards the client: what does not fit shows that it is behind.
fn transport() -> TransportConfig {
    const KIB: u32 = 1024;
    // Peers that can be asked so acknowledge every few packets and not every other one: at 60 packets a second each
    // acknowledgement costs us a wake.
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements
        .ack_eliciting_threshold(VarInt::from_u32(10))
        .max_ack_delay(Some(Duration::from_millis(50)));
    let mut transport = TransportConfig::default();
    transport
        .ack_frequency_config(Some(acknowledgements))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(30_000))))
        .keep_alive_interval(Some(Duration::from_secs(5)))
        .send_window(u64::from(32 * KIB))
        .stream_receive_window(VarInt::from_u32(64 * KIB))
        .receive_window(VarInt::from_u32(256 * KIB))
        // CONNECT, control, and two that are refused politely; HTTP/3 itself has three to us.
        .max_concurrent_bidi_streams(VarInt::from_u32(4))
        .max_concurrent_uni_streams(VarInt::from_u32(8))
        .datagram_receive_buffer_size(Some(64 * KIB as usize))
        .datagram_send_buffer_size(16 * KIB as usize);
    transport
}

fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    // As much as the system allows.
    let _ = socket.set_recv_buffer_size(SOCKET_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BYTES);
    socket.bind(&addr.into())?;
    Ok(socket.into())
}
