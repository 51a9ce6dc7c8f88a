//! The process under test: started with a generated configuration, measured by the system, ended when dropped.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::process::Child;
use tokio::time::{Instant, sleep};

use crate::http::Connection;
use crate::machine::{self, Tree};
use crate::script::Script;
use crate::{Common, Fault, say};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// What of a stream outlives the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Journal {
    Memory,
    Process,
    Commit,
}

#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) addr: SocketAddr,
    pub(crate) binary: PathBuf,
    core: Option<usize>,
    ops: SocketAddr,
    child: Child,
    dir: PathBuf,
}

impl Gateway {
    /// Starts the release binary; `connections` is how many it has to take at once.
    pub(crate) async fn start(
        provider: SocketAddr,
        connections: u64,
        journal: Journal,
        common: &Common,
    ) -> Result<Self, Fault> {
        let binary = binary(common)?;
        let dir = directory("gateway")?;
        // A port that was free a moment ago is free still, nearly always.
        let mut last = String::new();
        for _ in 0..3 {
            let (addr, ops) = (free()?, free()?);
            let config = config(addr, ops, provider, connections, &dir, journal, &common.config);
            fs::write(dir.join("tokencast.toml"), &config)?;
            let child = spawn(&binary, &dir, common.pin)?;
            let mut gateway =
                Self { addr, binary: binary.clone(), core: common.pin, ops, child, dir: dir.clone() };
            match gateway.ready().await {
                Ok(()) => return Ok(gateway),
                Err(error) => last = error,
            }
        }
        Err(format!("the gateway does not start: {last}").into())
    }

    async fn ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = fs::read_to_string(self.dir.join("gateway.log")).unwrap_or_default();
                return Err(format!("{status}: {}", log.trim()));
            }
            if let Ok(mut connection) = Connection::open(self.ops).await
                && matches!(connection.ask("GET", "/readyz", "", "").await, Ok((200, _)))
            {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err("not ready in time".into());
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts a stream.
    pub(crate) async fn begin(&self, id: &str, script: &Script) -> Result<(), Fault> {
        let envelope = format!(r#"{{"id":"{id}","request":{}}}"#, script.request());
        let mut connection = Connection::open(self.addr).await?;
        match connection.ask("POST", "/v1/streams", "", &envelope).await? {
            (201, _) => Ok(()),
            (status, body) => Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into()),
        }
    }

    /// Returns when a stream has ended as it should.
    pub(crate) async fn until_ended(&self, id: &str) -> Result<(), Fault> {
        let mut connection = Connection::open(self.addr).await?;
        loop {
            let (_, state) = connection.ask("GET", &format!("/v1/streams/{id}"), "", "").await?;
            let state: Value = serde_json::from_slice(&state)?;
            match state["status"].as_str() {
                Some("running") => sleep(Duration::from_millis(50)).await,
                Some("completed") => return Ok(()),
                _ => return Err(format!("the stream ended otherwise: {}", state["end"]).into()),
            }
        }
    }

    /// As a crash: nothing is said to anybody.
    pub(crate) async fn kill(&mut self) -> Result<(), Fault> {
        Ok(self.child.kill().await?)
    }

    /// On the same ports, with the same data.
    pub(crate) async fn start_again(&mut self) -> Result<(), Fault> {
        self.child = spawn(&self.binary, &self.dir, self.core)?;
        Ok(self.ready().await.map_err(|error| format!("the gateway does not come back: {error}"))?)
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree::of(self.child.id())
    }

    /// What the gateway complained about.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = fs::read_to_string(self.dir.join("gateway.log")).unwrap_or_default();
        log.lines().filter(|line| !line.contains("\"level\":\"INFO\"")).take(10).map(str::to_owned).collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn spawn(binary: &Path, dir: &Path, core: Option<usize>) -> Result<Child, Fault> {
    let log = fs::File::options().create(true).append(true).open(dir.join("gateway.log"))?;
    let mut command = machine::command(binary, core);
    command.arg("serve").arg("--config").arg(dir.join("tokencast.toml")).env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    Ok(command.stderr(Stdio::from(log)).spawn()?)
}

/// A new directory of this process.
pub(crate) fn directory(name: &str) -> Result<PathBuf, Fault> {
    let dir = std::env::temp_dir().join(format!("tokencast-loadtest-{}-{name}", std::process::id()));
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// A port that nobody has just now.
pub(crate) fn free() -> Result<SocketAddr, Fault> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Where a URL leads.
pub(crate) fn address(url: &str) -> Result<SocketAddr, Fault> {
    let host = url.strip_prefix("http://").unwrap_or(url).split('/').next().unwrap_or_default();
    let mut found = host
        .to_socket_addrs()
        .map_err(|error| format!("--against {url}: {error}: write http://HOST:PORT"))?;
    found.next().ok_or_else(|| format!("--against {url}: there is no such host").into())
}

fn binary(common: &Common) -> Result<PathBuf, Fault> {
    let own = std::env::current_exe()?;
    let binary = match &common.server {
        Some(path) => path.clone(),
        None => own.with_file_name("tokencast"),
    };
    let built = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified());
    match built(&binary) {
        Err(error) => {
            let build = "cargo build --release --bin tokencast";
            Err(format!("{}: {error}: run `{build}`, or name a binary with --server", binary.display())
                .into())
        }
        Ok(at) => {
            // `cargo run -p loadtest` builds this program and not that one.
            if common.server.is_none() && at < built(&own).unwrap_or(SystemTime::UNIX_EPOCH) {
                say(
                    "note: the gateway's binary is older than this program; `cargo build --release` renews it",
                );
            }
            Ok(binary)
        }
    }
}

fn config(
    addr: SocketAddr,
    ops: SocketAddr,
    provider: SocketAddr,
    connections: u64,
    dir: &Path,
    journal: Journal,
    more: &[String],
) -> String {
    let more: String = more.iter().map(|section| section.replace("\\n", "\n") + "\n").collect();
    let path = dir.join("tokencast.db");
    let journal = match journal {
        _ if more.contains("[journal]") => String::new(),
        Journal::Memory => format!("[journal]\nmode = \"memory\"\npath = {path:?}\n"),
        Journal::Process => format!("[journal]\ndurability = \"process\"\npath = {path:?}\n"),
        Journal::Commit => format!("[journal]\ndurability = \"commit\"\npath = {path:?}\n"),
    };
    let connections = connections + 256;
    let limits = match more.contains("[limits]") {
        true => String::new(),
        false => format!("[limits]\nviewers_max = {connections}\nstream_viewers_max = {connections}\n"),
    };
    format!(
        "[http]\nlisten = \"{addr}\"\nconnections_max = {connections}\n\
         [ops]\nlisten = \"{ops}\"\n\
         [webtransport]\nlisten = \"{addr}\"\nsessions_max = {connections}\n\
         {limits}{journal}{more}\
         [[providers]]\nname = \"load\"\ndialect = \"openai\"\nbase_url = \"http://{provider}/v1\"\nmodels = [\"*\"]\n"
    )
}
