//! Isolates the cost of being durable: from the moment a frame is handed to the journal to the moment at which
//! viewers may see it. No network, no parsing, no log in memory.
//!
//! `journal/round` is the cost of one frame of every stream at the same time, as fast as the disk goes: how well a
//! group commit shares one sync. The tables behind it are the everyday load, 30 frames a second and stream at random
//! moments: latency, CPU of the whole process (pacing included) and bytes handed to the system (write-ahead log and
//! checkpoints) for each byte of payload. In the first one streams run on; in the second one each ends after four
//! seconds and another one begins, so that it has the cost of sealing, the rest of which is done at the close.
//! Last, how long a start takes that has much to read. `blob` is the journal as it is, one row per commit; `rows` is
//! what it could be instead, one row per frame at the right edge of the same kind of table and sealed in the same way,
//! so that the choice is measured.

#[path = "journal/rows.rs"]
mod rows;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use smallvec::smallvec;
use tokencast::cast::about::About;
use tokencast::cast::durable::{Durable, Ended, Record};
use tokencast::cast::end::{End, Why};
use tokencast::cast::event::{Event, Prose};
use tokencast::cast::frame::Frame;
use tokencast::cast::id::Id;
use tokencast::journal::{Durability, sqlite::Sqlite};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use self::rows::{Ask, Rows};

const STREAMS: [u64; 3] = [1, 100, 1000];
const INTERVAL: Duration = Duration::from_millis(33);
const PAYLOAD_BYTES: usize = 160;
/// Frames of a stream that ends: four seconds of them.
const FRAMES: u64 = 120;

/// What takes frames.
#[derive(Clone)]
enum Journal {
    Blob(Arc<dyn Durable>),
    Rows(Arc<Rows>),
}

impl Journal {
    fn open(kind: &str, durability: Durability) -> (Self, Directory, Runtime) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let directory = Directory::new();
        let path = directory.0.join("bench.db");
        let journal = if kind == "rows" {
            Self::Rows(Arc::new(Rows::open(&path, durability)))
        } else {
            Self::Blob(Sqlite::open(&path, durability).expect("an empty directory").journal)
        };
        (journal, directory, runtime)
    }

    async fn begin(&self, stream: u64) {
        match self {
            Self::Blob(journal) => {
                journal.commit(Record::Begin(Arc::new(about(stream)))).await.expect("there is room");
            }
            Self::Rows(rows) => rows.ask(|done| Ask::Begin(stream, done)).await,
        }
    }

    async fn append(&self, stream: u64, frame: Frame) {
        match self {
            Self::Blob(journal) => {
                journal.commit(Record::Frame(stream, Arc::new(frame))).await.expect("there is room");
            }
            Self::Rows(rows) => rows.ask(|done| Ask::Append(stream, frame, done)).await,
        }
    }

    async fn end(&self, stream: u64, blocks: u64) {
        match self {
            Self::Blob(journal) => {
                journal.commit(Record::End(stream, Arc::new(ended(blocks)))).await.expect("there is room");
            }
            Self::Rows(rows) => rows.ask(|done| Ask::End(stream, ended(blocks), done)).await,
        }
    }
}

fn about(number: u64) -> About {
    About {
        number,
        id: Id::random(),
        tenant: "bench".into(),
        provider: "bench".into(),
        metadata: None,
        ttl_s: 900,
        started_ms: 0,
        key: None,
        fingerprint: [0; 32],
    }
}

fn frame(seq: u64) -> Frame {
    let text = "x".repeat(PAYLOAD_BYTES / 8).into();
    let event = Event::Prose { choice: 0, kind: Prose::Text, text };
    Frame {
        first: seq,
        at_ms: seq * 33,
        bytes: vec![b'x'; PAYLOAD_BYTES].into(),
        ends: smallvec![PAYLOAD_BYTES as u32],
        events: smallvec![(seq, event)],
    }
}

fn ended(blocks: u64) -> Ended {
    let bytes = blocks * PAYLOAD_BYTES as u64;
    let end = End {
        why: Why::Completed,
        message: None,
        finish: Some("stop".into()),
        usage: None,
        blocks,
        bytes,
        hash: "0".repeat(64),
        at_ms: blocks * 33,
    };
    Ended {
        end,
        model: Some("bench".into()),
        frames: blocks as usize,
        first_token_ms: Some(1.0),
        upstream_id: None,
    }
}

/// On the disk of the build, where a sync is one.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let name = format!("journal-{}", Id::random());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("the build can write there");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn name(durability: Durability) -> &'static str {
    if durability == Durability::Commit { "commit" } else { "process" }
}

fn round(c: &mut Criterion) {
    let mut group = c.benchmark_group("journal/round");
    group.sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    for durability in [Durability::Commit, Durability::Process] {
        for kind in ["blob", "rows"] {
            for streams in STREAMS {
                let (journal, _directory, runtime) = Journal::open(kind, durability);
                runtime.block_on(async {
                    for stream in 1..=streams {
                        journal.begin(stream).await;
                    }
                });
                let mut seq = 0;
                group.throughput(Throughput::Elements(streams));
                let id = BenchmarkId::new(format!("{}/{kind}", name(durability)), streams);
                group.bench_function(id, |b| {
                    b.iter(|| {
                        seq += 1;
                        runtime.block_on(async {
                            let mut appends = JoinSet::new();
                            for stream in 1..=streams {
                                let journal = journal.clone();
                                appends.spawn(async move { journal.append(stream, frame(seq)).await });
                            }
                            appends.join_all().await;
                        });
                    });
                });
            }
        }
    }
    group.finish();
}

/// CPU time and bytes written by this process so far.
fn spent() -> (f64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    let cpu: f64 = ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0;
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let written = io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok());
    (cpu, written.unwrap_or(0))
}

/// Appends of one place for streams: they run on, or end and are followed by others.
async fn live(journal: &Journal, place: u64, places: u64, lives: bool, until: Instant) -> Vec<Duration> {
    let (mut stream, mut seq, mut latencies) = (place, 0, Vec::new());
    // The first ones are at random points of their lives.
    let mut last = if lives { fastrand::u64(1..=FRAMES) } else { u64::MAX };
    journal.begin(stream).await;
    sleep(INTERVAL.mul_f64(fastrand::f64())).await;
    let mut due = tokio::time::Instant::now();
    while Instant::now() < until {
        if seq == last {
            journal.end(stream, seq).await;
            (stream, seq, last) = (stream + places, 0, FRAMES);
            journal.begin(stream).await;
        }
        seq += 1;
        let at = Instant::now();
        journal.append(stream, frame(seq)).await;
        latencies.push(at.elapsed());
        due += INTERVAL.mul_f64(0.5 + fastrand::f64());
        sleep_until(due).await;
    }
    if lives {
        journal.end(stream, seq).await;
    }
    latencies
}

#[expect(clippy::print_stdout, reason = "the table is the result")]
fn paced(durability: Durability, kind: &str, streams: u64, lives: bool) {
    const LASTS: Duration = Duration::from_secs(8);
    let (journal, _directory, runtime) = Journal::open(kind, durability);
    let (cpu, written) = spent();
    let mut latencies: Vec<Duration> = runtime.block_on(async {
        let (mut tasks, until) = (JoinSet::new(), Instant::now() + LASTS);
        for stream in 1..=streams {
            let journal = journal.clone();
            tasks.spawn(async move { live(&journal, stream, streams, lives, until).await });
        }
        tasks.join_all().await.into_iter().flatten().collect()
    });
    // What is left to be sealed is sealed now.
    let closing = Instant::now();
    drop(journal);
    let closing = closing.elapsed();
    let (cpu_after, written_after) = spent();
    latencies.sort();
    let appends = latencies.len();
    let at = |part: f64| latencies[((appends - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    let cpu = (cpu_after - cpu) * 1e6 / appends as f64;
    let written = (written_after - written) as f64 / (appends * PAYLOAD_BYTES) as f64;
    println!(
        "{:8} {kind:5} {streams:6} {:9.0}/s {:9.2} ms {:9.2} ms {cpu:8.1} µs {written:8.1} x {:7.2} s",
        name(durability),
        appends as f64 / LASTS.as_secs_f64(),
        at(0.5),
        at(0.99),
        closing.as_secs_f64()
    );
}

/// How long a start takes that finds 200 MB of streams which have not ended.
#[expect(clippy::print_stdout, reason = "the figure is the result")]
fn start() {
    const STREAMS: u64 = 400;
    const FRAMES: u64 = 1000;
    const BYTES: usize = 500;
    let (journal, directory, runtime) = Journal::open("blob", Durability::Process);
    let Journal::Blob(durable) = &journal else { return };
    runtime.block_on(async {
        for stream in 1..=STREAMS {
            journal.begin(stream).await;
        }
        for seq in 1..=FRAMES {
            let commits: Vec<_> = (1..=STREAMS)
                .map(|stream| {
                    let mut frame = frame(seq);
                    frame.bytes = vec![b'x'; BYTES].into();
                    frame.ends = smallvec![BYTES as u32];
                    durable.commit(Record::Frame(stream, Arc::new(frame)))
                })
                .collect();
            for commit in commits {
                commit.await.expect("room on the disk");
            }
        }
    });
    drop(journal);
    let begun = Instant::now();
    let opened = Sqlite::open(&directory.0.join("bench.db"), Durability::Process).expect("it was closed");
    println!(
        "\nstart on {} MB of {} streams that had not ended: {:.2} s",
        STREAMS as usize * FRAMES as usize * BYTES / 1_000_000,
        opened.known.len(),
        begun.elapsed().as_secs_f64()
    );
}

#[expect(clippy::print_stdout, reason = "the tables are the output")]
fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    round(&mut criterion);
    criterion.final_summary();
    // `cargo test` and `cargo bench -- --test` only want to know whether it runs.
    if !std::env::args().any(|arg| arg == "--bench") || std::env::args().any(|arg| arg == "--test") {
        return;
    }
    start();
    for (lives, title) in [(false, "streams run on"), (true, "streams end after 4 s, and are sealed")] {
        println!("\n{title}");
        println!(
            "mode     kind  streams   appends       p50          p99     CPU/append  written/payload  close"
        );
        for durability in [Durability::Commit, Durability::Process] {
            for kind in ["blob", "rows"] {
                for streams in STREAMS {
                    paced(durability, kind, streams, lives);
                }
            }
        }
    }
}
