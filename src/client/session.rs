//! The stream over WebTransport: a session of its own, with pings while it is silent and acknowledgements while it is
//! not.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde::Serialize;
use tokio::time::{Instant, timeout, timeout_at};
use wtransport::config::IpBindConfig;
use wtransport::endpoint::{ConnectOptions, endpoint_side};
use wtransport::tls::Sha256Digest;
use wtransport::{ClientConfig, Connection, Endpoint, RecvStream, SendStream};

use super::ask::{Ask, Place};
use super::error::Lost;
use super::record::Records;
use super::wire::Message;
use crate::cast::block::Seq;
use crate::outbound::causes;
use crate::view::msgpack::{VERSION, framed, value};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How often to ask, in silence, whether the gateway is there.
const PING_EVERY: Duration = Duration::from_millis(500);
/// What is read before it is acknowledged: a quarter of what the gateway sends without.
const ACK_BYTES: usize = 16 * 1024;
const ACK_EVERY: Duration = Duration::from_secs(1);

/// A session that follows one stream.
pub(super) struct Session {
    connection: Connection,
    /// The socket lives as long as the session.
    _endpoint: Endpoint<endpoint_side::Client>,
    stream: RecvStream,
    control: SendStream,
    records: Records,
    /// The last id that was handed out, the last one that was acknowledged, and what was read since.
    seen: Seq,
    acknowledged: Seq,
    unacknowledged: usize,
    acknowledged_at: Instant,
}

/// What this client says.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Say {
    Hello { version: u32 },
    Ack { subscription: u32, seq: Seq },
    Ping { t: Option<u64> },
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) async fn open(place: &Place, ask: &Ask<'_>) -> Result<Self, Lost> {
        let opened = timeout(CONNECT_WITHIN, Self::connect(place, ask)).await;
        opened.unwrap_or_else(|_| Err(Lost::cut("no session in time")))
    }

    async fn connect(place: &Place, ask: &Ask<'_>) -> Result<Self, Lost> {
        let mut url = place.url.clone();
        url.query_pairs_mut()
            .append_pair("after", &ask.after.to_string())
            .append_pair("heartbeat_ms", &ask.heartbeat.as_millis().to_string());
        let mut options = ConnectOptions::builder(url.as_str());
        if let Some(credential) = ask.credential {
            options = options.add_header("authorization", format!("Bearer {}", credential.expose_secret()));
        }
        let endpoint = endpoint(place).map_err(|error| Lost::cut(error.to_string()))?;
        let connection =
            endpoint.connect(options.build()).await.map_err(|error| Lost::cut(causes(&error)))?;
        let lost = |error: &dyn std::error::Error| Lost::cut(causes(error));
        let opening = connection.open_bi().await.map_err(|error| lost(&error))?;
        let (control, _answers) = opening.await.map_err(|error| lost(&error))?;
        let stream = connection.accept_uni().await.map_err(|error| lost(&error))?;
        let mut session = Self {
            connection,
            _endpoint: endpoint,
            stream,
            control,
            records: Records::default(),
            seen: ask.after,
            acknowledged: ask.after,
            unacknowledged: 0,
            acknowledged_at: Instant::now(),
        };
        session.say(&Say::Hello { version: VERSION }).await?;
        Ok(session)
    }

    /// The next message; silence for so long is a cut.
    pub(super) async fn message(&mut self, silence: Duration) -> Result<Message, Lost> {
        let until = Instant::now() + silence;
        let mut chunk = [0; 4096];
        loop {
            if let Some(message) = self.records.next()? {
                self.seen = message.id.unwrap_or(self.seen);
                return Ok(message);
            }
            self.acknowledge().await?;
            let soon = (Instant::now() + PING_EVERY).min(until);
            match timeout_at(soon, self.stream.read(&mut chunk)).await {
                Ok(Ok(Some(read))) => {
                    self.unacknowledged += read;
                    self.records.push(&chunk[..read]);
                }
                Ok(Ok(None)) => return Err(Lost::cut("the stream was closed before the end")),
                Ok(Err(error)) => return Err(Lost::cut(causes(&error))),
                Err(_) if Instant::now() >= until => {
                    return Err(Lost::cut(format!("not a byte for {} s", silence.as_secs_f32())));
                }
                // Whoever is not there any more answers this with a reset.
                Err(_) => self.say(&Say::Ping { t: None }).await?,
            }
        }
    }

    /// Tells how far this client has read, now and then.
    async fn acknowledge(&mut self) -> Result<(), Lost> {
        let is_due = self.unacknowledged >= ACK_BYTES || self.acknowledged_at.elapsed() >= ACK_EVERY;
        if is_due && self.seen > self.acknowledged {
            self.say(&Say::Ack { subscription: 0, seq: self.seen }).await?;
            (self.acknowledged, self.unacknowledged) = (self.seen, 0);
            self.acknowledged_at = Instant::now();
        }
        Ok(())
    }

    async fn say(&mut self, message: &Say) -> Result<(), Lost> {
        let mut bytes = Vec::new();
        framed(&mut bytes, |out| value(out, message));
        self.control.write_all(&bytes).await.map_err(|error| Lost::cut(causes(&error)))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.close(0_u32.into(), b"");
    }
}

fn endpoint(place: &Place) -> std::io::Result<Endpoint<endpoint_side::Client>> {
    let trusted = |bind| {
        let config = ClientConfig::builder().with_bind_config(bind);
        match place.hashes.is_empty() {
            true => config.with_native_certs().build(),
            false => {
                let hashes = place.hashes.iter().copied().map(Sha256Digest::new);
                config.with_server_certificate_hashes(hashes).build()
            }
        }
    };
    // A machine may be without IPv6.
    Endpoint::client(trusted(IpBindConfig::InAddrAnyDual))
        .or_else(|_| Endpoint::client(trusted(IpBindConfig::InAddrAnyV4)))
}
