//! Quotas in virtual time, and what a stream is thought to have cost.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::advance;

use crate::cast::account::{Account, House, Quotas, Reached, Spent, Stake, tokens_in};
use crate::cast::end::{End, Why};
use crate::cast::event::{Event, Prose, Usage};
use crate::cast::fold::Fold;
use crate::journal::memory::Memory;

fn account(quotas: Quotas) -> Arc<Account> {
    Account::new("tenant".into(), quotas, House::new(3, 2))
}

/// Which limit is in the way, and for how many milliseconds.
fn start(account: &Arc<Account>) -> Result<Arc<Stake>, (&'static str, u128)> {
    account.start(0, true).map_err(|Reached { key, retry_after, .. }| (key, retry_after.as_millis()))
}

#[tokio::test(start_paused = true)]
async fn starts_are_refilled_evenly() {
    let account = account(Quotas { starts_per_minute: Some(4), ..Quotas::default() });
    for _ in 0..4 {
        start(&account).unwrap();
    }
    let refused = |ms| Err(("quotas.starts_per_minute", ms));
    assert_eq!(start(&account).map(drop), refused(15_000));
    advance(Duration::from_secs(10)).await;
    assert_eq!(start(&account).map(drop), refused(5_000), "what was refused costs nothing");
    advance(Duration::from_secs(5)).await;
    start(&account).unwrap();
    assert_eq!(start(&account).map(drop), refused(15_000));
    advance(Duration::from_secs(3600)).await;
    for _ in 0..4 {
        start(&account).unwrap();
    }
    assert_eq!(start(&account).map(drop), refused(15_000), "no more than a minute has");
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_leaves_no_trace() {
    let quotas = Quotas { running_max: Some(1), starts_per_minute: Some(2), ..Quotas::default() };
    let account = account(quotas);
    let first = start(&account).unwrap();
    for _ in 0..10 {
        assert_eq!(start(&account).unwrap_err().0, "quotas.running_max");
    }
    first.finish();
    first.finish();
    assert_eq!(account.running(), 0);
    start(&account).unwrap();
    assert_eq!(start(&account).unwrap_err().0, "quotas.starts_per_minute");
    assert_eq!(account.running(), 0, "it was dropped");
}

#[test]
fn what_is_kept_is_given_back_once() {
    let account = account(Quotas { retained_bytes_max: Some(100), ..Quotas::default() });
    let (one, other) = (account.keep(60), account.keep(0));
    other.retain(40);
    assert_eq!(start(&account).unwrap_err().0, "quotas.retained_bytes_max");
    one.release();
    one.release();
    assert_eq!(account.retained_bytes(), 40);
    // What comes behind a purge is given back with the stream.
    one.retain(5);
    drop((one, other));
    assert_eq!(account.retained_bytes(), 0);
}

#[test]
fn a_day_has_so_many_tokens() {
    let account = account(Quotas { tokens_per_day: Some(10), ..Quotas::default() });
    account.remember(Spent { counted: 4, estimated: 3 });
    start(&account).unwrap();
    account.spend(Spent { counted: u64::MAX, estimated: 3 }, &Memory);
    let (key, wait) = start(&account).unwrap_err();
    assert_eq!((key, account.spent().total()), ("quotas.tokens_per_day", u64::MAX));
    assert!(wait <= 86_400_000);
}

#[test]
fn what_no_provider_has_counted_is_estimated() {
    let spent = |why: Why, blocks: u64, said: &str, usage: Option<(Option<u64>, Option<u64>)>| {
        let mut fold = Fold::default();
        fold.apply(&Event::Prose { choice: 0, kind: Prose::Text, text: said.into() });
        let usage = usage.map(|(input, output)| Usage { input, output });
        let (message, finish, hash) = (None, None, String::new());
        let end = End { why, message, finish, usage, blocks, bytes: 0, hash, at_ms: 0 };
        let Spent { counted, estimated } = Spent::by(&end, &fold, 50);
        (counted, estimated)
    };
    let long = "x".repeat(400);
    assert_eq!(spent(Why::Completed, 9, &long, Some((Some(7), Some(3)))), (10, 0));
    assert_eq!(spent(Why::Completed, 9, &long, Some((None, Some(3)))), (3, 50));
    for lie in [(1 << 24) + 1, 1 << 63, u64::MAX] {
        assert_eq!(spent(Why::Completed, 9, &long, Some((Some(lie), Some(3)))), (3, 50), "{lie}");
        assert_eq!(spent(Why::Completed, 9, &long, Some((Some(7), Some(lie)))), (7, 100), "{lie}");
    }
    assert_eq!(spent(Why::Completed, 9, "", Some((Some(1 << 24), None))), (1 << 24, 9));
    assert_eq!(spent(Why::Completed, 9, &long, None), (0, 150), "a token has some four bytes");
    assert_eq!(spent(Why::Stopped, 200, "", None), (0, 250), "or a block of its own");
    assert_eq!(spent(Why::Stopped, 9, &long, Some((Some(7), Some(1)))), (8, 99), "counted at its beginning");
    assert_eq!(spent(Why::UpstreamStatus, 0, "", None), (0, 0), "nothing was taken");
    assert_eq!(spent(Why::Stopped, 0, "", None), (0, 50), "it may have been");
}

#[test]
fn a_picture_is_no_text() {
    let picture = "iVBORw0KGgo+/9".repeat(1000);
    assert_eq!(tokens_in(b"four"), 1);
    assert_eq!(tokens_in("x y ".repeat(1000).as_bytes()), 1000);
    let request = format!("{{\"url\":\"data:image/png;base64,{picture}\"}}");
    assert!((200..300).contains(&tokens_in(request.as_bytes())), "{}", tokens_in(request.as_bytes()));
}
