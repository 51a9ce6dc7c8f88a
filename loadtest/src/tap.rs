//! Between gateway and provider: relays, and notes when each block of each stream passed. Without it nobody could say
//! how old an event is when a viewer gets it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a request says about itself, so that the tap knows whose it is.
pub(crate) const MARK: &str = "\"user\":\"tapped-";

/// When the blocks of one stream passed, in nanoseconds since the beginning; 0 is not yet.
#[derive(Debug)]
pub(crate) struct Passed {
    began: Instant,
    at: Vec<AtomicU64>,
}

impl Passed {
    pub(crate) fn new(blocks: u64, began: Instant) -> Arc<Self> {
        Arc::new(Self { began, at: (0..blocks).map(|_| AtomicU64::new(0)).collect() })
    }

    /// How long ago block `seq` passed.
    pub(crate) fn age(&self, seq: u64, now: Instant) -> Option<Duration> {
        let at = self.at.get(usize::try_from(seq).ok()?.checked_sub(1)?)?.load(Ordering::Relaxed);
        (at != 0).then(|| (now - self.began).saturating_sub(Duration::from_nanos(at)))
    }

    fn note(&self, blocks: &mut usize, count: usize) {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        for at in self.at.iter().skip(*blocks).take(count) {
            at.store(now, Ordering::Relaxed);
        }
        *blocks += count;
    }
}

/// Relays every connection until dropped.
pub(crate) async fn run(listener: TcpListener, provider: SocketAddr, streams: Arc<[Arc<Passed>]>) {
    let mut relays = JoinSet::new();
    while let Ok((gateway, _)) = listener.accept().await {
        let streams = streams.clone();
        relays.spawn(async move {
            let _ = relay(gateway, provider, &streams).await;
        });
        while relays.try_join_next().is_some() {}
    }
}

async fn relay(mut gateway: TcpStream, provider: SocketAddr, streams: &[Arc<Passed>]) -> std::io::Result<()> {
    let mut provider = TcpStream::connect(provider).await?;
    provider.set_nodelay(true)?;
    gateway.set_nodelay(true)?;
    let mut request = Vec::new();
    let (mut passed, mut blocks, mut last) = (None, 0, 0);
    let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        tokio::select! {
            read = gateway.read(&mut up) => match read? {
                0 => return Ok(()),
                len => {
                    request.extend_from_slice(&up[..len]);
                    if let Some(stream) = whose(&request) {
                        (passed, blocks, last) = (streams.get(stream), 0, 0);
                        request.clear();
                    }
                    provider.write_all(&up[..len]).await?;
                }
            },
            read = provider.read(&mut down) => match read? {
                0 => return Ok(()),
                len => {
                    let bytes = &down[..len];
                    // The provider writes LF, one blank line behind each block, and whole blocks per chunk.
                    let ends = memmem::find_iter(bytes, b"\n\n").count()
                        + usize::from(last == b'\n' && bytes[0] == b'\n');
                    last = bytes[len - 1];
                    if let Some(passed) = passed {
                        passed.note(&mut blocks, ends);
                    }
                    gateway.write_all(bytes).await?;
                }
            },
        }
    }
}

fn whose(request: &[u8]) -> Option<usize> {
    let at = memmem::find(request, MARK.as_bytes())? + MARK.len();
    let digits = request.get(at..)?.split(|byte| *byte == b'"');
    let mut digits = digits.peekable();
    let number = digits.next()?;
    // The closing quote must be there, or the number may go on.
    digits.peek()?;
    std::str::from_utf8(number).ok()?.parse().ok()
}
