//! The floor of `sessions`: a server over the same library that writes the same frame to everybody at every tick, and
//! knows nothing else.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use wtransport::endpoint::IncomingSession;
use wtransport::{Endpoint, Identity, ServerConfig};

use crate::Fault;
use crate::hex::hex;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Streams per session
    #[arg(long)]
    streams: u32,
    /// Ticks per second
    #[arg(long)]
    rate: f64,
    /// Bytes of a frame, its length included
    #[arg(long)]
    bytes: usize,
}

#[expect(clippy::print_stdout, reason = "whoever starts it reads where it is")]
pub(crate) async fn run(options: Options) -> Result<(), Fault> {
    let identity = Identity::self_signed(["localhost", "127.0.0.1"])?;
    let hash = hex(identity.certificate_chain().as_slice()[0].hash().as_ref());
    let config = ServerConfig::builder()
        .with_bind_address(([127, 0, 0, 1], 0).into())
        .with_identity(identity)
        .keep_alive_interval(Some(Duration::from_secs(5)))
        .build();
    let endpoint = Endpoint::server(config)?;
    println!("{} {hash}", endpoint.local_addr()?);
    let mut frame = u32::try_from(options.bytes.saturating_sub(4))?.to_be_bytes().to_vec();
    frame.resize(options.bytes.max(4), b'x');
    let frame = Bytes::from(frame);
    let (tick, ticks) = watch::channel(0_u64);
    let mut tasks = JoinSet::new();
    let mut every = interval(Duration::from_secs_f64(1.0 / options.rate));
    every.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let (ticks, frame) = (ticks.clone(), frame.clone());
                tasks.spawn(async move { drop(write(incoming, ticks, frame, options.streams).await) });
            }
            _ = every.tick() => tick.send_modify(|tick| *tick += 1),
        }
    }
}

async fn write(
    incoming: IncomingSession,
    mut ticks: watch::Receiver<u64>,
    frame: Bytes,
    streams: u32,
) -> Result<(), Fault> {
    let connection = incoming.await?.accept().await?;
    let mut opened = Vec::new();
    for _ in 0..streams {
        opened.push(connection.open_uni().await?.await?);
    }
    loop {
        ticks.changed().await?;
        for stream in &mut opened {
            stream.quic_stream_mut().write_chunk(frame.clone()).await?;
        }
    }
}
