//! How the gateway comes and goes when it is asked: what it refuses, and what it leaves when it is told to stop.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use tokio::task::JoinSet;

use crate::check::Reference;
use crate::command;
use crate::gateway::{Directory, Gateway};
use crate::provider::{Provider, request};
use crate::viewer::{Begin, follow};

/// Starts a gateway that has to give up, with these words.
async fn refused(gateway: &mut Gateway, wanted: &str) {
    let heard = gateway.said().len();
    gateway.spawn();
    let status = gateway.exit().await;
    let said = gateway.said().split_off(heard);
    assert!(!status.success() && status.code().is_some(), "{status}: {said}");
    let last = said.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("tokencast: journal.path = ") && last.contains(wanted), "{said}");
    assert!(!said.contains("panicked") && !said.contains("tokencast serves"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_data_is_refused() {
    let provider = Provider::start().await;
    let mut first = Gateway::new(&provider.url, "");
    first.start().await;
    let client = first.client();
    let order = serde_json::json!({ "id": "one", "request": request("a", r#"{"simulate": {"rate": 200}}"#) });
    client.start(&order, None).await.unwrap().want(201);
    let mut second = Gateway::new(&provider.url, "");
    second = second.on(&first.database);
    refused(&mut second, "another process has it").await;
    assert!(std::net::TcpStream::connect(second.http).is_err());
    // The first one did not notice.
    client.end("one").await;
    let reference = Reference::of(&client, "one").await;
    first.kill();
    second.start().await;
    assert_eq!(Reference::of(&second.client(), "one").await, reference);
}

#[tokio::test]
async fn what_is_not_ours_is_refused_and_left_alone() {
    type Make = fn(&Path);
    let cases: [(&str, Make, &str); 7] = [
        ("newer", |path| make(path, "PRAGMA user_version = 99"), "made by another version (schema 99"),
        ("older", |path| make(path, "PRAGMA user_version = 0"), "made by another version (schema 0"),
        ("foreign", |path| make(path, "PRAGMA application_id = 7"), "no database of tokencast"),
        ("garbage", |path| std::fs::write(path, "no database, ".repeat(1000)).unwrap(), "no database of"),
        ("cut", |path| std::fs::write(path, b"SQLite format 3\0").unwrap(), "no database of"),
        ("directory", |path| std::fs::create_dir(path).unwrap(), "it cannot be opened"),
        ("damaged", damage, "damaged"),
    ];
    for (name, prepare, wanted) in cases {
        println!("{name}");
        let mut gateway = Gateway::new("http://127.0.0.1:9/v1", "");
        std::fs::create_dir_all(gateway.database.parent().unwrap()).unwrap();
        if ["newer", "older", "foreign", "damaged"].contains(&name) {
            gateway.start().await;
            gateway.readiness(200).await;
            assert!(gateway.terminate().await.success());
        }
        prepare(&gateway.database);
        let before = std::fs::read(&gateway.database).ok();
        refused(&mut gateway, wanted).await;
        assert_eq!(std::fs::read(&gateway.database).ok(), before, "{name}: it was changed");
    }
}

fn make(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// Frames that cannot be read.
fn damage(path: &Path) {
    make(path, "INSERT INTO journal (sum, data) VALUES (x'00', x'c1c1c1c1c1c1c1c1c1c1')");
}

/// Root may write anywhere but where nobody can.
#[tokio::test]
async fn a_place_that_cannot_be_written_is_refused() {
    for (database, wanted) in [
        ("/proc/tokencast.db", "the lock beside it cannot be made"),
        ("/proc/tokencast/tokencast.db", "its directory cannot be made"),
        ("/dev/null/tokencast.db", "its directory cannot be made"),
    ] {
        let mut gateway = Gateway::new("http://127.0.0.1:9/v1", "").on(Path::new(database));
        refused(&mut gateway, wanted).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_it_ends_what_runs_and_keeps_it() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "[drain]\ngrace_s = 1");
    gateway.start().await;
    let client = gateway.client();
    let mut viewers = JoinSet::new();
    for (id, kind) in [
        ("quick", r#"{"simulate": {"rate": 100, "tokens": 50}}"#),
        ("slow", r#"{"simulate": {"rate": 50, "tokens": 10000}}"#),
    ] {
        let order = serde_json::json!({ "id": id, "request": request(id, kind) });
        let answer = client.start(&order, None).await.unwrap().want(201).json();
        let (client, ticket) = (client.clone(), answer["ticket"].as_str().unwrap().to_owned());
        viewers.spawn(async move { (id, follow(&client, id, &ticket, Begin::Query(0)).await) });
    }
    assert!(gateway.terminate().await.success(), "{}", gateway.said());
    let seen = viewers.join_all().await;
    // Everything is in the one file, and nothing of the two waits in the journal.
    let left: Vec<u64> = ["", "-wal"]
        .iter()
        .filter_map(|end| std::fs::metadata(format!("{}{end}", gateway.database.display())).ok())
        .map(|file| file.size())
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let database = Connection::open(&gateway.database).unwrap();
    let rows: i64 = database.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
    drop(database);

    gateway.start().await;
    for (id, seen) in seen {
        let reference = Reference::of(&client, id).await;
        assert_eq!(reference.events, seen.events);
        assert_eq!(reference.ended_as, if id == "slow" { "interrupted/drain" } else { "completed" });
    }
    assert_eq!(provider.log.received(), 2);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_known_before_the_start() {
    let directory = Directory::new();
    let at = |name: &str| directory.0.join(name);
    std::fs::write(at("key.pem"), "no key").unwrap();
    let keys = format!("certificate = {:?}\nkey = {:?}\n", at("chain.pem"), at("key.pem"));
    std::fs::write(at("tokencast.toml"), format!("[webtransport]\n{keys}")).unwrap();
    for chain in [None, Some("no certificate")] {
        if let Some(chain) = chain {
            std::fs::write(at("chain.pem"), chain).unwrap();
        }
        command::with(&at("tokencast.toml"), &["check"]).refused(2, "chain.pem");
    }
}

/// Keys and contents are in the memory of the process, and nowhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_core_is_dumped_however_large_it_might_be() {
    let provider = Provider::start().await;
    let mut gateway = Gateway::new(&provider.url, "");
    gateway.start().await;
    let pid = gateway.pid().to_string();
    let allowed = Command::new("prlimit").args(["--pid", &pid, "--core=unlimited"]).status();
    assert!(allowed.unwrap().success(), "ulimit -Hc unlimited");
    gateway.signal("ABRT");
    let status = gateway.exit().await;
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
}
