//! Tickets that nobody has issued, and what those say that somebody has signed.

use std::sync::LazyLock;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::Value;

use crate::auth::clock::Clock;
use crate::auth::grant::Grant;
use crate::auth::key::{self, Digest};
use crate::auth::scope::Scopes;
use crate::auth::ticket::{issuer, seed};
use crate::auth::{Config, Gate, Keyring, Only};
use crate::cast::id::Id;

const NOW: Duration = Duration::from_secs(1_800_000_000);
const LEEWAY_S: u64 = 30;
const SECRET: [u8; 32] = [8; 32];

/// Of the app that has Ed25519, whose public key this is.
const SEED: [u8; 32] = [7; 32];
const PUBLIC_KEY: &str = "6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw";
/// Of the app that shares one with the gateway.
const SHARED: &str = "0123456789abcdef0123456789abcdef";

/// Somebody whose tickets are believed, and of which tenant only.
struct Signer {
    kid: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
    tenant: Option<&'static str>,
}

static SIGNERS: LazyLock<[Signer; 4]> = LazyLock::new(|| {
    let of = |kid, algorithm, key: &[u8], tenant| {
        let key = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_der(key),
            _ => EncodingKey::from_secret(key),
        };
        Signer { kid, algorithm, key, tenant }
    };
    [
        of("gateway-hs256", Algorithm::HS256, &SECRET, None),
        of("gateway", Algorithm::EdDSA, &seed(&SECRET), None),
        of("app", Algorithm::EdDSA, &SEED, Some("apps")),
        of("shared", Algorithm::HS256, SHARED.as_bytes(), Some("apps")),
    ]
});

static GATE: LazyLock<Gate> = LazyLock::new(|| {
    let (name, tenant) = ("key".into(), "tenant".into());
    let key = key::Config { name, sha256: Digest::of("tck_key"), tenant, scopes: Scopes::ALL };
    let app = issuer::Config {
        kid: "app".into(),
        algorithm: issuer::Algorithm::EdDsa,
        public_key: Some(PUBLIC_KEY.into()),
        secret_file: None,
        secret_env: None,
        tenant: "apps".into(),
        ttl_s_max: u32::MAX,
    };
    let (algorithm, secret_env) = (issuer::Algorithm::Hs256, Some("SHARED".into()));
    let shared =
        issuer::Config { kid: "shared".into(), algorithm, public_key: None, secret_env, ..app.clone() };
    let config = Config { keys: vec![key], ticket_keys: vec![app, shared], ..Config::default() };
    let keyring = Keyring::open(&config, |_| Some(SHARED.into())).expect("they are right");
    Gate::new(keyring.by(Clock::new(|| NOW)), &SECRET)
});

static ISSUED: LazyLock<String> = LazyLock::new(|| {
    let only = Only::Streams([Id::parse("stream").expect("an id")].into());
    GATE.tickets().issue("tenant", &only, Scopes::ALL, Duration::from_secs(86_400)).0
});

/// By its first byte the input is a credential, a header and claims, a line each, that one of those has signed who are
/// believed, or changes to a ticket that was issued. No forgery opens anything, and what is signed opens no more than
/// it says, and its signer may.
pub fn ticket(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    match kind % 6 {
        0 => {
            let credential = String::from_utf8_lossy(rest);
            let granted = GATE.grant(Some(&credential));
            assert!(granted.is_err() || credential == *ISSUED || credential == "tck_key", "{credential}");
        }
        5 => {
            let mut ticket = ISSUED.clone().into_bytes();
            for change in rest.chunks_exact(2) {
                let place = usize::from(change[0]) % ticket.len();
                ticket[place] = change[1];
            }
            let ticket = String::from_utf8_lossy(&ticket);
            assert!(GATE.grant(Some(&ticket)).is_err() || ticket == *ISSUED, "{ticket}");
        }
        signer => {
            let header = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let claims = rest.get(header.len() + 1..).unwrap_or_default();
            signed(&SIGNERS[usize::from(signer) - 1], header, claims);
        }
    }
}

fn signed(signer: &Signer, header: &[u8], claims: &[u8]) {
    let gate = &*GATE;
    let mut ticket = format!("{}.{}", base64url(header), base64url(claims));
    let signature =
        crypto::sign(ticket.as_bytes(), &signer.key, signer.algorithm).expect("a key of its kind");
    ticket.extend([".", &signature]);
    let Ok(grant) = gate.grant(Some(&ticket)) else { return };
    // In members that mean nothing may stand what is no text, and no number.
    let [Some(header), Some(claims)] = [header, claims].map(value) else { return };
    let is_earliest = header["kid"].is_null() && signer.kid == "gateway-hs256";
    assert!(header["kid"] == signer.kid || is_earliest, "{header}");
    assert_eq!(header["alg"], serde_json::to_value(signer.algorithm).expect("plain data is JSON"));
    says(&grant, &claims, signer);
}

fn value(json: &[u8]) -> Option<Value> {
    serde_json::from_str(&String::from_utf8_lossy(json)).ok()
}

/// What is granted stands there, and is for its signer to grant.
fn says(grant: &Grant, claims: &Value, signer: &Signer) {
    let [earliest, latest] = [NOW.as_secs() - LEEWAY_S, NOW.as_secs() + LEEWAY_S];
    assert!(claims["exp"].as_u64().is_some_and(|exp| exp > earliest), "{claims}");
    for begin in ["nbf", "iat"] {
        assert!(claims[begin].as_u64().is_none_or(|begin| begin <= latest), "{claims}");
    }
    let is_audience = |audience: &Value| audience == "tokencast";
    let audience = &claims["aud"];
    assert!(is_audience(audience) || audience.as_array().is_some_and(|all| all.iter().any(is_audience)));
    match signer.tenant {
        None => assert_eq!(claims["tenant"], *grant.tenant),
        Some(own) => {
            assert_eq!(&*grant.tenant, own);
            assert!(claims["tenant"].is_null() || claims["tenant"] == own, "{claims}");
        }
    }
    assert!(grant.start().is_err() && grant.purge().is_err() && grant.list().is_err());
    let can = |what: &str| claims["can"].as_array().map(|can| can.iter().any(|word| word == what));
    assert_eq!(
        (grant.read().is_ok(), grant.stop().is_ok()),
        (can("watch") != Some(false), can("stop") == Some(true))
    );
    for id in ["stream", "s", "other"] {
        let is_named = claims["stream"] == id
            || claims["streams"].as_array().is_some_and(|ids| ids.iter().any(|one| one == id))
            || claims["prefix"].as_str().is_some_and(|prefix| id.starts_with(prefix));
        assert_eq!(grant.reaches(&Id::parse(id).expect("an id")), is_named, "{claims}");
    }
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        let digits =
            (0..=chunk.len()).map(|place| char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]));
        text.extend(digits);
    }
    text
}
