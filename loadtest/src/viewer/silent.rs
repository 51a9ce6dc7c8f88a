//! A viewer that asks, and never reads.

use std::future::pending;
use std::io;

use super::Seat;
use crate::crowd::Crowd;
use crate::http::Connection;

/// Holds its connection for as long as the crowd is there.
pub(super) async fn connection(crowd: &Crowd, seat: &Seat) -> io::Result<()> {
    let job = crowd.job();
    let mut connection = {
        let _permit = crowd.may_open().await;
        Connection::open_narrow(seat.source, job.addr).await?
    };
    let target = format!("{}/events", job.streams[seat.stream].target);
    connection.send("GET", &target, &job.headers, "").await?;
    let _connected = crowd.connected(seat);
    pending().await
}
