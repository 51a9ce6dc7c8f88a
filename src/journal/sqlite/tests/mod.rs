//! The journal alone: what is committed is known after it was opened again.

mod sealing;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use smallvec::smallvec;

use crate::cast::about::About;
use crate::cast::account::Spent;
use crate::cast::durable::{Ended, State};
use crate::cast::end::{End, Why};
use crate::cast::event::{Event, Prose};
use crate::cast::id::Id;
use crate::crypto::{hex, random};
use crate::journal::Opened;
use crate::journal::sqlite::*;

/// A directory of its own, gone with the test.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tokencast-{}", hex(&random::<8>())));
        Self(path)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.0.join("deep").join("test.db")
    }

    fn open(&self) -> Opened {
        unlocked(|| Sqlite::open(&self.path(), Durability::Process))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn about(number: Number) -> Arc<About> {
    Arc::new(About {
        number,
        id: Id::parse(&format!("stream-{number}")).unwrap(),
        tenant: "tenant".into(),
        provider: "provider".into(),
        metadata: serde_json::value::RawValue::from_string(r#"{"a": 1}"#.into()).ok(),
        ttl_s: 60,
        started_ms: 1_000,
        key: number.is_multiple_of(2).then(|| format!("key-{number}").into()),
        fingerprint: [7; 32],
    })
}

fn frame(first: u64, text: &str) -> Arc<Frame> {
    let event = Event::Prose { choice: 0, kind: Prose::Text, text: text.into() };
    Arc::new(Frame {
        first,
        at_ms: first * 10,
        bytes: text.to_owned().into(),
        ends: smallvec![text.len() as u32],
        events: smallvec![(first, event)],
    })
}

fn ended(blocks: u64) -> Arc<Ended> {
    let end = End {
        why: Why::Completed,
        message: None,
        finish: Some("stop".into()),
        usage: None,
        blocks,
        bytes: 3,
        hash: "hash".into(),
        at_ms: 99,
    };
    Arc::new(Ended {
        end,
        model: Some("model".into()),
        frames: 2,
        first_token_ms: Some(1.5),
        upstream_id: None,
    })
}

/// All frames of an ended stream, piece by piece.
async fn content(journal: &dyn Durable, number: Number) -> Vec<Frame> {
    let Content::Pieces(marks) = journal.content(number).await.unwrap() else { panic!("not in pieces") };
    let mut frames: Vec<Frame> = Vec::new();
    for mark in marks {
        let piece = journal.piece(number, mark.first).await.unwrap();
        assert_eq!((piece[0].first, piece.last().unwrap().last()), (mark.first, mark.last));
        assert_eq!(mark.begin, frames.iter().map(|frame| frame.bytes.len() as u64).sum::<u64>());
        let id = frames.iter().flat_map(|frame| &frame.events).last().map_or(0, |(seq, _)| *seq);
        assert_eq!(mark.id, id);
        frames.extend(piece);
    }
    frames
}

#[tokio::test]
async fn what_is_committed_is_known_again() {
    let directory = Directory::new();
    let Opened { journal, known, secret, .. } = directory.open();
    assert!(known.is_empty());
    for number in [1, 2, 3] {
        journal.commit(Record::Begin(about(number))).await.unwrap();
    }
    journal.commit(Record::Describe(1, "text/event-stream".into())).await.unwrap();
    // Many at once become few commits; their order stays.
    let commits: Vec<Commit> = (1..=100)
        .flat_map(|seq| [1, 2, 3].map(|number| (number, frame(seq, &format!("<{number}:{seq}>")))))
        .map(|(number, frame)| journal.commit(Record::Frame(number, frame)))
        .collect();
    for commit in commits {
        commit.await.unwrap();
    }
    journal.commit(Record::End(2, ended(100))).await.unwrap();
    journal.commit(Record::Bury(3, 5_000)).await.unwrap();
    journal.commit(Record::Frame(3, frame(101, "late"))).await.unwrap();
    drop(journal);

    let Opened { journal, known, secret: again, .. } = directory.open();
    assert_eq!(secret, again);
    assert_eq!(known.iter().map(|known| known.about.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(known[0].content_type.as_deref(), Some("text/event-stream"));
    assert_eq!(known[0].about.metadata.as_ref().unwrap().get(), r#"{"a": 1}"#);
    assert_eq!(known[1].about.key.as_deref(), Some("key-2"));
    let wanted =
        |number| (1..=100).map(|seq| (*frame(seq, &format!("<{number}:{seq}>"))).clone()).collect::<Vec<_>>();
    let State::Ended(cut) = &known[0].state else { panic!("{:?}", known[0].state) };
    assert_eq!((cut.end.why, cut.end.blocks, cut.end.at_ms), (Why::Restart, 100, 1000));
    let State::Ended(end) = &known[1].state else { panic!("{:?}", known[1].state) };
    assert_eq!((end.end.clone(), end.first_token_ms), (ended(100).end.clone(), Some(1.5)));
    assert!(matches!(known[2].state, State::Gone(5_000)));
    assert_eq!(content(&*journal, 2).await, wanted(2));
    assert!(content(&*journal, 3).await.is_empty());

    journal.commit(Record::Forget(3)).await.unwrap();
    journal.commit(Record::End(1, ended(100))).await.unwrap();
    assert_eq!(content(&*journal, 1).await, wanted(1), "sealed on demand");
    drop(journal);
    let left = Connection::open(directory.path()).unwrap();
    let rows = |table| {
        left.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!((rows("streams"), rows("journal")), (2, 0), "ended streams leave nothing in the journal");
}

/// An ended stream leaves frames behind in rows that running streams still need. After a restart they are no part of
/// it: sealed again, they would stand beside what was sealed before.
#[tokio::test]
async fn what_is_sealed_is_not_sealed_again() {
    let directory = Directory::new();
    let Opened { journal, .. } = directory.open();
    for number in [1, 2] {
        journal.commit(Record::Begin(about(number))).await.unwrap();
    }
    for (number, seq) in [(1, 1), (1, 2), (2, 1)] {
        journal.commit(Record::Frame(number, frame(seq, "x"))).await.unwrap();
    }
    drop(journal);
    let database = Connection::open(directory.path()).unwrap();
    let shared = "UPDATE journal SET data = CAST(data || (SELECT data FROM journal WHERE row = 3) AS BLOB)
                  WHERE row = 2; DELETE FROM journal WHERE row = 3";
    database.execute_batch(shared).unwrap();
    let data: Vec<u8> =
        database.query_row("SELECT data FROM journal WHERE row = 2", [], |row| row.get(0)).unwrap();
    database.execute("UPDATE journal SET sum = ?1 WHERE row = 2", [codec::sum(&data)]).unwrap();
    drop(database);
    let Opened { journal, .. } = directory.open();
    journal.commit(Record::End(1, ended(2))).await.unwrap();
    assert_eq!(content(&*journal, 1).await, [(*frame(1, "x")).clone(), (*frame(2, "x")).clone()]);
    drop(journal);

    let Opened { journal, known, .. } = directory.open();
    assert!(matches!(&known[1].state, State::Ended(cut) if cut.frames == 1));
    assert_eq!(content(&*journal, 1).await.len(), 2);
    journal.commit(Record::Bury(2, 5_000)).await.unwrap();
    drop(journal);
    let database = Connection::open(directory.path()).unwrap();
    let rows: i64 = database.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0, "a row that serves nobody goes");
}

#[tokio::test]
async fn a_second_process_and_other_files_are_refused() {
    let directory = Directory::new();
    let open = || Sqlite::open(&directory.path(), Durability::Commit).map(drop).unwrap_err();
    let opened = directory.open();
    assert!(matches!(open(), OpenError::Locked(_)));
    drop(opened);
    let database = Connection::open(directory.path()).unwrap();
    database.pragma_update(None, "user_version", 9).unwrap();
    assert!(matches!(open(), OpenError::Version { version: 9, .. }));
    database.pragma_update(None, "application_id", 9).unwrap();
    assert!(matches!(open(), OpenError::NotOurs(_)));
    drop(database);
    std::fs::write(directory.path(), "something else entirely, which is no database").unwrap();
    assert!(matches!(open(), OpenError::NotOurs(_)));
    std::fs::remove_file(directory.path()).unwrap();
    std::fs::create_dir(directory.path()).unwrap();
    assert!(matches!(open(), OpenError::Storage { .. }));
}

#[tokio::test]
async fn a_damaged_journal_is_said_and_not_deleted() {
    let directory = Directory::new();
    let Opened { journal, .. } = directory.open();
    journal.commit(Record::Begin(about(1))).await.unwrap();
    journal.commit(Record::Frame(1, frame(1, "abc"))).await.unwrap();
    drop(journal);
    let database = Connection::open(directory.path()).unwrap();
    database.execute("UPDATE journal SET data = x'c1c1c1'", []).unwrap();
    drop(database);
    let error = Sqlite::open(&directory.path(), Durability::Commit).unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");
    assert!(directory.path().exists());
}

#[tokio::test]
async fn a_flipped_bit_is_damage_and_nothing_else() {
    let directory = Directory::new();
    let Opened { journal, .. } = directory.open();
    for number in [1, 2] {
        journal.commit(Record::Begin(about(number))).await.unwrap();
        journal.commit(Record::Frame(number, frame(1, "abc"))).await.unwrap();
    }
    journal.commit(Record::End(1, ended(1))).await.unwrap();
    assert_eq!(content(&*journal, 1).await.len(), 1);
    drop(journal);
    let database = Connection::open(directory.path()).unwrap();
    let flip = |table: &str| {
        let select = format!("SELECT data FROM {table} LIMIT 1");
        let mut data: Vec<u8> = database.query_row(&select, [], |row| row.get(0)).unwrap();
        *data.last_mut().unwrap() ^= 1;
        database.execute(&format!("UPDATE {table} SET data = ?1"), [data]).unwrap();
    };
    // At rest it is found by whoever reads it; the others are not kept from what is theirs.
    flip("chunks");
    let Opened { journal, .. } = directory.open();
    let error = journal.piece(1, 1).await.unwrap_err();
    assert!(error.0.contains("damaged"), "{error}");
    assert_eq!(content(&*journal, 2).await, [(*frame(1, "abc")).clone()]);
    drop(journal);
}

/// Sums say what was written, and not that anybody could have meant it: what a restored copy or a person has put there ends
/// in a sentence, neither in a start that panics nor in a writer that takes the process with it.
#[tokio::test]
async fn what_contradicts_itself_is_damage_though_its_sum_is_right() {
    let directory = Directory::new();
    drop(directory.open());
    let database = Connection::open(directory.path()).unwrap();
    let sound = (*frame(1, "abc")).clone();
    for unsound in [
        Frame { first: 0, ..sound.clone() },
        Frame { first: u64::MAX, ..sound.clone() },
        Frame { first: 2, ..sound.clone() },
        Frame { ends: smallvec![], ..sound.clone() },
        Frame { ends: smallvec![2], ..sound.clone() },
        Frame { ends: smallvec![3, 1, 3], ..sound.clone() },
    ] {
        let mut row = Vec::new();
        codec::put(&mut row, 1, &unsound);
        assert!(codec::at(&row, 0).is_err(), "{unsound:?}");
        assert!(codec::frames(&codec::chunk(&[sound.clone(), unsound])).is_err());
    }
    let insert =
        "INSERT INTO chunks (stream, first, last, begin, id, sum, data) VALUES (1, ?1, 1, 0, 0, x'', x'')";
    database.pragma_update(None, "foreign_keys", false).unwrap();
    database.execute(insert, [-1]).unwrap();
    assert!(seal::marks(&database, 1).is_err(), "a block before the first one");
    database.execute("UPDATE chunks SET first = 0", []).unwrap();
    assert!(seal::progress(&database, 1).is_err());
}

/// A database as the first version made it: with rows and chunks that nothing checks.
#[tokio::test]
async fn an_older_database_is_brought_up_to_date() {
    let directory = Directory::new();
    let Opened { journal, secret, .. } = directory.open();
    for number in [1, 2] {
        journal.commit(Record::Begin(about(number))).await.unwrap();
        for seq in 1..=3 {
            journal.commit(Record::Frame(number, frame(seq, "abc"))).await.unwrap();
        }
    }
    journal.commit(Record::End(1, ended(3))).await.unwrap();
    let wanted = content(&*journal, 1).await;
    drop(journal);
    let database = Connection::open(directory.path()).unwrap();
    let back = "
        CREATE TABLE rows (row INTEGER PRIMARY KEY, data BLOB NOT NULL);
        INSERT INTO rows SELECT row, data FROM journal;
        CREATE TABLE runs (
            stream INTEGER NOT NULL REFERENCES streams (number), first INTEGER NOT NULL, data BLOB NOT NULL,
            PRIMARY KEY (stream, first)
        );
        INSERT INTO runs SELECT stream, first, data FROM chunks;
        DROP TABLE journal; DROP TABLE chunks;
        ALTER TABLE rows RENAME TO journal; ALTER TABLE runs RENAME TO chunks;
        PRAGMA user_version = 1";
    database.execute_batch(back).unwrap();
    drop(database);

    let Opened { journal, known, secret: again, .. } = directory.open();
    assert_eq!((secret, known.len()), (again, 2));
    assert_eq!(content(&*journal, 1).await, wanted);
    let State::Ended(cut) = &known[1].state else { panic!("{:?}", known[1].state) };
    assert_eq!((cut.end.why, cut.end.blocks), (Why::Restart, 3));
    assert_eq!(content(&*journal, 2).await.len(), 3);
    drop(journal);
    let version = |database: &Connection| {
        database.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0)).unwrap()
    };
    assert_eq!(version(&Connection::open(directory.path()).unwrap()), schema::VERSION);
}

/// Opens what was closed just now. A child that another test has forked holds every lock of this process until it is
/// another program.
fn unlocked<T>(open: impl Fn() -> Result<T, OpenError>) -> T {
    for _ in 0..500 {
        match open() {
            Err(OpenError::Locked(_)) => std::thread::sleep(Duration::from_millis(10)),
            opened => return opened.unwrap(),
        }
    }
    open().unwrap()
}

/// A content type that makes the writer panic.
pub(super) const PLANTED: &str = "application/x-planted-panic";

/// The test binary runs itself, because what is to be seen is the end of a process.
#[tokio::test]
async fn a_writer_that_panics_takes_the_process_along() {
    use std::os::unix::process::ExitStatusExt;
    const CHILD: &str = "TOKENCAST_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let opened = Directory::new().open();
        // Nobody gets an answer.
        opened.journal.commit(Record::Describe(1, PLANTED.into())).await.unwrap();
        return;
    }
    let name = "journal::sqlite::tests::a_writer_that_panics_takes_the_process_along";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let child = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.signal(), Some(6), "{said}");
    assert!(said.contains(super::DEAD), "{said}");
}

#[tokio::test]
async fn what_a_tenant_has_spent_today_is_known_after_a_restart() {
    let directory = Directory::new();
    let today = day_of(now_ms());
    let spent = |counted, estimated| Spent { counted, estimated };
    let Opened { journal, .. } = directory.open();
    for (tenant, day, spent) in [
        ("a", today - 1, spent(1000, 0)),
        ("a", today, spent(7, 1)),
        ("b", today, spent(0, 5)),
        ("a", today, spent(10, 2)),
        // It comes late, and nobody asks for that day any more.
        ("a", today - 1, spent(1000, 0)),
        ("c", today - 1, spent(1000, 0)),
    ] {
        journal.commit(Record::Spend(tenant.into(), day, spent)).await.unwrap();
    }
    drop(journal);
    let Opened { spent: mut found, .. } = directory.open();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert_eq!(found, [("a".into(), spent(17, 3)), ("b".into(), spent(0, 5))]);
}
