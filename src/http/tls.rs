//! TLS of the public listener: by a certificate that changes under it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::edge::certificate::{Certificate, CertificateError, Files};
use crate::files::LOOK;
use crate::telemetry;

const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";
/// What one connection may hold that its peer has not taken, beside what the kernel does.
const BUFFER_BYTES_MAX: usize = 16 * 1024;
/// The first byte of every handshake.
const HANDSHAKE: u8 = 0x16;

/// By what connections are taken up; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Tls(Arc<Mutex<Arc<ServerConfig>>>);

impl Tls {
    /// Reads the files, which have to be right.
    pub(crate) fn open(files: &mut Files) -> Result<Self, CertificateError> {
        let certificate = files.renewed()?.expect("the first one is new");
        Ok(Self(Arc::new(Mutex::new(settings(&certificate)?))))
    }

    /// Takes what is in the files into use whenever it changes; connections that stand go on.
    pub(crate) async fn renew(self, mut files: Files, stop: CancellationToken) {
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            let renewed = files.renewed().and_then(|new| new.as_ref().map(settings).transpose());
            match renewed {
                Ok(None) => {}
                Ok(Some(settings)) => {
                    *self.0.lock().unwrap_or_else(PoisonError::into_inner) = settings;
                    info!("another certificate is in use for HTTP");
                }
                Err(error) => warn!(%error, "the certificate stays as it is"),
            }
        }
    }

    /// Takes up a connection.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let settings = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut stream = TlsAcceptor::from(settings).accept(stream).await?;
        stream.get_mut().1.set_buffer_limit(Some(BUFFER_BYTES_MAX));
        Ok(stream)
    }
}

/// Whether the peer begins to speak TLS.
pub(super) async fn is_spoken(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first == [HANDSHAKE]),
    }
}

/// Whether HTTP/2 was agreed on.
pub(super) fn speaks_h2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(H2)
}

fn settings(certificate: &Certificate) -> Result<Arc<ServerConfig>, CertificateError> {
    let settings = certificate.tls(rustls::DEFAULT_VERSIONS, &[H2, HTTP_1_1]);
    let settings = settings.map_err(|error| CertificateError::Own(error.to_string()))?;
    telemetry::http_certificate_expires(certificate.expires_at);
    Ok(Arc::new(settings))
}
