//! `tokencast serve` as a child process, in a directory and on ports that stay the same when it is started again.

use std::ffi::OsString;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;

/// The longest time that anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at something that tells nobody when it changes.
pub(crate) const LOOK: Duration = Duration::from_millis(5);

/// The key of the tests, as callers have it.
pub(crate) const KEY: &str = "tck_of_the_crash_tests";

/// The gateway that is tested: the one that was built with the tests, unless `TOKENCAST_BIN` names another.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os(OTHER).unwrap_or_else(|| env!("CARGO_BIN_EXE_tokencast").into()).into()
}

/// Whether it is one that is as fast as it can be.
pub(crate) fn is_release() -> bool {
    std::env::var_os(OTHER).is_some()
}

const OTHER: &str = "TOKENCAST_BIN";

/// A directory that is gone with the test, unless the test failed.
#[derive(Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        let name = tokencast::crypto::hex(&tokencast::crypto::random::<8>());
        let path = std::env::temp_dir().join(format!("tokencast-crash-{name}"));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("left for a look: {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// One gateway over all of its lives.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) http: SocketAddr,
    pub(crate) ops: SocketAddr,
    pub(crate) database: PathBuf,
    config: PathBuf,
    settings: String,
    log: PathBuf,
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// How many files it may have open, sockets included.
    pub(crate) descriptors: Option<u64>,
    child: Option<Child>,
    // The last field: what runs in it is stopped first.
    directory: Directory,
}

impl Gateway {
    /// A gateway that is not running yet; `settings` is TOML behind the tables that it needs anyway.
    pub(crate) fn new(provider: &str, settings: &str) -> Self {
        let directory = Directory::new();
        let database = directory.0.join("data").join("tokencast.db");
        Self::at(directory, database, provider, settings)
    }

    fn at(directory: Directory, database: PathBuf, provider: &str, settings: &str) -> Self {
        let config = directory.0.join("tokencast.toml");
        let settings = format!(
            "[[providers]]\nname = \"simulated\"\ndialect = \"openai\"\nbase_url = \"{provider}\"\n\
             models = [\"*\"]\n{settings}\n"
        );
        let log = directory.0.join("log");
        let (http, ops) = (free_port(), free_port());
        let (variables, descriptors, child) = (Vec::new(), None, None);
        let gateway =
            Self { http, ops, database, config, settings, log, variables, descriptors, child, directory };
        gateway.configure();
        gateway
    }

    /// The same gateway with another database.
    pub(crate) fn on(mut self, database: &Path) -> Self {
        self.database = database.to_owned();
        self.configure();
        self
    }

    fn configure(&self) {
        let Self { http, ops, database, settings, .. } = self;
        let key = tokencast::crypto::hex(&tokencast::crypto::sha256(KEY.as_bytes()));
        let text = format!(
            "[http]\nlisten = \"{http}\"\n[ops]\nlisten = \"{ops}\"\n[webtransport]\nenabled = false\n\
             [journal]\nmode = \"sqlite\"\npath = {database:?}\n\
             [[auth.keys]]\nname = \"test\"\nsha256 = \"{key}\"\n{settings}"
        );
        std::fs::write(&self.config, text).unwrap();
    }

    /// Starts the process, and does not wait for anything.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = match self.descriptors {
            None => Command::new(binary()),
            Some(most) => {
                let mut shell = Command::new("/bin/sh");
                let limited = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
                shell.args(["-c", &limited]).arg(binary());
                shell
            }
        };
        let child = command
            .args(["serve", "--config"])
            .arg(&self.config)
            .current_dir(&self.directory.0)
            .env_clear()
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
    }

    /// Starts the process, and gives the moment at which its listener was found.
    pub(crate) async fn start(&mut self) -> Instant {
        self.spawn();
        self.listening().await
    }

    pub(crate) async fn listening(&mut self) -> Instant {
        let begun = Instant::now();
        while TcpStream::connect(self.http).is_err() {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("the gateway ended with {status}:\n{}", self.said());
            }
            assert!(begun.elapsed() < PATIENCE, "no listener:\n{}", self.said());
            tokio::time::sleep(LOOK).await;
        }
        Instant::now()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and what came of it.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.exit().await
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.as_mut().expect("it was started").try_wait().unwrap() {
                self.child = None;
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}", self.said());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// All that the process and those before it wrote to standard error.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.http)
    }

    /// Status and text of an answer of the operations listener.
    pub(crate) async fn ops(&self, path: &str) -> (u16, String) {
        let answer = Client::new(self.ops).get(path).await.expect("the operations listener answers");
        (answer.status, String::from_utf8(answer.body).unwrap())
    }

    /// Waits until `/readyz` answers with this status; gives what it said.
    pub(crate) async fn readiness(&self, wanted: u16) -> String {
        let begun = Instant::now();
        loop {
            let (status, text) = self.ops("/readyz").await;
            if status == wanted {
                return text;
            }
            assert!(begun.elapsed() < PATIENCE, "readyz is {status} {text}\n{}", self.said());
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            println!("the gateway's last words:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

/// An address that nobody has now. It lies below the ports that the system gives to clients: there, a client that
/// tries to reach a gateway that is down can be connected to itself.
pub(crate) fn free_port() -> SocketAddr {
    loop {
        let addr = SocketAddr::from(([127, 0, 0, 1], fastrand::u16(12_000..32_000)));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
}
