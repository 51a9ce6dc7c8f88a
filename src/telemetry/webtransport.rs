//! What WebTransport counts.

use std::time::{Duration, SystemTime};

use metrics::{Gauge, counter, gauge, histogram};

/// How a WebTransport handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    Accepted,
    /// The address had to prove itself first.
    Retried,
    Failed,
    Forbidden,
    NotFound,
    Overloaded,
}

pub fn handshake(outcome: Handshake) {
    let outcome = match outcome {
        Handshake::Accepted => "accepted",
        Handshake::Retried => "retried",
        Handshake::Failed => "failed",
        Handshake::Forbidden => "forbidden",
        Handshake::NotFound => "not_found",
        Handshake::Overloaded => "overloaded",
    };
    counter!("tokencast_webtransport_handshakes_total", "outcome" => outcome).increment(1);
}

/// One open session.
#[derive(Debug)]
pub struct Session(Gauge);

impl Session {
    pub fn opened() -> Self {
        let gauge = gauge!("tokencast_webtransport_sessions");
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// One open subscription.
#[derive(Debug)]
pub struct Subscription(Gauge);

impl Subscription {
    pub fn opened() -> Self {
        let gauge = gauge!("tokencast_webtransport_subscriptions");
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A subscription has more to write than its client takes.
pub fn write_blocked() {
    counter!("tokencast_webtransport_blocked_writes_total").increment(1);
}

/// What a session has sent and received since it began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    pub packets_sent: u64,
    pub packets_received: u64,
    pub packets_lost: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

/// Counts what a session did between two looks at it.
pub fn session_traffic(now: &Traffic, before: &Traffic, rtt: Duration) {
    let packets = |direction: &'static str, now: u64, before: u64| {
        counter!("tokencast_webtransport_packets_total", "direction" => direction)
            .increment(now.saturating_sub(before));
    };
    let bytes = |direction: &'static str, now: u64, before: u64| {
        counter!("tokencast_webtransport_bytes_total", "direction" => direction)
            .increment(now.saturating_sub(before));
    };
    packets("sent", now.packets_sent, before.packets_sent);
    packets("received", now.packets_received, before.packets_received);
    packets("lost", now.packets_lost, before.packets_lost);
    bytes("sent", now.bytes_sent, before.bytes_sent);
    bytes("received", now.bytes_received, before.bytes_received);
    histogram!("tokencast_webtransport_rtt_seconds").record(rtt);
}

/// When the certificate in use expires.
pub fn certificate_expires(at: SystemTime) {
    gauge!("tokencast_webtransport_certificate_expiry_timestamp_seconds").set(super::timestamp(at));
}
