//! Tickets that nobody has issued.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::auth::key::{self, Digest};
use crate::auth::scope::Scopes;
use crate::auth::{Config, Gate, Keyring, Only};
use crate::cast::id::Id;

const SECRET: [u8; 32] = [7; 32];

static GATE: LazyLock<Gate> = LazyLock::new(|| {
    let (name, tenant) = ("key".into(), "tenant".into());
    let key = key::Config { name, sha256: Digest::of("tck_key"), tenant, scopes: Scopes::ALL };
    let keyring = Keyring::open(&Config { keys: vec![key], ..Config::default() }, |_| None);
    Gate::new(keyring.expect("there is nothing to read"), &SECRET)
});

static ISSUED: LazyLock<String> = LazyLock::new(|| {
    let only = Only::Streams([Id::parse("stream").expect("an id")].into());
    GATE.tickets().issue("tenant", &only, Scopes::ALL, Duration::from_secs(86_400)).0
});

/// By its first byte the input is a credential, claims that are signed under the right secret, or changes to a ticket
/// that was issued. No forgery opens anything, and what is signed opens no more than it says.
pub fn ticket(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    match kind % 3 {
        0 => {
            let credential = String::from_utf8_lossy(rest);
            let granted = GATE.grant(Some(&credential));
            assert!(granted.is_err() || credential == *ISSUED || credential == "tck_key", "{credential}");
        }
        1 => claims(rest),
        _ => {
            let mut ticket = ISSUED.clone().into_bytes();
            for change in rest.chunks_exact(2) {
                let place = usize::from(change[0]) % ticket.len();
                ticket[place] = change[1];
            }
            let ticket = String::from_utf8_lossy(&ticket);
            assert!(GATE.grant(Some(&ticket)).is_err() || ticket == *ISSUED, "{ticket}");
        }
    }
}

fn claims(json: &[u8]) {
    let Ok(claims) = serde_json::from_slice::<&RawValue>(json) else { return };
    let key = EncodingKey::from_secret(&SECRET);
    let _ = LazyLock::force(&GATE);
    let Ok(ticket) = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key) else { return };
    let Ok(grant) = GATE.grant(Some(&ticket)) else { return };
    let claims: Value = serde_json::from_slice(json).expect("it was read");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64();
    let exp = claims["exp"].as_f64().expect("it expires");
    assert!(exp > now - 60.0, "{claims}");
    let is_audience = |audience: &Value| audience == "tokencast";
    let audience = &claims["aud"];
    assert!(is_audience(audience) || audience.as_array().is_some_and(|all| all.iter().any(is_audience)));
    assert_eq!(claims["tenant"], *grant.tenant);
    assert!(grant.start().is_err() && grant.purge().is_err() && grant.list().is_err());
    assert!(!grant.reaches(&Id::random()) || claims["prefix"].is_string());
    assert!(grant.stop().is_err() || claims["can"].to_string().contains("\"stop\""), "{claims}");
}
