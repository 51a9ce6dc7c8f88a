//! Isolates what it costs to know who asks: a credential in, a grant or a refusal out, as every request has it once. No
//! HTTP, no stream. `issue` is the ticket that the answer to each `POST` has.
//!
//! A refusal must not cost more than a grant, or whoever has nothing could keep us busy: `forged` has a signature that
//! is checked, `unknown` names a key that nobody has, and `noise` only looks like a ticket.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tokencast::auth::key::Digest;
use tokencast::auth::scope::Scopes;
use tokencast::auth::ticket::issuer::Algorithm;
use tokencast::auth::{Config, Gate, Keyring, Only, key};
use tokencast::cast::id::Id;

const KEY: &str = "tk_0123456789abcdefghijklmnopqrstuvwxyz0123456789";
const LIFETIME: Duration = Duration::from_secs(3600);

/// A gateway with this one key, which signs so.
fn gate(ticket_algorithm: Algorithm, secret: u8) -> Gate {
    let key = key::Config {
        name: "bench".into(),
        sha256: Digest::of(KEY),
        tenant: "tenant".into(),
        scopes: Scopes::ALL,
    };
    let config = Config { keys: vec![key], ticket_algorithm, ..Config::default() };
    Gate::new(Keyring::open(&config, |_| None).expect("it reads no file"), &[secret; 32])
}

fn tickets(c: &mut Criterion) {
    let only = Only::Streams([Id::random()].into());
    let issue = |gate: &Gate| gate.tickets().issue("tenant", &only, Scopes::ALL, LIFETIME).0;
    for (name, algorithm) in [("ed25519", Algorithm::EdDsa), ("hs256", Algorithm::Hs256)] {
        let (ours, theirs) = (gate(algorithm, 1), gate(algorithm, 2));
        let mut group = c.benchmark_group(format!("tickets/{name}"));
        group.bench_function("issue", |b| b.iter(|| issue(&ours)));
        for (name, ticket, is_good) in [("check", issue(&ours), true), ("forged", issue(&theirs), false)] {
            assert_eq!(ours.grant(Some(&ticket)).is_ok(), is_good, "{name}");
            group.bench_function(name, |b| b.iter(|| ours.grant(black_box(Some(&ticket)))));
        }
        group.finish();
    }

    let gate = gate(Algorithm::EdDsa, 1);
    let mut group = c.benchmark_group("tickets/others");
    // {"alg":"EdDSA","kid":"nobody"}
    let unknown = "eyJhbGciOiJFZERTQSIsImtpZCI6Im5vYm9keSJ9.e30.AAAA";
    let noise = ".".repeat(2) + &"x".repeat(4000);
    for (name, credential, is_good) in [
        ("key", KEY, true),
        ("unknown_key", "tk_x", false),
        ("unknown", unknown, false),
        ("noise", &noise, false),
    ] {
        assert_eq!(gate.grant(Some(credential)).is_ok(), is_good, "{name}");
        group.bench_function(name, |b| b.iter(|| gate.grant(black_box(Some(credential)))));
    }
    group.finish();
}

criterion_group!(benches, tickets);
criterion_main!(benches);
