//! `tokencast simulate`: a real HTTP server that speaks as OpenAI, Anthropic, Gemini and Ollama do, says seeded
//! prose at a seeded pace, and fails on request. Reading order: `options` (what can be asked for), `route` (where),
//! `request` (in which dialect), `ask` (one request), `script` (what is said), `prose` (in which words), `dialects`
//! (as which JSON), `wire` (as which bytes, with which faults), `body` (when), `answer` (over HTTP), `embeddings`,
//! `log` (what tests can see).

mod answer;
mod ask;
mod body;
mod dialects;
mod embeddings;
mod log;
mod options;
mod prose;
mod request;
mod route;
mod script;
#[cfg(test)]
mod tests;
mod wire;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

pub use self::log::{Counts, Ended, RECORD_BYTES_MAX, RECORDS_MAX, Record, RequestLog};
pub use self::options::{LineEnd, Options, STEERING};

/// Connections that are served at the same time; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 16_384;
/// The longest time that a client may take to send a request head, or keep a connection without one.
const HEAD_WAIT: Duration = Duration::from_secs(60);
/// The pause after a failed accept, which mostly means that there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The simulated provider, bound but not yet serving.
#[derive(Debug)]
pub struct Simulator {
    listener: TcpListener,
    addr: SocketAddr,
    options: Arc<Options>,
    log: Arc<RequestLog>,
}

impl Simulator {
    /// Checks the options, then binds. Port 0 takes a free one: ask [`Simulator::addr`].
    pub async fn bind(options: Options) -> io::Result<Self> {
        options.check().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let listener = TcpListener::bind(options.listen).await?;
        let addr = listener.local_addr()?;
        Ok(Self { listener, addr, options: Arc::new(options), log: RequestLog::new() })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What a client of OpenAI's takes as its base URL, `/v1` included.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// What was asked and how it ended. Stays readable after the simulator has stopped.
    pub fn log(&self) -> Arc<RequestLog> {
        Arc::clone(&self.log)
    }

    /// Serves until stopped, then ends its connections at once. Dropping the future ends them too.
    pub async fn run(self, stop: CancellationToken) {
        let tracker = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let ending = CancellationToken::new();
        let _ends_on_drop = ending.clone().drop_guard();
        loop {
            let (socket, peer, slot) = tokio::select! {
                () = stop.cancelled() => break,
                accepted = accept(&self.listener, &slots) => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "accept failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            let (options, log, ending) = (Arc::clone(&self.options), Arc::clone(&self.log), ending.clone());
            let span = tracing::debug_span!("simulated_provider", %peer);
            let task = async move {
                let _slot = slot;
                tokio::select! {
                    () = ending.cancelled() => {}
                    () = serve(socket, options, log) => {}
                }
            };
            tracker.spawn(task.instrument(span));
        }
        self.log.stopping();
        ending.cancel();
        tracker.close();
        tracker.wait().await;
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (socket, peer) = listener.accept().await?;
    Ok((socket, peer, slot))
}

/// One connection, until either side closes it.
async fn serve(socket: TcpStream, options: Arc<Options>, log: Arc<RequestLog>) {
    let _connected = log.connected();
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let service = service_fn(|request| {
        let answer = answer::answer(Arc::clone(&options), Arc::clone(&log), request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .serve_connection(TokioIo::new(socket), service);
    match connection.await {
        Ok(()) => tracing::debug!("closed"),
        Err(error) => tracing::debug!(%error, "closed"),
    }
}

/// The subcommand: binds, says how to use it, and serves until interrupted.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the command's own output")]
pub async fn run(options: Options) -> ExitCode {
    let listen = options.listen;
    let simulator = match Simulator::bind(options).await {
        Ok(simulator) => simulator,
        Err(error) => {
            eprintln!("simulate: cannot start on {listen}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (url, addr) = (simulator.base_url(), simulator.addr());
    println!(
        r#"simulated provider at {url} - try: curl -N {url}/chat/completions -d '{{"model":"any","stream":true,"messages":[{{"role":"user","content":"Hi"}}]}}'"#
    );
    println!("as Anthropic, Gemini and Ollama at http://{addr}");
    let stop = CancellationToken::new();
    tokio::join!(simulator.run(stop.clone()), async {
        interrupted().await;
        stop.cancel();
    });
    ExitCode::SUCCESS
}

async fn interrupted() {
    #[cfg(unix)]
    if let Ok(mut terminated) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        return;
    }
    // Without a handler there is nothing to wait for, and the default action ends the process anyway.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
