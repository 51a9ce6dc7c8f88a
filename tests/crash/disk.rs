//! A data directory of 8 MiB that fills up, and has room again. Mounting one takes root.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::check::Reference;
use crate::client::{Answer, Client};
use crate::gateway::{Directory, Gateway, LOOK, PATIENCE};
use crate::provider::{Provider, request};
use crate::viewer::{Begin, follow, follow_raw};

/// A file system of its own in memory.
struct Disk {
    directory: Directory,
    ballast: PathBuf,
}

impl Disk {
    fn mount(size: &str) -> Self {
        let directory = Directory::new();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tokencast-test"]).arg(&directory.0);
        let mounted = mount.status().is_ok_and(|status| status.success());
        assert!(mounted, "this test mounts a tmpfs of {size}: run it as root, with CAP_SYS_ADMIN");
        let ballast = directory.0.join("ballast");
        Self { directory, ballast }
    }

    fn path(&self) -> &Path {
        &self.directory.0
    }

    /// Leaves no byte.
    fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(&self.ballast).unwrap();
        for size in [64 * 1024, 4096, 1] {
            while ballast.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn empty(&self) {
        std::fs::remove_file(&self.ballast).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

async fn start(client: &Client, id: &str, kind: &str) -> Answer {
    client.start(&json!({ "id": id, "request": request(id, kind) }), Some(id)).await.unwrap()
}

async fn finished(client: &Client, id: &str) -> Reference {
    start(client, id, r#"{"simulate": {"rate": 0, "tokens": 500}}"#).await.want(201);
    client.end(id).await;
    Reference::of(client, id).await
}

/// Waits until a stream has so many blocks.
async fn blocks(client: &Client, id: &str, wanted: u64) {
    let begun = Instant::now();
    while client.get(&format!("/v1/streams/{id}")).await.unwrap().json()["blocks"].as_u64() < Some(wanted) {
        assert!(begun.elapsed() < PATIENCE, "{id} does not get on");
        tokio::time::sleep(LOOK).await;
    }
}

fn sound(database: &Path) {
    let database = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let says: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(says, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_heals() {
    const RUNNING: [(&str, &str); 3] = [
        ("slow", r#"{"simulate": {"rate": 30, "tokens": 100000}}"#),
        ("fast", r#"{"simulate": {"rate": 500, "tokens": 100000, "token_bytes": 2000}}"#),
        ("choices", r#"{"n": 2, "simulate": {"rate": 60, "tokens": 100000}}"#),
    ];
    let provider = Provider::start().await;
    let disk = Disk::mount("8m");
    let mut gateway = Gateway::new(&provider.url, "").on(&disk.path().join("tokencast.db"));
    gateway.start().await;
    let client = gateway.client();
    let before = finished(&client, "before").await;
    finished(&client, "to-purge").await;

    let mut viewers = JoinSet::new();
    for (id, kind) in RUNNING {
        let ticket = start(&client, id, kind).await.want(201).json()["ticket"].as_str().unwrap().to_owned();
        let client = client.clone();
        viewers.spawn(async move {
            let begin = Begin::Query(0);
            let (seen, raw) =
                tokio::join!(follow(&client, id, &ticket, begin), follow_raw(&client, id, &ticket));
            (id, seen, raw)
        });
    }
    for (id, _) in RUNNING {
        blocks(&client, id, 20).await;
    }
    disk.fill();
    let mut ended = Vec::new();
    for (id, seen, raw) in viewers.join_all().await {
        let reference = Reference::of(&client, id).await;
        assert_eq!(reference.ended_as, "failed/storage_error");
        assert!(reference.state["blocks"].as_u64() >= Some(20));
        assert_eq!(reference.events, seen.events, "{id}");
        assert!(reference.raw.0 == raw, "{id}");
        ended.push(reference);
    }

    // The last pages are taken, too.
    disk.fill();
    let (mut refused, begun) = (0, Instant::now());
    while refused < 3 {
        assert!(begun.elapsed() < PATIENCE, "new streams are still taken");
        let name = format!("refused-{}", begun.elapsed().as_micros());
        let answer = start(&client, &name, r#"{"simulate": {"rate": 0}}"#).await;
        if answer.status == 507 {
            assert_eq!(answer.json()["error"]["code"], "storage_error");
            client.get(&format!("/v1/streams/{name}")).await.unwrap().want(404);
            refused += 1;
        } else {
            refused = 0;
            client.end(&name).await;
        }
    }
    let calls = provider.log.received();
    start(&client, "later", r#"{"simulate": {"rate": 0}}"#).await.want(507);
    assert_eq!(provider.log.received(), calls, "with a key, nothing is asked that is not durable");
    println!("readyz: {}", gateway.readiness(503).await);
    client.delete("/v1/streams/to-purge?purge=1").await.unwrap().want(507);
    client.get("/v1/streams/to-purge").await.unwrap().want(410);
    let replayed = start(&client, "before", r#"{"simulate": {"rate": 0, "tokens": 500}}"#).await.want(200);
    assert_eq!(replayed.head["idempotency-replayed"], "true");
    assert_eq!(Reference::of(&client, "before").await, before);

    disk.empty();
    gateway.readiness(200).await;
    ended.push(finished(&client, "later").await);
    ended.push(before);
    same(&client, &ended).await;
    client.get("/v1/streams/to-purge").await.unwrap().want(410);

    gateway.kill();
    gateway.start().await;
    same(&client, &ended).await;
    client.get("/v1/streams/to-purge").await.unwrap().want(410);
    let list: Vec<Value> = client.list().await.unwrap();
    assert!(list.iter().all(|stream| stream["status"] != "running"));
    gateway.kill();
    sound(&gateway.database);
}

async fn same(client: &Client, references: &[Reference]) {
    for reference in references {
        assert_eq!(Reference::of(client, reference.id()).await, *reference);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_on_a_full_disk_holds_after_a_kill() {
    let provider = Provider::start().await;
    let disk = Disk::mount("8m");
    let mut gateway = Gateway::new(&provider.url, "").on(&disk.path().join("tokencast.db"));
    gateway.start().await;
    let client = gateway.client();
    finished(&client, "to-purge").await;
    start(&client, "cut", r#"{"simulate": {"rate": 500, "tokens": 100000, "token_bytes": 2000}}"#)
        .await
        .want(201);
    blocks(&client, "cut", 20).await;
    disk.fill();
    client.end("cut").await;
    disk.fill();
    client.delete("/v1/streams/to-purge?purge=1").await.unwrap().want(507);
    let cut = Reference::of(&client, "cut").await;
    assert_eq!(cut.ended_as, "failed/storage_error");
    // Killed while it is full, and again after it was: whether it could be stored meanwhile makes no difference.
    for is_full in [true, false, false] {
        gateway.kill();
        if !is_full && disk.ballast.exists() {
            disk.empty();
        }
        gateway.start().await;
        same(&client, std::slice::from_ref(&cut)).await;
        client.get("/v1/streams/to-purge").await.unwrap().want(410);
    }
    gateway.kill();
    sound(&gateway.database);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_it_starts_and_reads() {
    let provider = Provider::start().await;
    let disk = Disk::mount("8m");
    let mut gateway = Gateway::new(&provider.url, "").on(&disk.path().join("tokencast.db"));
    gateway.start().await;
    let client = gateway.client();
    let done = finished(&client, "done").await;
    start(&client, "cut", r#"{"simulate": {"rate": 100, "tokens": 100000}}"#).await.want(201);
    blocks(&client, "cut", 20).await;
    gateway.kill();
    disk.fill();
    gateway.start().await;
    same(&client, &[done]).await;
    let cut = Reference::of(&client, "cut").await;
    assert!(cut.state["blocks"].as_u64() >= Some(20));
    disk.empty();
    gateway.readiness(200).await;
    gateway.kill();
    gateway.start().await;
    same(&client, &[cut]).await;
    gateway.kill();
    sound(&gateway.database);
}
