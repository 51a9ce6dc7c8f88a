//! The process under test: started with a generated configuration, measured through /proc, ended when dropped.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::http::Connection;
use crate::{Common, Fault, say};

const READY_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) addr: SocketAddr,
    pub(crate) binary: PathBuf,
    child: Child,
    dir: PathBuf,
}

impl Gateway {
    /// Starts the release binary; `connections` is how many it has to take at once.
    pub(crate) async fn start(
        provider: SocketAddr,
        connections: u64,
        common: &Common,
    ) -> Result<Self, Fault> {
        let binary = binary(common)?;
        let dir = std::env::temp_dir().join(format!("tokencast-loadtest-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        // A port that was free a moment ago is free still, nearly always.
        let mut last = String::new();
        for _ in 0..3 {
            let (addr, ops) = (free()?, free()?);
            let config = config(addr, ops, provider, connections, &dir, &common.config);
            let file = dir.join("tokencast.toml");
            fs::write(&file, &config)?;
            let log = fs::File::create(dir.join("gateway.log"))?;
            let mut command = match common.pin {
                Some(core) => {
                    let mut command = Command::new("taskset");
                    command.arg("-c").arg(core.to_string()).arg(&binary);
                    command
                }
                None => Command::new(&binary),
            };
            let child = command
                .arg("serve")
                .arg("--config")
                .arg(&file)
                .env_clear()
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .kill_on_drop(true)
                .spawn()?;
            let mut gateway = Self { addr, binary: binary.clone(), child, dir: dir.clone() };
            match gateway.ready(ops).await {
                Ok(()) => return Ok(gateway),
                Err(error) => last = error,
            }
        }
        Err(format!("the gateway does not start: {last}").into())
    }

    async fn ready(&mut self, ops: SocketAddr) -> Result<(), String> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = fs::read_to_string(self.dir.join("gateway.log")).unwrap_or_default();
                return Err(format!("{status}: {}", log.trim()));
            }
            if let Ok(mut connection) = Connection::open(ops).await
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

    pub(crate) fn proc(&self) -> PathBuf {
        Path::new("/proc").join(self.child.id().unwrap_or(0).to_string())
    }

    /// CPU time that the process has used.
    pub(crate) fn cpu(&self) -> Duration {
        cpu(&self.proc())
    }

    /// Resident memory in KiB, now and at most.
    pub(crate) fn memory_kib(&self) -> (u64, u64) {
        memory_kib(&self.proc())
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

/// Resident memory of a process in KiB, now and at most.
pub(crate) fn memory_kib(proc: &Path) -> (u64, u64) {
    let status = fs::read_to_string(proc.join("status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// CPU time of a process, summed over its threads, which the scheduler counts in nanoseconds.
pub(crate) fn cpu(proc: &Path) -> Duration {
    let threads = fs::read_dir(proc.join("task")).into_iter().flatten().flatten();
    let of = |path: PathBuf| {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(threads.filter_map(|thread| of(thread.path())).sum())
}

/// Memory that the kernel holds for TCP, of all processes, in KiB.
pub(crate) fn tcp_kib() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let mut words = line.split_whitespace().skip_while(|word| *word != "mem").skip(1);
    words.next().and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4
}

fn free() -> Result<SocketAddr, Fault> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
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
    more: &[String],
) -> String {
    let more: String = more.iter().map(|section| section.replace("\\n", "\n") + "\n").collect();
    let journal = if more.contains("[journal]") {
        String::new()
    } else {
        format!("[journal]\nmode = \"memory\"\npath = {:?}\n", dir.join("none"))
    };
    let connections = connections + 256;
    format!(
        "[http]\nlisten = \"{addr}\"\nconnections_max = {connections}\n\
         [ops]\nlisten = \"{ops}\"\n\
         [webtransport]\nlisten = \"{addr}\"\nsessions_max = {connections}\n\
         {journal}{more}\
         [[providers]]\nname = \"load\"\ndialect = \"openai\"\nbase_url = \"http://{provider}/v1\"\nmodels = [\"*\"]\n"
    )
}
