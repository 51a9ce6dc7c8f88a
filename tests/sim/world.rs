//! One seed: the world and the gateway in it, turn and turn about.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;
use tokencast::auth::Keyring;
use tokencast::auth::clock::Clock;
use tokencast::config::Config;
use tokencast::gateway::Gateway;
use tokencast::upstream;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::check::Check;
use crate::diary::{Diaries, Diary};
use crate::ledger::Ledger;
use crate::network::Network;
use crate::plan::Plan;
use crate::provider::{Called, Provider};
use crate::script::{Fault, Script};
use crate::starter::Starter;

/// When the world began, for whoever counts from 1970.
pub(crate) const BEGAN: Duration = Duration::from_secs(1_800_000_000);
/// How long a provider may take to answer, in the world's gateway.
pub(crate) const FIRST_BYTE: Duration = Duration::from_secs(4);
/// A turn while something moves, and when nothing does.
const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_millis(16);
/// Nothing takes longer, unless it hangs.
const PATIENCE_MS: u64 = 180_000;
/// What has ended is forgotten after this.
const TTL_S: u64 = 300;

pub(crate) struct World {
    runtime: Runtime,
    network: Network,
    ledger: Ledger,
    script: Arc<Script>,
    plans: Arc<Vec<Plan>>,
    called: Arc<Mutex<Vec<Called>>>,
    provider_is_up: watch::Sender<bool>,
    socket: PathBuf,
    diary: Diary,
    life: Option<Life>,
    /// The next fault.
    next: usize,
    turn: Duration,
    moves: u64,
}

/// The gateway's process.
struct Life {
    runtime: Runtime,
    gateway: Gateway,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

impl World {
    pub(crate) fn new(seed: u64, diaries: &Diaries) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        fastrand::seed(seed);
        let mut rng = Rng::with_seed(seed);
        let mut script = Script::new(&mut rng);
        let plans = Arc::new(std::mem::take(&mut script.plans));
        let (runtime, network) = (runtime(), Network::default());
        let entered = runtime.enter();
        let diary = diaries.of("world", Instant::now());
        drop(entered);
        let name = format!("tokencast-sim-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self {
            runtime,
            network,
            ledger: Ledger::new(seed),
            script: Arc::new(script),
            called: Arc::new(Mutex::new(vec![Called::default(); plans.len()])),
            plans,
            provider_is_up: watch::Sender::new(true),
            socket: std::env::temp_dir().join(name),
            diary,
            life: None,
            next: 0,
            turn: SHORT,
            moves: 0,
        }
    }

    pub(crate) fn run(mut self) {
        let mut everybody = JoinSet::new();
        let provider = Provider {
            plans: self.plans.clone(),
            called: self.called.clone(),
            network: self.network.clone(),
            diary: self.diary.clone(),
        };
        let handle = self.runtime.handle().clone();
        handle.spawn(provider.serve(self.socket.clone(), self.provider_is_up.subscribe()));
        for (number, stream) in self.script.streams.iter().cloned().enumerate() {
            let diary = self.diary.of(format!("stream {number}"));
            let (plan, network) = (self.plans.clone(), self.network.clone());
            everybody.spawn_on(Starter { number, stream, plan, network, diary }.run(), &handle);
        }
        self.start();
        let ran = self.until_joined(everybody);
        while self.next < self.script.faults.len() || self.life.is_none() {
            self.step();
        }
        let mut checks = JoinSet::new();
        let ran = Arc::new(ran);
        let check = Check {
            script: self.script.clone(),
            plans: self.plans.clone(),
            network: self.network.clone(),
            diary: self.diary.clone(),
        };
        let called = self.called.clone();
        checks.spawn_on(
            async move {
                for ran in ran.iter() {
                    let called = called.lock().unwrap()[ran.number];
                    check.stream(ran, called).await;
                }
            },
            &handle,
        );
        self.until_joined(checks);
        self.nothing_is_left();
    }

    /// Goes on until all of them are done.
    fn until_joined<T: 'static>(&mut self, mut tasks: JoinSet<T>) -> Vec<T> {
        let mut done = Vec::new();
        while !tasks.is_empty() {
            self.step();
            while let Some(joined) = tasks.try_join_next() {
                done.push(joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
            }
        }
        done
    }

    /// Nobody is counted any more; and what is kept goes at its time.
    fn nothing_is_left(&mut self) {
        let counts = |world: &Self| {
            let gateway = &world.life.as_ref().expect("it runs").gateway;
            (gateway.tasks(), gateway.hub().running().len(), gateway.hub().budget().running())
        };
        let begun = self.ms();
        while counts(self) != ((0, 0), 0, 0) {
            assert!(self.ms() < begun + 20_000, "tasks, running: {:?}", counts(self));
            self.step();
        }
        let begun = self.ms();
        self.turn = Duration::from_secs(1);
        let held = |world: &Self| world.life.as_ref().expect("it runs").gateway.hub().budget().held();
        while held(self) > 0 {
            assert!(self.ms() < begun + (TTL_S + 10) * 1000, "{} bytes are held", held(self));
            self.turn();
        }
        self.note("nothing is left");
    }

    /// One turn for everybody, as long as it may be.
    fn step(&mut self) {
        assert!(self.ms() < PATIENCE_MS, "it hangs");
        let moves = self.network.moves();
        self.turn = if moves == self.moves { (self.turn * 2).min(LONG) } else { SHORT };
        self.moves = moves;
        let now = self.ms();
        while let Some((_, fault)) = self.script.faults.get(self.next).copied().filter(|(at, _)| *at <= now) {
            self.next += 1;
            self.happens(fault);
        }
        self.turn();
    }

    /// The time of the world, where nobody in it is asking.
    fn ms(&self) -> u64 {
        let _entered = self.runtime.enter();
        self.diary.ms()
    }

    fn note(&self, line: impl std::fmt::Display) {
        let _entered = self.runtime.enter();
        self.diary.note(line);
    }

    fn turn(&mut self) {
        let turn = self.turn;
        self.runtime.block_on(async { sleep(turn).await });
        let Some(life) = &self.life else { return };
        let entered = life.runtime.enter();
        let local = SocketAddr::from(([127, 0, 0, 1], 8080));
        for stream in self.network.arrivals() {
            life.gateway.take(TcpStream::from_std(stream).unwrap(), local);
        }
        drop(entered);
        life.runtime.block_on(async { sleep(turn).await });
    }

    fn happens(&mut self, fault: Fault) {
        self.note(format_args!("{fault:?}"));
        match fault {
            Fault::Crash => self.crash(),
            Fault::Restart => self.start(),
            Fault::DiskFull => self.ledger.is_full(true),
            Fault::DiskFree => self.ledger.is_full(false),
            Fault::Outage => drop(self.provider_is_up.send_replace(false)),
            Fault::Back => drop(self.provider_is_up.send_replace(true)),
        }
    }

    /// The process is gone, at whatever it was.
    fn crash(&mut self) {
        let Some(life) = self.life.take() else { return };
        let entered = life.runtime.enter();
        self.ledger.power_off();
        drop(entered);
        self.network.is_up(false);
        drop(life.runtime);
    }

    fn start(&mut self) {
        if self.life.is_some() {
            return;
        }
        let (runtime, ms) = (runtime(), self.ms());
        let entered = runtime.enter();
        let config = config();
        let client = upstream::client(&config.upstream, |builder| {
            builder.unix_socket(self.socket.clone()).tls_certs_only([])
        });
        let (began, here) = (BEGAN + Duration::from_millis(ms), Instant::now());
        let clock = Clock::new(move || began + here.elapsed());
        let keyring = Keyring::open(&config.auth, |_| None).unwrap().by(clock);
        let gateway = Gateway::new(&config, |_| None, client, keyring, self.ledger.open());
        runtime.spawn(gateway.hub().clone().expire(CancellationToken::new()));
        drop(entered);
        self.life = Some(Life { runtime, gateway });
        self.network.is_up(true);
    }
}

fn config() -> Config {
    let provider = json!({ "name": "p", "dialect": "openai", "base_url": "http://provider/v1" });
    let mut config =
        Config { providers: vec![serde_json::from_value(provider).unwrap()], ..Config::default() };
    config.upstream.first_byte_s = FIRST_BYTE.as_secs();
    config.upstream.silent_s = 3;
    config.upstream.connect_s = 2;
    config.http.stalled_s = 5;
    config.retention.ttl_s = TTL_S;
    config
}
