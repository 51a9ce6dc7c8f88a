//! Databases that a disk, a crash or a person has changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use serde_json::value::RawValue;
use tokio::runtime::Runtime;

use super::directory;
use crate::cast::about::{About, Number};
use crate::cast::block::Seq;
use crate::cast::durable::{Content, Durable, Ended, Mark, Record, State};
use crate::cast::end::{End, Why};
use crate::cast::event::{Event, Prose};
use crate::cast::frame::Frame;
use crate::cast::id::Id;
use crate::journal::{Durability, Opened, sqlite::Sqlite};

/// What stands beside a database.
const FILES: [&str; 3] = ["", "-wal", "-owed"];

/// The files of a gateway that was killed, and what they hold.
pub(super) struct Killed {
    pub(super) files: [Vec<u8>; 3],
    frames: BTreeMap<Number, Vec<Frame>>,
}

pub(super) static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));

pub(super) static KILLED: LazyLock<Killed> = LazyLock::new(|| RUNTIME.block_on(kill()));

/// An input that begins like a database is one. Any other is a list of changes to the files of a gateway that was
/// killed. Opening them is refused and leaves them as they are, or shows of each stream what was written and no other
/// bytes, or says that it cannot.
pub fn journal(bytes: &[u8]) {
    if bytes.starts_with(b"SQLite format 3\0") {
        return open(&[bytes.to_owned(), Vec::new(), Vec::new()]);
    }
    let mut files = KILLED.files.clone();
    for change in bytes.chunks_exact(6) {
        let [kind, a, b, c, len, value] = *change else { continue };
        let file = &mut files[usize::from(kind % 3)];
        let place = u32::from_le_bytes([a, b, c, 0]) as usize % (file.len() + 1);
        let end = file.len().min(place + usize::from(len));
        match kind / 3 % 4 {
            // As a disk that has lost a write, or done half of it.
            0 => file[place..end].fill(value),
            1 => file[place..end].iter_mut().for_each(|byte| *byte ^= value),
            2 => file.truncate(place),
            _ => file.copy_within(place..end, place / 2),
        }
    }
    open(&files);
}

fn open(files: &[Vec<u8>; 3]) {
    let path = write("journal", files);
    match Sqlite::open(&path, Durability::Process) {
        Ok(opened) => {
            RUNTIME.block_on(look(&opened));
            drop(opened);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            for (file, suffix) in files.iter().zip(FILES).take(2) {
                // SQLite removes an empty one.
                let now = fs::read(beside(&path, suffix)).unwrap_or_default();
                assert!(now == *file, "{error}, and {suffix:?} is not what it was");
            }
        }
    }
}

/// Where these files are a database.
pub(super) fn write(name: &str, files: &[Vec<u8>; 3]) -> PathBuf {
    let path = directory(name).join("tokencast.db");
    let _ = fs::remove_file(beside(&path, "-shm"));
    for (file, suffix) in files.iter().zip(FILES) {
        let path = beside(&path, suffix);
        if file.is_empty() {
            let _ = fs::remove_file(path);
        } else {
            fs::write(path, file).expect("it can be written");
        }
    }
    path
}

async fn look(opened: &Opened) {
    for known in &opened.known {
        let (number, State::Ended(ended)) = (known.about.number, &known.state) else { continue };
        let Ok(frames) = content(&*opened.journal, number, ended.end.blocks).await else { continue };
        let Some(written) = KILLED.frames.get(&number) else { continue };
        for frame in &frames {
            let is_written = written.iter().any(|written| written == frame);
            assert!(is_written, "stream {number}: {frame:?} was never written");
        }
        let reaches = frames.last().map_or(0, Frame::last);
        assert_eq!(reaches, ended.end.blocks, "stream {number} lacks its last blocks, and does not say so");
    }
}

/// The frames of an ended stream, without a gap, or that they cannot be read.
async fn content(journal: &dyn Durable, number: Number, blocks: Seq) -> Result<Vec<Frame>, ()> {
    let mut frames = Vec::new();
    match journal.content(number).await.map_err(drop)? {
        Content::Whole(whole) => frames = whole,
        Content::Pieces(marks) if !Mark::are_whole(&marks, blocks) => return Err(()),
        Content::Pieces(marks) => {
            for mark in marks {
                frames.extend(journal.piece(number, mark.first).await.map_err(drop)?);
            }
        }
    }
    let firsts = std::iter::once(1).chain(frames.iter().map(|frame| frame.last() + 1));
    let is_whole = frames.iter().zip(firsts).all(|(frame, first)| frame.first == first);
    assert!(is_whole, "stream {number} has a gap, and does not say so");
    Ok(frames)
}

/// A gateway with a stream of each kind, killed.
async fn kill() -> Killed {
    let path = directory("killed").join("tokencast.db");
    FILES.iter().for_each(|suffix| drop(fs::remove_file(beside(&path, suffix))));
    let Opened { journal, .. } = Sqlite::open(&path, Durability::Process).expect("a fresh database");
    let mut frames = BTreeMap::new();
    for number in 1..=5 {
        journal.commit(Record::Begin(about(number))).await.expect("it is stored");
        let of_this = (1..=8).map(|first| frame(number, first)).collect::<Vec<_>>();
        for frame in &of_this {
            journal.commit(Record::Frame(number, Arc::new(frame.clone()))).await.expect("it is stored");
        }
        frames.insert(number, of_this);
    }
    // 1 and 2 have ended, 3 is purged, 4 and 5 run.
    for number in [1, 2] {
        journal.commit(Record::End(number, ended())).await.expect("it is stored");
    }
    journal.commit(Record::Bury(3, u64::MAX / 4)).await.expect("it is stored");
    content(&*journal, 1, 8).await.expect("it is there");
    let files = FILES.map(|suffix| fs::read(beside(&path, suffix)).unwrap_or_default());
    drop(journal);
    Killed { files, frames }
}

fn about(number: Number) -> Arc<About> {
    Arc::new(About {
        number,
        id: Id::parse(&format!("stream-{number}")).expect("an id"),
        tenant: "tenant".into(),
        provider: "provider".into(),
        metadata: RawValue::from_string(r#"{"a":1}"#.into()).ok(),
        ttl_s: 60,
        started_ms: 1_000,
        key: Some(format!("key-{number}").into()),
        fingerprint: [7; 32],
    })
}

pub(super) fn frame(number: Number, first: Seq) -> Frame {
    let text = format!("<{number}:{first}>").repeat(8);
    let ends = [text.len() as u32].into_iter().collect();
    let event = Event::Prose { choice: 0, kind: Prose::Text, text: text.as_str().into() };
    let events = [(first, event)].into_iter().collect();
    Frame { first, at_ms: first, bytes: text.into(), ends, events }
}

fn ended() -> Arc<Ended> {
    let end = End {
        why: Why::Completed,
        message: None,
        finish: Some("stop".into()),
        usage: None,
        blocks: 8,
        bytes: 320,
        hash: "hash".into(),
        at_ms: 99,
    };
    Arc::new(Ended { end, model: None, frames: 8, first_token_ms: None, upstream_id: None })
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
