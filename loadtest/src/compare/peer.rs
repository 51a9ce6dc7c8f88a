//! The servers beside the gateway: how each is started, what is missing for it, and how one publishes and listens.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::ValueEnum;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::Fault;
use crate::gateway::{directory, free};
use crate::http::Connection;
use crate::machine::{self, Tree};

const READY_WITHIN: Duration = Duration::from_secs(20);
/// What needs packages from npm, with their lock.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");
const NODE_REDIS: &str = include_str!("../../peers/node-redis.mjs");

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// A bare loop of send()
    Floor,
    /// The gateway: its provider's side included
    Tokencast,
    /// nginx with nchan, from Debian
    Nchan,
    /// `durable-streams` from crates.io, Rust, in memory
    DurableStreams,
    /// `@durable-streams/server` from npm, the reference in TypeScript
    DurableStreamsNode,
    /// axum's Sse over a broadcast channel
    NaiveAxum,
    /// Node, a SUBSCRIBE per stream and a write per viewer, and Redis
    NodeRedis,
}

/// A server that is ready.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) publish: Publish,
    children: Vec<Child>,
    dir: PathBuf,
}

/// How events get into it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Publish {
    /// A POST to the path that [`Peer::publish_path`] says.
    Post(SocketAddr),
    Redis(SocketAddr),
}

impl Peer {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
    }

    /// Which command brings what is missing.
    pub(crate) fn missing(self) -> Option<String> {
        let nchan = Path::new("/usr/lib/nginx/modules/ngx_nchan_module.so");
        let need = |program: &str, how: &str| {
            find(program).is_none().then(|| format!("{}: {program} is missing: {how}", self.name()))
        };
        match self {
            Self::Floor | Self::Tokencast | Self::NaiveAxum => None,
            Self::Nchan => need("nginx", "apt-get install nginx libnginx-mod-nchan").or_else(|| {
                let how = "apt-get install libnginx-mod-nchan";
                (!nchan.exists()).then(|| format!("nchan: {} is missing: {how}", nchan.display()))
            }),
            Self::DurableStreams => {
                need("durable-streams-server", "cargo install durable-streams --version 0.1.5")
            }
            Self::DurableStreamsNode => need("node", "apt-get install nodejs npm").or_else(|| {
                let how = format!("npm ci --prefix {SCRIPTS}");
                let there = Path::new(SCRIPTS).join("node_modules/@durable-streams/server").exists();
                (!there).then(|| format!("{}: @durable-streams/server is missing: {how}", self.name()))
            }),
            Self::NodeRedis => need("node", "apt-get install nodejs npm")
                .or_else(|| need("redis-server", "apt-get install redis-server")),
        }
    }

    /// What it adds to the data of an event, beside `data: ` and the blank line.
    pub(crate) fn framing_bytes(self) -> usize {
        match self {
            Self::Nchan => "id: 1700000000:0\n".len(),
            _ => 0,
        }
    }

    pub(crate) fn publish_path(self, stream: u32) -> String {
        match self {
            Self::DurableStreams | Self::DurableStreamsNode => format!("/s{stream}"),
            _ => format!("/pub/s{stream}"),
        }
    }

    pub(crate) fn listen_path(self, stream: u32) -> String {
        match self {
            Self::DurableStreams | Self::DurableStreamsNode => format!("/s{stream}?offset=-1&live=sse"),
            _ => format!("/sub/s{stream}"),
        }
    }

    /// Starts it on that core, with so many streams and room for so many connections.
    pub(crate) async fn start(
        self,
        core: Option<usize>,
        streams: u32,
        connections: u64,
    ) -> Result<Running, Fault> {
        let dir = directory(&self.name())?;
        let (addr, publish, children) = match self {
            Self::Tokencast => return Err("the gateway is started by itself".into()),
            Self::Floor => own("floor", core).await?,
            Self::NaiveAxum => own("naive-axum", core).await?,
            Self::Nchan => nchan(&dir, core, connections)?,
            Self::DurableStreams => durable_streams(&dir, core)?,
            Self::DurableStreamsNode => durable_streams_node(core)?,
            Self::NodeRedis => node_redis(&dir, core)?,
        };
        let mut running = Running { addr, publish, children, dir };
        running.ready().await.map_err(|error| format!("{} does not start: {error}", self.name()))?;
        if matches!(self, Self::DurableStreams | Self::DurableStreamsNode) {
            let mut connection = Connection::open(addr).await?;
            for stream in 0..streams {
                let path = self.publish_path(stream);
                let (status, said) = connection.ask("PUT", &path, "content-type: text/plain\r\n", "").await?;
                if !(200..300).contains(&status) {
                    return Err(format!("PUT {path}: {status} {}", String::from_utf8_lossy(&said)).into());
                }
            }
        }
        Ok(running)
    }
}

type Started = (SocketAddr, Publish, Vec<Child>);

/// A server within this program.
async fn own(name: &str, core: Option<usize>) -> Result<Started, Fault> {
    let exe = std::env::current_exe()?;
    let mut child = machine::command(&exe, core).arg(name).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().ok_or("it says nothing")?;
    let mut said = String::new();
    timeout(READY_WITHIN, BufReader::new(stdout).read_line(&mut said)).await??;
    let addr = said.trim().parse()?;
    Ok((addr, Publish::Post(addr), vec![child]))
}

fn nchan(dir: &Path, core: Option<usize>, connections: u64) -> Result<Started, Fault> {
    let addr = free()?;
    let at = dir.display();
    let connections = connections + 256;
    let config = format!(
        "load_module /usr/lib/nginx/modules/ngx_nchan_module.so;\n\
         daemon off; worker_processes 1; pid {at}/pid; error_log {at}/error.log;\n\
         worker_rlimit_nofile {connections};\n\
         events {{ worker_connections {connections}; }}\n\
         http {{\n\
           access_log off; keepalive_requests 100000000; nchan_max_reserved_memory 1024M;\n\
           client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;\n\
           uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n\
           nchan_message_buffer_length 20000; nchan_message_timeout 10m;\n\
           server {{\n\
             listen {addr};\n\
             location ~ ^/pub/(\\w+)$ {{ nchan_publisher; nchan_channel_id $1; }}\n\
             location ~ ^/sub/(\\w+)$ {{ nchan_subscriber eventsource; nchan_channel_id $1; }}\n\
           }}\n\
         }}\n"
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, config)?;
    let mut command = command("nginx", core)?;
    command.arg("-p").arg(dir).arg("-c").arg(&file).arg("-e").arg(dir.join("error.log"));
    Ok((addr, Publish::Post(addr), vec![command.stderr(Stdio::null()).spawn()?]))
}

fn durable_streams(dir: &Path, core: Option<usize>) -> Result<Started, Fault> {
    let addr = free()?;
    let mut command = command("durable-streams-server", core)?;
    command.args(["--host", "127.0.0.1", "--port", &addr.port().to_string(), "--durability", "memory"]);
    command.arg("--data-dir").arg(dir);
    Ok((addr, Publish::Post(addr), vec![command.stderr(Stdio::null()).spawn()?]))
}

fn durable_streams_node(core: Option<usize>) -> Result<Started, Fault> {
    let addr = free()?;
    let mut command = command("node", core)?;
    command.arg(Path::new(SCRIPTS).join("durable-streams.mjs")).arg(addr.port().to_string());
    Ok((addr, Publish::Post(addr), vec![command.spawn()?]))
}

fn node_redis(dir: &Path, core: Option<usize>) -> Result<Started, Fault> {
    let (addr, redis) = (free()?, free()?);
    let script = dir.join("node-redis.mjs");
    std::fs::write(&script, NODE_REDIS)?;
    let server = command("redis-server", core)?
        .args([
            "--bind",
            "127.0.0.1",
            "--port",
            &redis.port().to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
        ])
        .arg("--dir")
        .arg(dir)
        .spawn()?;
    let node = command("node", core)?
        .arg(script)
        .args([redis.port().to_string(), addr.port().to_string()])
        .spawn()?;
    Ok((addr, Publish::Redis(redis), vec![server, node]))
}

fn command(program: &str, core: Option<usize>) -> Result<Command, Fault> {
    let path = find(program).ok_or_else(|| format!("{program} is missing"))?;
    Ok(machine::command(&path, core))
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cargo = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo/bin"));
    let folders = std::env::split_paths(&path).chain(cargo).chain(["/usr/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

impl Running {
    pub(crate) fn tree(&self) -> Tree {
        Tree::of(self.children.iter().filter_map(Child::id))
    }

    async fn ready(&mut self) -> Result<(), Fault> {
        let mut waiting = vec![self.addr];
        waiting.extend(match self.publish {
            Publish::Redis(addr) => Some(addr),
            Publish::Post(_) => None,
        });
        let open = async {
            for addr in waiting {
                while TcpStream::connect(addr).await.is_err() {
                    for child in &mut self.children {
                        if let Some(status) = child.try_wait()? {
                            return Err(format!("it has ended: {status}").into());
                        }
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            }
            Ok::<_, Fault>(())
        };
        timeout(READY_WITHIN, open).await.map_err(|_| "not ready in time")?
    }

    /// Asks it to end, so that it takes its own children along.
    pub(crate) async fn stop(mut self) {
        for child in &mut self.children {
            if let Some(pid) = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            if timeout(Duration::from_secs(5), child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
