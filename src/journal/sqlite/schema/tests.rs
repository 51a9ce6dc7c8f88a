use std::path::Path;

use super::*;
use crate::journal::sqlite::tests::Directory;

fn refusal(path: &Path) -> OpenError {
    open(path, Durability::Commit).map(drop).unwrap_err()
}

#[test]
fn one_process_has_it_whatever_it_is_called() {
    let directory = Directory::new();
    let path = directory.path();
    let opened = open(&path, Durability::Commit).unwrap();
    let other = |name: &str| path.with_file_name(name);
    std::os::unix::fs::symlink(&path, other("symbolic.db")).unwrap();
    std::fs::hard_link(&path, other("hard.db")).unwrap();
    for name in ["test.db", "symbolic.db", "hard.db"] {
        assert!(matches!(refusal(&other(name)), OpenError::Locked(_)), "{name}");
    }
    drop(opened);
    open(&other("symbolic.db"), Durability::Commit).unwrap();
}

#[test]
fn what_others_can_read_becomes_private() {
    let directory = Directory::new();
    let path = directory.path();
    drop(open(&path, Durability::Commit).unwrap());
    for path in [path.clone(), beside(&path, ".lock")] {
        let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        drop(open(&directory.path(), Durability::Commit).unwrap());
        assert_eq!(mode(), 0o660, "a group may be how a volume is shared");
    }
}

#[test]
fn a_log_without_its_database_is_left_alone() {
    let directory = Directory::new();
    let path = directory.path();
    drop(open(&path, Durability::Commit).unwrap());
    std::fs::remove_file(&path).unwrap();
    let log = beside(&path, "-wal");
    std::fs::write(&log, "commits").unwrap();
    let error = refusal(&path);
    assert!(matches!(error, OpenError::LogAlone { .. }), "{error}");
    assert_eq!(std::fs::read(&log).unwrap(), b"commits");
    assert!(!path.exists());
}

#[test]
fn a_table_that_is_missing_is_damage() {
    let directory = Directory::new();
    let path = directory.path();
    drop(open(&path, Durability::Commit).unwrap());
    Connection::open(&path).unwrap().execute_batch("DROP TABLE chunks").unwrap();
    let error = refusal(&path).to_string();
    assert!(error.contains("no table chunks"), "{error}");
}

/// What is found damaged can still be looked into as it was: the log is merged only where all was understood.
#[test]
fn what_is_refused_stays_as_it_was_found() {
    let directory = Directory::new();
    let path = directory.path();
    let database = open(&path, Durability::Commit).unwrap();
    database.connection.execute("INSERT INTO meta VALUES ('a', x'01')", []).unwrap();
    let log = beside(&path, "-wal");
    let before = std::fs::read(&log).unwrap();
    assert!(!before.is_empty());
    drop(database);
    assert_eq!(std::fs::read(&log).unwrap(), before);
    let database = open(&path, Durability::Commit).unwrap();
    database.is_sound().unwrap();
    drop(database);
    assert!(!log.exists());
}

#[test]
fn space_is_given_back_and_the_log_stays_small() {
    let directory = Directory::new();
    let database = open(&directory.path(), Durability::Process).unwrap();
    let bytes = || std::fs::metadata(directory.path()).unwrap().len();
    let data = vec![7_u8; 1 << 20];
    for row in 0..80 {
        let insert = "INSERT INTO journal VALUES (?1, x'', ?2)";
        database.connection.execute(insert, rusqlite::params![row, data]).unwrap();
    }
    let full = database.used_bytes();
    database.connection.execute("DELETE FROM journal", []).unwrap();
    assert!(database.has_spare_pages());
    assert!(database.used_bytes() < full, "what is on its way back does not count");
    let mut steps = 0;
    while database.has_spare_pages() {
        database.give_back().unwrap();
        steps += 1;
    }
    assert!((10..1000).contains(&steps), "{steps} steps");
    database.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    assert!(bytes() < 4 << 20, "{}", bytes());
    assert!(!database.is_log_large());
}
