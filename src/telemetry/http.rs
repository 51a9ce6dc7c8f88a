//! What HTTP counts.

use metrics::{Gauge, counter, gauge};

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
