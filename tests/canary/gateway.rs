//! `tokencast serve` as a child process that says everything it can say.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(5);

/// Every target at its loudest, named where the configuration could ask for it by name.
const LEVEL: &str = "trace,hyper=trace,hyper_util=trace,h2=trace,reqwest=trace,rustls=trace,wtransport=trace,\
    wtransport::endpoint=trace,wtransport::driver=trace,quinn=trace,quinn_proto::connection=trace,hyper::proto=trace";

#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) http: SocketAddr,
    pub(crate) ops: SocketAddr,
    child: Child,
    directory: PathBuf,
}

impl Gateway {
    /// In a directory of its own, with `settings` behind the tables that it needs anyway.
    pub(crate) async fn start(directory: &Path, settings: &str, variables: &[(&str, &str)]) -> Self {
        let any = "listen = \"127.0.0.1:0\"";
        let text = format!(
            "[http]\n{any}\n[ops]\n{any}\n[webtransport]\n{any}\n[journal]\npath = {:?}\n[drain]\ngrace_s = 1\n\
             [log]\nlevel = {LEVEL:?}\nformat = \"json\"\n{settings}",
            directory.join("data/tokencast.db"),
        );
        std::fs::write(directory.join("tokencast.toml"), text).unwrap();
        let output = |name: &str| {
            std::fs::File::options().create(true).append(true).open(directory.join(name)).unwrap()
        };
        let heard = said(directory).len();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tokencast"))
            .args(["serve", "--config", "tokencast.toml"])
            .current_dir(directory)
            .env_clear()
            .env("RUST_BACKTRACE", "full")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let serves = loop {
            let said = said(directory).split_off(heard);
            let found = said
                .lines()
                .filter(|line| line.ends_with('}'))
                .find(|line| line.contains("tokencast serves"));
            if let Some(line) = found {
                break serde_json::from_str::<Value>(line).unwrap();
            }
            assert!(child.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE, "{said}");
            tokio::time::sleep(LOOK).await;
        };
        let address = |name: &str| serves[name].as_str().unwrap().parse().unwrap();
        Self { http: address("http"), ops: address("ops"), child, directory: directory.to_owned() }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub(crate) async fn terminate(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// All files of its data, end to end.
    pub(crate) fn disk(&self) -> Vec<u8> {
        disk(&self.directory)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it and those before it in this directory have written for people.
pub(crate) fn said(directory: &Path) -> String {
    ["stdout", "stderr"]
        .map(|name| std::fs::read(directory.join(name)).unwrap_or_default())
        .map(|written| lossy(&written))
        .concat()
}

/// All files of its data, end to end.
pub(crate) fn disk(directory: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(directory.join("data")).unwrap();
    files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command of the binary writes, both ways.
pub(crate) fn command(directory: &Path, args: &[&str], variables: &[(&str, &str)]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_tokencast"))
        .args(args)
        .current_dir(directory)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    [done.stdout, done.stderr].map(|written| lossy(&written)).concat()
}
