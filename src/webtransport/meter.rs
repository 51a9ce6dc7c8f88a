//! What sessions send and receive, read from QUIC now and then instead of counted packet by packet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wtransport::Connection;
use wtransport::quinn;

use crate::telemetry::{self, Traffic};

/// All sessions; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Meters(Arc<Mutex<HashMap<usize, Meter>>>);

#[derive(Debug)]
struct Meter {
    connection: quinn::Connection,
    counted: Traffic,
}

/// One session that counts, for as long as this lives.
#[derive(Debug)]
pub(super) struct Metered {
    meters: Meters,
    id: usize,
    _open: telemetry::Session,
}

impl Meters {
    pub(super) fn add(&self, connection: &Connection) -> Metered {
        let id = connection.stable_id();
        let meter = Meter { connection: connection.quic_connection().clone(), counted: Traffic::default() };
        self.lock().insert(id, meter);
        Metered { meters: self.clone(), id, _open: telemetry::Session::opened() }
    }

    pub(super) fn read(&self) {
        self.lock().values_mut().for_each(Meter::read);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Meter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meter {
    fn read(&mut self) {
        let stats = self.connection.stats();
        let now = Traffic {
            packets_sent: stats.udp_tx.datagrams,
            packets_received: stats.udp_rx.datagrams,
            packets_lost: stats.path.lost_packets,
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
        };
        telemetry::session_traffic(&now, &self.counted, stats.path.rtt);
        self.counted = now;
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if let Some(mut meter) = self.meters.lock().remove(&self.id) {
            meter.read();
        }
    }
}
