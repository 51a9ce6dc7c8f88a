//! `tokencast backup`: what it makes is the database of another gateway.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::Connection;
use serde_json::json;

use crate::check::Reference;
use crate::client::Client;
use crate::command::{home, run, with};
use crate::gateway::{Gateway, LOOK, PATIENCE};
use crate::provider::{Provider, request};

const ENDS: &str = r#"{"simulate": {"rate": 0, "tokens": 2000}}"#;
const GOES_ON: &str = r#"{"simulate": {"rate": 200, "tokens": 600}}"#;

async fn start(client: &Client, id: &str, kind: &str) {
    let order = json!({ "id": id, "request": request(id, kind) });
    client.start(&order, Some(&format!("key-of-{id}"))).await.unwrap().want(201);
}

async fn has_blocks(client: &Client, id: &str, blocks: u64) {
    let begun = Instant::now();
    loop {
        let state = client.get(&format!("/v1/streams/{id}")).await.unwrap().want(200).json();
        if state["blocks"].as_u64().unwrap() >= blocks {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{state}");
        tokio::time::sleep(LOOK).await;
    }
}

/// A directory for copies.
fn copies(gateway: &Gateway) -> PathBuf {
    let directory = home(gateway).join("copies");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn names(directory: &Path) -> Vec<OsString> {
    let mut names: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_gateway_is_a_database() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "");
    gateway.start().await;
    let client = gateway.client();
    start(&client, "ended", ENDS).await;
    client.end("ended").await;
    start(&client, "purged", ENDS).await;
    client.end("purged").await;
    client.delete("/v1/streams/purged?purge=1").await.unwrap().want(200);
    let running: Vec<String> = (0..10).map(|number| format!("running-{number}")).collect();
    for id in &running {
        start(&client, id, GOES_ON).await;
    }
    has_blocks(&client, "running-9", 20).await;

    let copy = copies(&gateway).join("copy.db");
    run(&gateway, &["backup", copy.to_str().unwrap()]).well();
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(&copies(&gateway)), ["copy.db"]);
    // The gateway did not notice.
    for id in &running {
        assert_eq!(client.end(id).await["reason"], "completed");
    }
    let ended = Reference::of(&client, "ended").await;
    let mut whole = Vec::new();
    for id in &running {
        whole.push(client.get(&format!("/v1/streams/{id}/raw")).await.unwrap().want(200).body);
    }

    let mut second = Gateway::new(&provider.url, "").on(&copy);
    second.start().await;
    let client = second.client();
    assert_eq!(Reference::of(&client, "ended").await, ended);
    client.get("/v1/streams/purged").await.unwrap().want(410);
    for (id, whole) in running.iter().zip(&whole) {
        let end = client.end(id).await;
        assert_eq!((&end["reason"], &end["code"]), (&json!("interrupted"), &json!("restart")));
        let raw = client.get(&format!("/v1/streams/{id}/raw")).await.unwrap().body;
        assert!(raw.len() < whole.len() && whole.starts_with(&raw), "{id}");
    }
    // What had been seen before is in it.
    assert!(client.get("/v1/streams/running-9").await.unwrap().json()["blocks"].as_u64().unwrap() >= 20);
    // Names and keys are taken there, and it takes new ones.
    let order = json!({ "id": "ended", "request": request("ended", ENDS) });
    client.start(&order, Some("key-of-ended")).await.unwrap().want(200);
    start(&client, "new", ENDS).await;
    assert_eq!(client.end("new").await["reason"], "completed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_without_a_gateway_is_the_same() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "");
    gateway.start().await;
    let client = gateway.client();
    start(&client, "ended", ENDS).await;
    client.end("ended").await;
    start(&client, "running", GOES_ON).await;
    has_blocks(&client, "running", 20).await;
    let ended = Reference::of(&client, "ended").await;
    gateway.kill();
    let killed = copies(&gateway).join("killed.db");
    run(&gateway, &["backup", killed.to_str().unwrap()]).well();
    gateway.start().await;
    client.end("running").await;
    let cut = Reference::of(&client, "running").await;
    assert!(gateway.terminate().await.success());
    let stopped = copies(&gateway).join("stopped.db");
    run(&gateway, &["backup", stopped.to_str().unwrap()]).well();
    // Whoever read it left it as it can be opened.
    gateway.start().await;
    assert_eq!(Reference::of(&client, "ended").await, ended);
    for copy in [killed, stopped] {
        let mut second = Gateway::new(&provider.url, "").on(&copy);
        second.start().await;
        let client = second.client();
        assert_eq!(Reference::of(&client, "ended").await, ended);
        assert_eq!(Reference::of(&client, "running").await, cut);
    }
}

#[tokio::test]
async fn a_backup_that_cannot_be_says_why() {
    let mut gateway = Gateway::new("http://127.0.0.1:9/v1", "");
    let directory = copies(&gateway);
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let copy = path("copy.db");
    run(&gateway, &["backup", &copy]).refused(1, "there is no database");
    assert!(!gateway.database.exists() && names(&directory).is_empty());
    gateway.start().await;
    gateway.readiness(200).await;

    // What is there stays, unless it is said.
    std::fs::write(&copy, "precious").unwrap();
    run(&gateway, &["backup", &copy]).refused(1, "is there already");
    assert_eq!(std::fs::read(&copy).unwrap(), b"precious");
    run(&gateway, &["backup", &copy, "--force"]).well();
    let found: i64 =
        Connection::open(&copy).unwrap().query_row("PRAGMA application_id", [], |row| row.get(0)).unwrap();
    assert_eq!(found, 0x746b_6373);

    // Never over a database that is in use, its own or another one.
    std::fs::write(path("used.db-wal"), "").unwrap();
    run(&gateway, &["backup", &path("used.db"), "--force"]).refused(1, "belongs to a database of that name");
    std::os::unix::fs::symlink(&gateway.database, path("link.db")).unwrap();
    let database = gateway.database.to_str().unwrap();
    for own in [database, &format!("{database}-wal"), &format!("{database}.lock"), &path("link.db")] {
        run(&gateway, &["backup", own, "--force"]).refused(1, "belongs to the database itself");
    }
    run(&gateway, &["backup", &path("no/such/directory.db")]).refused(1, "No such file or directory");
    run(&gateway, &["backup", directory.to_str().unwrap(), "--force"]).refused(1, "is no file");
    assert!(gateway.terminate().await.success());

    let memory = home(&gateway).join("memory.toml");
    std::fs::write(&memory, "[journal]\nmode = \"memory\"").unwrap();
    with(&memory, &["backup", &copy, "--force"]).refused(2, "mode = \"memory\"");
    for (sql, wanted) in [
        ("PRAGMA user_version = 99", "made by another version (schema 99"),
        ("PRAGMA application_id = 7", "no database of tokencast"),
    ] {
        Connection::open(&gateway.database).unwrap().execute_batch(sql).unwrap();
        run(&gateway, &["backup", &path("new.db")]).refused(1, wanted);
        run(&gateway, &["export", "x"]).refused(1, wanted);
    }
    std::fs::write(&gateway.database, "no database, ".repeat(1000)).unwrap();
    run(&gateway, &["backup", &path("new.db")]).refused(1, "no database of tokencast");
    assert_eq!(names(&directory), ["copy.db", "link.db", "used.db-wal"]);
}

/// As a container does that was given the volume and nothing else: its image listens on all addresses.
#[tokio::test]
async fn what_listens_nowhere_needs_no_key() {
    let mut gateway = Gateway::new("http://127.0.0.1:9/v1", "");
    gateway.start().await;
    gateway.readiness(200).await;
    let config = home(&gateway).join("keyless.toml");
    let open = format!("[http]\nlisten = \"0.0.0.0:0\"\n[journal]\npath = {:?}\n", gateway.database);
    std::fs::write(&config, open).unwrap();
    with(&config, &["check"]).refused(2, "Add a key");
    with(&config, &["backup", copies(&gateway).join("copy.db").to_str().unwrap()]).well();
    with(&config, &["ticket", "mine"]).well();
    with(&config, &["export", "x"]).refused(3, "x");
}
