//! What viewers cost that take nothing: first those who have nothing to read, then those who never read although there
//! is much. The second is a difference against the same stream with one honest viewer, which costs the log itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use tokio::time::{sleep, timeout};

use crate::clock::now_ns;
use crate::gateway::{Gateway, Journal};
use crate::http::{Connection, Progress};
use crate::limits::Wanted;
use crate::machine::tcp_kib;
use crate::provider::Provider;
use crate::report::{Report, rounded};
use crate::script::Script;
use crate::{Common, Fault, say};

const SCRIPT: Script =
    Script { stream: 0, tokens: 1, token_bytes: 64, rate: 0.0, jitter: 0.0, burst: 1, begin_us: 0 };
/// Of the stream that nobody reads.
const TOKEN_BYTES: usize = 1024;
const SETTLE: Duration = Duration::from_secs(2);
const WITHIN: Duration = Duration::from_secs(60);
/// Connections that are opened side by side.
const AT_ONCE: usize = 64;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[arg(long, default_value_t = 1000)]
    viewers: usize,
    /// Text of the stream that is not read
    #[arg(long, value_name = "MIB", default_value_t = 8)]
    unread_mib: u64,
}

pub(crate) async fn run(options: &Options, common: &Common) -> Result<Report, Fault> {
    let viewers = options.viewers as u64;
    let log_kib = options.unread_mib << 10;
    Wanted { streams: 1, viewers, silent: viewers, is_webtransport: false, log_kib, is_local: true }
        .check()?;
    let mut report = Report::default();

    let provider = provider().await?;
    let gateway = Gateway::start(provider.addr, viewers, Journal::Memory, common).await?;
    // One token, and the next one when nobody is here any more.
    provider.begin(now_ns());
    gateway.begin("quiet", &Script { tokens: 20, token_bytes: 64, rate: 0.001, ..SCRIPT }).await?;
    // One viewer first: what exists once is not a viewer's cost.
    let _first = attach(&gateway, "quiet", 1, true).await?;
    let (before, tcp_before) = settled(&gateway).await;
    let idle = attach(&gateway, "quiet", options.viewers, true).await?;
    let (with, tcp_with) = settled(&gateway).await;
    let per_viewer = |after: u64, before: u64| rounded((after as f64 - before as f64) / viewers as f64);
    report.note("viewers", viewers, "");
    report.note("gateway memory without viewers", before, "KiB");
    report.note("gateway memory with idle viewers", with, "KiB");
    report.note("per idle viewer", per_viewer(with, before), "KiB");
    report.note("per idle viewer, TCP buffers of both sides", per_viewer(tcp_with, tcp_before), "KiB");
    drop(idle);
    let (after, _) = settled(&gateway).await;
    report.note("gateway memory when they are gone", after, "KiB");
    drop(gateway);

    let log = unread(options, common, 1, true).await?;
    say(format_args!("one viewer who reads: {} KiB", log.0));
    let unread = unread(options, common, options.viewers, false).await?;
    report.note("growth by a stream of unread text, one viewer who reads", log.0, "KiB");
    report.note("growth by the same, viewers who never read", unread.0, "KiB");
    report.note("per viewer who never reads", per_viewer(unread.0, log.0), "KiB");
    report.note("per viewer who never reads, TCP buffers of both sides", per_viewer(unread.1, log.1), "KiB");
    Ok(report)
}

/// By how many KiB memory, and TCP buffers, grow with a stream of much text and these viewers.
async fn unread(options: &Options, common: &Common, viewers: usize, read: bool) -> Result<(u64, u64), Fault> {
    let provider = provider().await?;
    let gateway = Gateway::start(provider.addr, viewers as u64, Journal::Memory, common).await?;
    let (before, tcp_before) = settled(&gateway).await;
    let tokens = (options.unread_mib << 20) / TOKEN_BYTES as u64;
    gateway.begin("much", &Script { tokens, token_bytes: TOKEN_BYTES, rate: 0.0, ..SCRIPT }).await?;
    let mut viewing = attach(&gateway, "much", viewers, false).await?;
    // The text has waited until everybody is there.
    provider.begin(now_ns());
    if read {
        for connection in &mut viewing {
            connection.head().await?;
            timeout(WITHIN, connection.rest()).await??;
        }
    }
    timeout(WITHIN, gateway.until_ended("much")).await??;
    let (with, tcp_with) = settled(&gateway).await;
    Ok((with.saturating_sub(before), tcp_with.saturating_sub(tcp_before)))
}

async fn provider() -> Result<Provider, Fault> {
    Provider::start(SocketAddr::from(([127, 0, 0, 1], 0))).await
}

/// Viewers that ask for the stream, and take the first of it if they read.
async fn attach(gateway: &Gateway, id: &str, viewers: usize, read: bool) -> Result<Vec<Connection>, Fault> {
    let target = format!("/v1/streams/{id}/events?heartbeat_ms=30000");
    let mut viewing = Vec::with_capacity(viewers);
    while viewing.len() < viewers {
        let mut opening = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE.min(viewers - viewing.len()) {
            let (addr, target) = (gateway.addr, target.clone());
            opening.spawn(async move {
                let mut connection = if read {
                    Connection::open(addr).await?
                } else {
                    Connection::open_narrow(IpAddr::V4(Ipv4Addr::UNSPECIFIED), addr).await?
                };
                connection.send("GET", &target, "", "").await?;
                if read {
                    connection.head().await?;
                    let mut bytes = Vec::new();
                    while memchr::memmem::find(&bytes, b"event: text").is_none() {
                        if connection.body(&mut bytes).await? != Progress::More {
                            return Err("the stream is over".into());
                        }
                    }
                }
                Ok::<_, Fault>(connection)
            });
        }
        while let Some(opened) = opening.join_next().await {
            viewing.push(opened??);
        }
    }
    Ok(viewing)
}

/// The gateway's memory, and that of TCP, when it has come to rest.
async fn settled(gateway: &Gateway) -> (u64, u64) {
    sleep(SETTLE).await;
    (gateway.tree().memory().now_kib, tcp_kib())
}
