//! How long whoever comes late waits for the last byte of a stream that has ended: from memory, from the journal, and from
//! the journal of a gateway that was started again and has read none of it yet.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use memchr::memmem;
use tokio::time::sleep;

use crate::clock::now_ns;
use crate::gateway::{Gateway, Journal};
use crate::http::Connection;
use crate::provider::Provider;
use crate::report::Report;
use crate::script::Script;
use crate::tally::Times;
use crate::{Common, Fault};

/// Streams that are read first and not counted: caches, branch predictors.
const WARM_UP: u32 = 3;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Tokens of each stream, a block each
    #[arg(long, default_value_t = 5000)]
    tokens: u64,
    /// Bytes of text per token
    #[arg(long, default_value_t = 64)]
    token_bytes: usize,
    /// Tokens per second of each stream; few in a frame if it is slow. 0 is as fast as possible
    #[arg(long, default_value_t = 500.0)]
    rate: f64,
    /// Streams, each of which is read once from everywhere
    #[arg(long, default_value_t = 50)]
    streams: u32,
    /// How long the journal has to tidy up before the gateway is killed
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    settle: f64,
}

pub(crate) async fn run(options: &Options, common: &Common) -> Result<Report, Fault> {
    let mut report = Report::default();
    report.note("streams", options.streams, "");
    report.note("blocks of each", options.tokens, "");
    let gateway = filled(options, common, Journal::Memory).await?;
    read(options, &gateway, "from memory", &mut report).await?;
    let mut gateway = filled(options, common, Journal::Commit).await?;
    read(options, &gateway, "from the journal", &mut report).await?;
    sleep(Duration::from_secs_f64(options.settle)).await;
    gateway.kill().await?;
    gateway.start_again().await?;
    read(options, &gateway, "after a restart", &mut report).await?;
    Ok(report)
}

/// A gateway with streams that have ended.
async fn filled(options: &Options, common: &Common, journal: Journal) -> Result<Gateway, Fault> {
    let provider = Provider::start(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let gateway = Gateway::start(provider.addr, 8, journal, common).await?;
    provider.begin(now_ns());
    for stream in 0..options.streams + WARM_UP {
        let script = Script {
            stream,
            tokens: options.tokens,
            token_bytes: options.token_bytes,
            rate: options.rate,
            jitter: 0.0,
            burst: 1,
            begin_us: 0,
        };
        gateway.begin(&format!("s{stream}"), &script).await?;
    }
    for stream in 0..options.streams + WARM_UP {
        gateway.until_ended(&format!("s{stream}")).await?;
    }
    Ok(gateway)
}

/// One viewer after the other, each on a connection that is open already.
async fn read(options: &Options, gateway: &Gateway, from: &str, report: &mut Report) -> Result<(), Fault> {
    let (mut times, mut bytes) = (Times::default(), 0);
    for stream in 0..options.streams + WARM_UP {
        let mut connection = Connection::open(gateway.addr).await?;
        let began = Instant::now();
        connection.send("GET", &format!("/v1/streams/s{stream}/events"), "", "").await?;
        connection.head().await?;
        let body = connection.rest().await?;
        let taken = began.elapsed();
        let text = options.tokens * options.token_bytes as u64;
        if (body.len() as u64) < text || memmem::rfind(&body, b"event: end").is_none() {
            report.violation(format!("{from}: stream s{stream} is not whole, {} bytes", body.len()));
        }
        if stream >= WARM_UP {
            times.add(taken);
            bytes = body.len();
        }
    }
    report.note(format!("bytes {from}"), bytes, "");
    report.note_times(&format!("last byte {from}"), &times);
    Ok(())
}
