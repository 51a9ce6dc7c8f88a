//! A gateway, its provider and its viewers in a world of their own, made from a seed: what is said, cut, stalled, lost
//! and restarted, and when. The gateway is the one that is shipped, from reqwest through hyper to the sockets, but for
//! two things: its journal is a [`ledger`], which loses what was not committed, and its sockets are pairs of the kernel,
//! which deliver at once, so that time can be virtual: one runtime for the gateway, which a crash drops, and one for
//! the world, turn and turn about. WebTransport is not in it: QUIC has a time of its own (tests/gateway, tests/browser).
//!
//! `TOKENCAST_SEEDS=N` runs so many seeds, `TOKENCAST_SEED=n` that one, and prints what happened in it.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test is a failure of it")]
#![expect(clippy::print_stdout, reason = "seeds and traces are for people")]

mod check;
mod diary;
#[allow(dead_code, reason = "here tickets are all of one kind")]
#[path = "../gateway/forge.rs"]
mod forge;
mod ledger;
mod network;
mod plan;
mod provider;
mod script;
mod starter;
mod viewer;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use self::diary::Diaries;
use self::world::World;

/// Seeds of a usual run.
const SEEDS: u64 = 200;
/// Seeds that are run twice.
const TWICE: u64 = 8;

/// One seed that fails is enough to look at.
static HAS_FAILED: AtomicBool = AtomicBool::new(false);

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} = {text}: write a number")))
}

/// Runs one seed, and says which one it was and what happened if anything was not as it should be.
fn run(seed: u64) -> Diaries {
    let diaries = Diaries::default();
    let ran = catch_unwind(AssertUnwindSafe(|| World::new(seed, &diaries).run()));
    if let Err(cause) = ran {
        HAS_FAILED.store(true, Ordering::Relaxed);
        println!(
            "{}\nseed {seed} fails: TOKENCAST_SEED={seed} cargo test --test sim repeats it",
            diaries.tell()
        );
        std::panic::resume_unwind(cause);
    }
    diaries
}

#[test]
fn every_seed_keeps_every_promise() {
    if let Some(seed) = number("TOKENCAST_SEED") {
        println!("{}", run(seed).tell());
        return;
    }
    let seeds = number("TOKENCAST_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    // One process has one clock per thread: they do not disturb each other.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !HAS_FAILED.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    run(seed);
                }
            });
        }
    });
    let expired = viewer::EXPIRED.load(Ordering::Relaxed);
    println!("{expired} were sent away when their ticket was over");
    assert!(seeds < SEEDS || expired > 0, "it happens");
}

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in 0..TWICE {
        let (one, two) = (run(seed), run(seed));
        assert_eq!(one.hash(), two.hash(), "seed {seed}:\n{}", one.difference(&two));
    }
    assert_ne!(run(0).hash(), run(1).hash(), "another seed is another story");
}
