//! A log in the journal, read piece by piece, against the same log in memory.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{about, cast, frame, now};
use crate::cast::Cast;
use crate::cast::account::Stake;
use crate::cast::block::Seq;
use crate::cast::durable::{
    Commit, Content, Durable, Ended, Load, Mark, Number, Record, StorageError, committed,
};
use crate::cast::end::Outcome;
use crate::cast::frame::Frame;
use crate::cast::hub::asleep::Asleep;
use crate::cast::log::{Log, Read};
use crate::cast::memory::Budget;
use crate::cast::pages::{Page, Unread};
use crate::view::View;

/// A journal that has one stream, in pieces.
#[derive(Debug, Default)]
struct Shelf {
    pieces: Vec<Vec<Frame>>,
    loads: AtomicUsize,
    is_gone: AtomicBool,
}

impl Durable for Shelf {
    fn commit(&self, _record: Record) -> Commit {
        committed()
    }

    fn content(&self, _number: Number) -> Load<Content> {
        let (mut begin, mut id, mut marks) = (0, 0, Vec::new());
        for frames in &self.pieces {
            let (first, last) = (frames[0].first, frames[frames.len() - 1].last());
            marks.push(Mark { first, last, begin, id });
            begin += frames.iter().map(|frame| frame.bytes.len() as u64).sum::<u64>();
            id = frames.iter().flat_map(|frame| &frame.events).last().map_or(id, |(seq, _)| *seq);
        }
        Box::pin(ready(Ok(Content::Pieces(marks))))
    }

    fn piece(&self, _number: Number, first: Seq) -> Load<Vec<Frame>> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let found = self.pieces.iter().find(|frames| frames[0].first == first);
        let found = found.filter(|_| !self.is_gone.load(Ordering::Relaxed));
        Box::pin(ready(Ok(found.cloned().unwrap_or_default())))
    }

    fn keeps_content(&self) -> bool {
        true
    }

    fn used_bytes(&self) -> u64 {
        0
    }

    fn trouble(&self) -> Option<StorageError> {
        None
    }
}

/// Frames of all sizes, some of which mean nothing; the first piece begins with one of those.
fn pieces() -> Vec<Vec<Frame>> {
    let texts: [&[&str]; 9] = [
        &["", ""],
        &["a"],
        &["b", "", "cc"],
        &[""],
        &["ddd", "e"],
        &["", "f"],
        &["g", "h", "i", "j"],
        &["", "", ""],
        &["k"],
    ];
    let (mut first, mut pieces) = (1, vec![Vec::new()]);
    for (place, texts) in texts.iter().enumerate() {
        if place % 2 == 0 && place > 0 {
            pieces.push(Vec::new());
        }
        let frame = frame(first, texts);
        first = frame.last() + 1;
        pieces.last_mut().unwrap().push(frame);
    }
    pieces
}

/// The same stream, in memory and in the journal.
fn both(budget: &Arc<Budget>) -> (Cast, Cast, Arc<Shelf>) {
    both_of(pieces(), budget)
}

fn both_of(pieces: Vec<Vec<Frame>>, budget: &Arc<Budget>) -> (Cast, Cast, Arc<Shelf>) {
    let journal = Arc::new(Shelf { pieces, ..Shelf::default() });
    let (whole, mut producer) = cast();
    for frame in journal.pieces.concat() {
        now(producer.append(frame)).unwrap();
    }
    now(producer.end(Outcome::completed(), super::STALL));
    let paged = now(asleep(&whole, &journal.pieces).wake(journal.clone(), budget)).unwrap();
    (whole, paged, journal)
}

/// What is known of a cast whose content is in these pieces.
fn asleep(whole: &Cast, pieces: &[Vec<Frame>]) -> Asleep {
    let frames = Log::of(pieces.concat()).frames();
    let end = crate::cast::end::End::clone(&whole.end().unwrap());
    let ended = Ended { end, model: None, frames, first_token_ms: None, upstream_id: None };
    let expires = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    Asleep::new(Arc::new(about("cast")), None, ended, expires, Stake::unlimited())
}

/// What is said behind a cursor, batch by batch, up to the end.
async fn said(cast: &Cast, view: View, after: Seq, bytes_max: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut cursor, mut page, mut said) = (after, Page::default(), Vec::new());
    loop {
        match cast.read_on(view.source(), cursor, bytes_max, &mut page).await.unwrap() {
            Read::Batch { bytes, upto, .. } => {
                assert!(upto > cursor);
                said.extend_from_slice(&bytes);
                cursor = upto;
            }
            Read::End { bytes, .. } => return (said, bytes.to_vec()),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_log_in_pieces_says_what_the_whole_one_says() {
    let budget = Budget::new(1 << 30);
    let (whole, paged, _journal) = both(&budget);
    let tail = whole.tail();
    for view in [View::Events, View::Lines, View::Poll, View::Packed, View::Raw, View::Text] {
        for after in 0..=tail {
            for bytes_max in [1, 50, usize::MAX] {
                let one = said(&whole, view, after, bytes_max).await;
                let other = said(&paged, view, after, bytes_max).await;
                assert_eq!(one, other, "{view:?} after {after}");
            }
        }
    }
    // What it says of a frame depends on all before it, which is in pieces that are not in memory any more.
    for bytes_max in [1, 50, usize::MAX] {
        assert_eq!(said(&whole, View::Ui, 0, bytes_max).await, said(&paged, View::Ui, 0, bytes_max).await);
    }
    let (_, anew, _journal) = both(&budget);
    let at_the_end = said(&anew, View::Ui, tail, 1).await;
    assert_eq!(at_the_end, said(&whole, View::Ui, tail, 1).await, "also for whoever comes to the end alone");
    for offset in 0..=whole.bytes() + 1 {
        assert_eq!(whole.at_offset(offset).await, paged.at_offset(offset).await, "{offset}");
    }
    for after in 0..=tail {
        assert_eq!(whole.offset(after).await, paged.offset(after).await, "{after}");
    }
    let state = async |cast: &Cast| {
        let look = cast.look(|now| {
            let choices = serde_json::to_value(&now.fold.choices).unwrap();
            (choices, now.log.hash(), now.log.frames(), now.log.bytes(), now.log.tail())
        });
        look.await.unwrap()
    };
    assert_eq!(state(&whole).await, state(&paged).await);
}

#[tokio::test]
async fn a_piece_is_in_memory_while_somebody_reads_it() {
    let budget = Budget::new(1 << 30);
    let (_whole, paged, journal) = both(&budget);
    let idle = budget.held();
    let loads = || journal.loads.swap(0, Ordering::Relaxed);
    let read =
        async |page: &mut Page, after| paged.read_on(View::Raw.source(), after, 1, page).await.unwrap();
    let (mut one, mut other) = (Page::default(), Page::default());
    read(&mut one, 0).await;
    read(&mut other, 1).await;
    assert_eq!(loads(), 1, "two who are at the same place share it");
    let with_one = budget.held();
    assert!(with_one > idle);
    read(&mut one, 7).await;
    assert_eq!(loads(), 1);
    drop((one, other));
    // Where memory is short nothing stays for those who may come.
    let mut others = budget.share();
    others.hold(1 << 30);
    let rest = budget.held();
    let mut page = Page::default();
    for after in 0..paged.tail() {
        read(&mut page, after).await;
        assert!(budget.held() < rest + 2 * (with_one - idle), "one at a time");
    }
    drop((page, others, paged));
    assert_eq!(budget.held(), 0, "and then none");
}

#[tokio::test]
async fn what_is_gone_or_does_not_fit_is_said() {
    let budget = Budget::new(1 << 30);
    let (_whole, paged, journal) = both(&budget);
    let read = || now(paged.read_on(View::Raw.source(), 0, 1, &mut Page::default())).map(drop);
    journal.is_gone.store(true, Ordering::Relaxed);
    assert_eq!(read(), Err(Unread::Gone));
    journal.is_gone.store(false, Ordering::Relaxed);
    paged.erase();
    let gone = now(paged.read_on(View::Raw.source(), 0, 1, &mut Page::default()));
    assert!(matches!(gone, Ok(Read::Gone)), "{gone:?}");
}

/// Without its first piece it would be told from there on by everything that needs all of it, as a snapshot does.
#[tokio::test]
async fn what_lacks_a_piece_is_damaged() {
    let budget = Budget::new(1 << 30);
    let (whole, _, journal) = both(&budget);
    for lost in 0..journal.pieces.len() {
        let mut pieces = journal.pieces.clone();
        pieces.remove(lost);
        let woken = now(
            asleep(&whole, &journal.pieces).wake(Arc::new(Shelf { pieces, ..Shelf::default() }), &budget)
        );
        let error = woken.map(drop).unwrap_err();
        assert!(error.to_string().contains("damaged"), "{lost}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_for_those_who_may_come_makes_room_for_those_who_are_there() {
    let long = "x".repeat(5000);
    let pieces = || (1..=3).map(|seq| vec![frame(seq, &[&long])]).collect::<Vec<_>>();
    let ample = Budget::new(1 << 30);
    let (whole, paged, _journal) = both_of(pieces(), &ample);
    let mut page = Page::default();
    paged.read_on(View::Events.source(), 0, 1, &mut page).await.unwrap();
    // The first piece can be loaded, and has used up everything once it is rendered.
    let scarce = Budget::new(ample.held() / 8 * 7);
    let (_, paged, _journal) = both_of(pieces(), &scarce);
    assert_eq!(said(&paged, View::Events, 0, 1).await, said(&whole, View::Events, 0, 1).await);
}

#[tokio::test(start_paused = true)]
async fn a_piece_waits_for_room_and_not_for_ever() {
    let budget = Budget::new(100_000);
    let (_whole, paged, _journal) = both(&budget);
    let mut full = budget.share();
    full.hold(1_000_000);
    let mut page = Page::default();
    let read = paged.read_on(View::Raw.source(), 0, 1, &mut page);
    assert_eq!(read.await.map(drop), Err(Unread::Full));
    let waiting = paged.read_on(View::Raw.source(), 0, 1, &mut page);
    let freeing = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        drop(full);
    };
    let (read, ()) = tokio::join!(waiting, freeing);
    assert!(matches!(read, Ok(Read::Batch { upto: 2, .. })), "{read:?}");
}
