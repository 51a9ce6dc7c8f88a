//! What HTTP counts.

use std::time::SystemTime;

use metrics::{Gauge, Unit, counter, describe_gauge, gauge};

/// A listener, as labels have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    Public,
    Ops,
    WebTransport,
}

impl Listener {
    pub(super) const ALL: [Self; 3] = [Self::Public, Self::Ops, Self::WebTransport];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Ops => "ops",
            Self::WebTransport => "webtransport",
        }
    }
}

/// Somebody was refused, for a reason out of a table.
pub fn refused(listener: Listener, reason: &'static str) {
    counter!("tokencast_refused_total", "listener" => listener.label(), "reason" => reason).increment(1);
}

/// When the certificate of the public listener expires.
pub fn http_certificate_expires(at: SystemTime) {
    const NAME: &str = "tokencast_http_certificate_expiry_timestamp_seconds";
    describe_gauge!(NAME, Unit::Seconds, "When the certificate in use expires, since 1970");
    gauge!(NAME).set(super::timestamp(at));
}

/// No place was left for a connection.
pub fn connection_refused() {
    counter!("tokencast_http_connections_refused_total").increment(1);
}

pub fn request_answered(route: &str, code: u16) {
    counter!("tokencast_http_requests_total", "route" => route.to_owned(), "code" => code.to_string())
        .increment(1);
}

/// One open connection.
#[derive(Debug)]
pub struct Connection(Gauge);

impl Connection {
    pub fn opened() -> Self {
        let gauge = gauge!("tokencast_http_connections");
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
