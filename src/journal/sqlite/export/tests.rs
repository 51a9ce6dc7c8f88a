//! A stream that has ended and is not sealed yet, which is a moment that no other process can choose.

use rusqlite::params;
use smallvec::smallvec;

use super::*;
use crate::cast::durable::Record;
use crate::cast::end::{End, Why};
use crate::cast::id::Id;
use crate::crypto::{hex, random};
use crate::journal::{Durability, sqlite::Sqlite};

fn about(number: Number) -> About {
    About {
        number,
        id: Id::parse(&format!("stream-{number}")).unwrap(),
        tenant: "tenant".into(),
        provider: "provider".into(),
        metadata: None,
        ttl_s: 60,
        started_ms: 1_000,
        key: None,
        fingerprint: [7; 32],
    }
}

fn frame(first: u64) -> Frame {
    let bytes = format!("<{first}>");
    Frame {
        first,
        at_ms: first,
        ends: smallvec![bytes.len() as u32],
        bytes: bytes.into(),
        ..Frame::default()
    }
}

fn ended(blocks: u64) -> Ended {
    let end = End {
        why: Why::Completed,
        message: None,
        finish: None,
        usage: None,
        blocks,
        bytes: 0,
        hash: String::new(),
        at_ms: 9,
    };
    Ended { end, model: None, frames: blocks as usize, first_token_ms: None, upstream_id: None }
}

#[tokio::test]
async fn an_ended_stream_is_read_from_chunks_or_from_the_journal() {
    let directory = std::env::temp_dir().join(format!("tokencast-{}", hex(&random::<8>())));
    let path = directory.join("test.db");
    let journal = Sqlite::open(&path, Durability::Process).unwrap().journal;
    for number in [1, 2] {
        journal.commit(Record::Begin(about(number).into())).await.unwrap();
    }
    for first in 1..=3 {
        for number in [1, 2] {
            journal.commit(Record::Frame(number, frame(first).into())).await.unwrap();
        }
    }
    journal.commit(Record::End(1, ended(2).into())).await.unwrap();
    drop(journal);
    let firsts = |id: &str| {
        let stored = read(&path, None, id).unwrap();
        (stored.ended.is_some(), stored.frames.iter().map(|frame| frame.first).collect::<Vec<_>>())
    };
    assert_eq!(firsts("stream-1"), (true, vec![1, 2]), "the third came too late to be shown");
    assert_eq!(firsts("stream-2"), (false, vec![1, 2, 3]));

    // As it was before it was sealed, with a neighbour in the row.
    let mut row = Vec::new();
    for first in 1..=3 {
        codec::put(&mut row, 2, &frame(first + 7));
        codec::put(&mut row, 1, &frame(first));
    }
    let database = Connection::open(&path).unwrap();
    assert_eq!(database.execute("DELETE FROM chunks WHERE stream = 1", []).unwrap(), 1);
    database
        .execute("INSERT INTO journal (row, sum, data) VALUES (99, ?1, ?2)", params![codec::sum(&row), row])
        .unwrap();
    assert_eq!(firsts("stream-1"), (true, vec![1, 2]));
    let _ = std::fs::remove_dir_all(directory);
}
