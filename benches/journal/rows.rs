//! The other journal: one row per frame. Group commit, sealing and vacuum are as in the one that there is.

use std::collections::HashMap;
use std::path::Path;
use std::thread::JoinHandle;

use rusqlite::{Connection, Transaction, params};
use tokencast::cast::durable::Ended;
use tokencast::cast::frame::Frame;
use tokencast::journal::Durability;
use tokio::sync::{mpsc, oneshot};

const TABLES: &str = "
    CREATE TABLE streams (number INTEGER PRIMARY KEY, tenant TEXT NOT NULL, end BLOB);
    CREATE TABLE journal (row INTEGER PRIMARY KEY, data BLOB NOT NULL);
    CREATE TABLE chunks (stream INTEGER NOT NULL, first INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (stream, first));
";

pub(crate) type Done = oneshot::Sender<()>;

pub(crate) enum Ask {
    Begin(u64, Done),
    Append(u64, Frame, Done),
    End(u64, Ended, Done),
}

pub(crate) struct Rows {
    inbox: Option<mpsc::Sender<Ask>>,
    writer: Option<JoinHandle<()>>,
}

impl Rows {
    pub(crate) fn open(path: &Path, durability: Durability) -> Self {
        let database = Connection::open(path).expect("an empty directory");
        let synchronous = if durability == Durability::Commit { "FULL" } else { "OFF" };
        let set_up = format!(
            "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};
             PRAGMA secure_delete = 1; {TABLES}"
        );
        database.execute_batch(&set_up).expect("SQL");
        let (inbox, asks) = mpsc::channel(16 * 1024);
        let writer = Writer { database, rows: HashMap::new(), ended: Vec::new(), next_row: 1 };
        let writer = std::thread::spawn(move || writer.run(asks));
        Self { inbox: Some(inbox), writer: Some(writer) }
    }

    pub(crate) async fn ask(&self, ask: impl FnOnce(Done) -> Ask) {
        let (done, committed) = oneshot::channel();
        let inbox = self.inbox.as_ref().expect("it is open");
        assert!(inbox.send(ask(done)).await.is_ok(), "the writer lives");
        committed.await.expect("the writer lives");
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.inbox = None;
        if let Some(writer) = self.writer.take() {
            writer.join().expect("the writer ends well");
        }
    }
}

struct Writer {
    database: Connection,
    rows: HashMap<u64, Vec<i64>>,
    ended: Vec<u64>,
    next_row: i64,
}

impl Writer {
    fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        loop {
            while asks.is_empty() && self.tidy() {}
            let Some(first) = asks.blocking_recv() else { break };
            let (mut next, mut waiting) = (Some(first), Vec::new());
            let transaction = self.database.transaction().expect("one writer");
            while let Some(ask) = next {
                waiting.push(match ask {
                    Ask::Begin(stream, done) => {
                        let sql = "INSERT INTO streams (number, tenant) VALUES (?1, 'bench')";
                        run(&transaction, sql, params![stream as i64]);
                        done
                    }
                    Ask::Append(stream, frame, done) => {
                        let data = rmp_serde::to_vec(&frame).expect("plain data");
                        let sql = "INSERT INTO journal (row, data) VALUES (?1, ?2)";
                        run(&transaction, sql, params![self.next_row, data]);
                        self.rows.entry(stream).or_default().push(self.next_row);
                        self.next_row += 1;
                        done
                    }
                    Ask::End(stream, ended, done) => {
                        let end = rmp_serde::to_vec_named(&ended).expect("plain data");
                        run(
                            &transaction,
                            "UPDATE streams SET end = ?2 WHERE number = ?1",
                            params![stream as i64, end],
                        );
                        self.ended.push(stream);
                        done
                    }
                });
                next = asks.try_recv().ok();
            }
            transaction.commit().expect("room");
            for done in waiting {
                let _ = done.send(());
            }
        }
        while self.tidy() {}
    }

    fn tidy(&mut self) -> bool {
        let Some(stream) = self.ended.pop() else {
            let free = self.database.pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0));
            let has_free = free.expect("SQL") > 256;
            if has_free {
                self.database.execute_batch("PRAGMA incremental_vacuum(256)").expect("SQL");
            }
            return has_free;
        };
        let rows = self.rows.remove(&stream).unwrap_or_default();
        let transaction = self.database.transaction().expect("one writer");
        let mut plain = Vec::new();
        for row in &rows {
            let mut select =
                transaction.prepare_cached("SELECT data FROM journal WHERE row = ?1").expect("SQL");
            let read = select.query_row([row], |row| {
                plain.extend_from_slice(row.get_ref(0)?.as_blob()?);
                Ok(())
            });
            read.expect("it is there");
        }
        let chunk = lz4_flex::compress_prepend_size(&plain);
        run(
            &transaction,
            "INSERT INTO chunks (stream, first, data) VALUES (?1, 1, ?2)",
            params![stream as i64, chunk],
        );
        for row in &rows {
            run(&transaction, "DELETE FROM journal WHERE row = ?1", [row]);
        }
        transaction.commit().expect("room");
        true
    }
}

fn run(transaction: &Transaction<'_>, sql: &str, params: impl rusqlite::Params) {
    transaction.prepare_cached(sql).and_then(|mut statement| statement.execute(params)).expect("room");
}
