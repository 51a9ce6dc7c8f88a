//! One connection over WebTransport: a session on one stream.

use std::io;
use std::time::Duration;

use tokio::time::timeout;
use wtransport::VarInt;
use wtransport::endpoint::ConnectOptions;

use super::{Viewing, Wrong, record};
use crate::clock::now_ns;

const WITHIN: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 16 * 1024;

/// Up to the end of the stream, or the cut.
pub(super) async fn connection(viewing: &mut Viewing<'_>) -> Result<(), Wrong> {
    let (endpoint, base) = viewing.crowd.endpoint(viewing.seat.number);
    let url = format!("{base}{}?after={}", viewing.target(), viewing.checker.cursor());
    let mut options = ConnectOptions::builder(url);
    for header in viewing.crowd.job().headers.lines() {
        let (name, value) =
            header.split_once(": ").ok_or_else(|| format!("this is no header: {header:?}"))?;
        options = options.add_header(name, value);
    }
    let permit = viewing.crowd.may_open().await;
    let opening = async {
        let connection = endpoint.connect(options.build()).await.map_err(io::Error::other)?;
        let stream = connection.accept_uni().await.map_err(io::Error::other)?;
        Ok::<_, io::Error>((connection, stream))
    };
    let (connection, mut stream) = timeout(WITHIN, opening)
        .await
        .map_err(|elapsed| Wrong::Unopened(elapsed.into()))?
        .map_err(Wrong::Unopened)?;
    drop(permit);
    let _connected = viewing.crowd.connected(&viewing.seat);
    let mut budget = viewing.budget();
    let (mut chunk, mut arrived) = (vec![0; READ_BYTES], Vec::new());
    loop {
        let read = stream.read(&mut chunk).await.map_err(io::Error::other)?;
        let now = now_ns();
        let Some(read) = read else {
            let is_over = viewing.checker.end().is_some() && arrived.is_empty();
            connection.close(VarInt::from_u32(0), b"");
            return if is_over { Ok(()) } else { Err("the stream finished without END".to_owned().into()) };
        };
        arrived.extend_from_slice(&chunk[..read]);
        viewing.crowd.count(|counts| counts.tally.bytes += read as u64);
        let mut taken = 0;
        while let Some((one, len)) = record::record(&arrived[taken..]) {
            record::events(one, |event| viewing.hear(event, now))?;
            taken += len;
        }
        arrived.drain(..taken);
        if let Some(left) = &mut budget {
            *left = left.saturating_sub(read);
            if *left == 0 && viewing.checker.end().is_none() {
                connection.close(VarInt::from_u32(0), b"");
                return Ok(());
            }
        }
    }
}
