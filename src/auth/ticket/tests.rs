use serde_json::json;

use super::claims::Bounds;
use super::issuer::Config;
use super::*;
use crate::auth::scope::Scope;
use crate::cast::id::Id;
use crate::crypto::{hex, random};

/// `openssl pkey -pubout` of the key whose seed are 32 bytes of 7.
const PEM: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=
-----END PUBLIC KEY-----
";
const RAW: &str = "6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw";

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What claims grant at second 1000, to an issuer of tenant `t` whose tickets may live for 100 s.
fn granted(claims: &serde_json::Value) -> Result<Grant, Denied> {
    let bounds = Bounds { tenant: Some("t".into()), lifetime_max: at(100) };
    serde_json::from_value::<Claims>(claims.clone()).map_err(|_| Denied::BadTicket)?.grant(&bounds, at(1000))
}

#[test]
fn times_count_with_leeway() {
    for (claims, expected) in [
        (json!({ "exp": 1001 }), None),
        (json!({ "exp": 971 }), None),
        (json!({ "exp": 970 }), Some("expired")),
        (json!({ "exp": 0 }), Some("expired")),
        (json!({ "exp": 1130 }), None),
        (json!({ "exp": 1131 }), Some("ttl_s_max")),
        (json!({ "exp": u64::MAX }), Some("ttl_s_max")),
        (json!({ "exp": 1050, "nbf": 1030, "iat": 1030 }), None),
        (json!({ "exp": 1050, "nbf": 1031 }), Some("nbf")),
        (json!({ "exp": 1050, "nbf": u64::MAX }), Some("nbf")),
        (json!({ "exp": 1050, "iat": 1031 }), Some("iat")),
    ] {
        let mut whole = claims.clone();
        whole["stream"] = json!("s");
        match (granted(&whole), expected) {
            (Ok(grant), None) => assert!(grant.expires.is_some()),
            (Err(denied), Some(part)) => assert!(denied.to_string().contains(part), "{claims}: {denied}"),
            (granted, _) => panic!("{claims}: {granted:?}"),
        }
    }
}

#[test]
fn a_ticket_names_its_streams_in_one_way() {
    let reaches = |claims: serde_json::Value, id: &str| {
        let mut whole = claims;
        whole["exp"] = json!(1050);
        granted(&whole).map(|grant| grant.reaches(&Id::parse(id).unwrap()))
    };
    assert!(reaches(json!({ "stream": "a" }), "a").unwrap());
    assert!(!reaches(json!({ "stream": "a" }), "A").unwrap(), "letter by letter");
    assert!(!reaches(json!({ "stream": "a" }), "ab").unwrap());
    assert!(reaches(json!({ "streams": ["a", "b"] }), "b").unwrap());
    assert!(reaches(json!({ "prefix": "user42-" }), "user42-1").unwrap());
    assert!(reaches(json!({ "prefix": "user42-" }), "user42-").unwrap());
    for other in ["user4", "user42", "user421-1", "USER42-1", "a-user42-1"] {
        assert!(!reaches(json!({ "prefix": "user42-" }), other).unwrap(), "{other}");
    }
    let long = "x".repeat(65);
    for bad in [
        json!({}),
        json!({ "stream": "" }),
        json!({ "stream": "*" }),
        json!({ "stream": ["a"] }),
        json!({ "streams": [] }),
        json!({ "streams": ["a", ""] }),
        json!({ "streams": "a" }),
        json!({ "prefix": "" }),
        json!({ "prefix": "user42*" }),
        json!({ "prefix": "../" }),
        json!({ "prefix": long }),
        json!({ "prefix": "a", "stream": "a" }),
        json!({ "streams": ["a"], "stream": "a" }),
        json!({ "stream": "a", "tenant": "T" }),
        json!({ "stream": "a", "tenant": "" }),
        json!({ "stream": "a", "can": ["start"] }),
        json!({ "stream": "a", "can": ["WATCH"] }),
        json!({ "stream": "a", "can": "watch" }),
        json!({ "stream": "a", "can": [] }),
        json!({ "stream": "a", "can": null }),
        json!({ "stream": "a", "tenant": null }),
        json!({ "stream": "a", "nbf": null }),
        json!({ "stream": "a", "iat": null }),
        json!({ "stream": "a", "streams": null }),
        json!({ "stream": "a", "prefix": null }),
        json!({ "stream": null, "prefix": "a" }),
    ] {
        assert!(reaches(bad.clone(), "a").is_err(), "{bad}");
    }
}

#[test]
fn a_ticket_may_what_it_says() {
    for (can, read, stop) in [
        (None, true, false),
        (Some(json!(["watch"])), true, false),
        (Some(json!(["stop"])), false, true),
        (Some(json!(["stop", "watch", "watch"])), true, true),
    ] {
        let mut claims = json!({ "exp": 1050, "stream": "a", "tenant": "t" });
        claims.as_object_mut().unwrap().extend(can.map(|can| ("can".into(), can)));
        let grant = granted(&claims).unwrap();
        assert_eq!((grant.read().is_ok(), grant.stop().is_ok()), (read, stop), "{claims}");
    }
}

fn issuer(more: &serde_json::Value) -> Result<Issuer, String> {
    let mut config = json!({ "kid": "app" });
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    let config: Config = serde_json::from_value(config).map_err(|error| error.to_string())?;
    Issuer::of(&config, "tokencast", variable)
}

fn variable(name: &str) -> Option<String> {
    (name == "SECRET").then(|| SECRET.into())
}

/// The tickets of a gateway to which these apps are known.
fn tickets(apps: serde_json::Value, algorithm: Algorithm, secret: [u8; 32]) -> Tickets {
    let ticket_keys = serde_json::from_value(apps).unwrap();
    let config = crate::auth::Config { ticket_keys, ..crate::auth::Config::default() };
    Tickets::new(
        Arc::new(Keys::open(&config, variable).unwrap()),
        "tokencast",
        algorithm,
        &secret,
        Clock::default(),
    )
}

#[test]
fn an_issuer_has_one_key_that_fits_its_algorithm() {
    for good in [
        json!({ "public_key": PEM }),
        json!({ "public_key": RAW }),
        json!({ "public_key": RAW, "algorithm": "EdDSA", "tenant": "a", "ttl_s_max": 1 }),
        json!({ "algorithm": "HS256", "secret_env": "SECRET" }),
    ] {
        issuer(&good).unwrap();
    }
    let private = PEM.replace("PUBLIC", "PRIVATE");
    // The key is one of P-256.
    let other =
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEAAAA\n-----END PUBLIC KEY-----\n";
    for (bad, problem) in [
        (json!({}), "public_key"),
        (json!({ "public_key": "" }), "Ed25519"),
        (json!({ "public_key": &RAW[1..] }), "Ed25519"),
        (json!({ "public_key": format!("{RAW}AA") }), "Ed25519"),
        (json!({ "public_key": format!("{RAW}=") }), "Ed25519"),
        (json!({ "public_key": private }), "private key"),
        (json!({ "public_key": other }), "Ed25519"),
        (json!({ "public_key": RAW, "secret_env": "SECRET" }), "no secret"),
        (json!({ "public_key": RAW, "algorithm": "HS256" }), "no public_key"),
        (json!({ "public_key": RAW, "algorithm": "HS256", "secret_env": "SECRET" }), "no public_key"),
        (json!({ "public_key": RAW, "algorithm": "none" }), "none"),
        (json!({ "public_key": RAW, "algorithm": "hs256" }), "hs256"),
        (json!({ "algorithm": "HS256", "secret_env": "OTHER" }), "OTHER is not set"),
        (json!({ "algorithm": "HS256", "secret_file": "/nowhere" }), "secret_file = \"/…\""),
        (json!({ "algorithm": "HS256", "secret": "here" }), "secret"),
        (json!({ "public_key": RAW, "kid": "" }), "kid"),
        (json!({ "public_key": RAW, "kid": "../key" }), "kid"),
        (json!({ "public_key": RAW, "kid": "x".repeat(65) }), "kid"),
        (json!({ "public_key": RAW, "kid": "gateway" }), "another name"),
        (json!({ "public_key": RAW, "ttl_s_max": 0 }), "at least 1"),
    ] {
        let refused = issuer(&bad).unwrap_err();
        assert!(refused.contains(problem), "{bad}: {refused}");
    }
}

#[test]
fn a_secret_is_private_and_long_enough() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("tokencast-{}", hex(&random::<8>())));
    let with = |text: &str, mode| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        issuer(&json!({ "algorithm": "HS256", "secret_file": path }))
    };
    let secret = SECRET;
    assert!(with(secret, 0o600).is_ok());
    assert!(with(secret, 0o644).unwrap_err().contains("chmod "));
    assert!(with(&secret[1..], 0o600).unwrap_err().contains("31 bytes"));
    assert!(with(&format!("{}\n", &secret[1..]), 0o600).unwrap_err().contains("31 bytes"));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn what_an_app_signs_is_believed() {
    let only = Only::Prefix(Id::parse("user42-").unwrap());
    // PKCS #8, as `openssl genpkey -algorithm ed25519` has it: the seed is 32 bytes of 7.
    let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n\
                   -----END PRIVATE KEY-----\n";
    let apps = json!([
        { "kid": "ed", "public_key": PEM },
        { "kid": "hs", "algorithm": "HS256", "secret_env": "SECRET" },
    ]);
    let tickets = tickets(apps, Algorithm::EdDsa, random());
    let scopes = [Scope::Read].into_iter().collect();
    for (kid, key, is_right) in
        [("ed", private, true), ("hs", SECRET, true), ("hs", private, false), ("ed", SECRET, false)]
    {
        let signer = Signer::app(kid, key.as_bytes(), "tokencast").unwrap();
        let (ticket, _) = signer.sign(crate::auth::OPEN_TENANT, &only, scopes, at(60));
        assert_eq!(tickets.check(&ticket).is_ok(), is_right, "{kid}");
        let (ticket, _) = signer.sign("another", &only, scopes, at(60));
        assert!(tickets.check(&ticket).is_err(), "{kid} has one tenant");
        let elsewhere = Signer::app(kid, key.as_bytes(), "elsewhere").unwrap();
        assert!(tickets.check(&elsewhere.sign("default", &only, scopes, at(60)).0).is_err(), "{kid}");
    }
    assert!(
        Signer::app("ed", PEM.as_bytes(), "tokencast").is_err()
            && Signer::app("hs", b"short", "tokencast").is_err()
    );
}

#[test]
fn the_gateway_believes_itself_whichever_way_it_signs() {
    let (secret, only) = (random(), Only::Streams([Id::random(), Id::random()].into()));
    let scopes = [Scope::Read, Scope::Stop].into_iter().collect();
    let tickets = |algorithm, secret| tickets(json!([]), algorithm, secret);
    for signs in [Algorithm::EdDsa, Algorithm::Hs256] {
        let (ticket, _) = tickets(signs, secret).issue("t", &only, scopes, at(60));
        for other in [Algorithm::EdDsa, Algorithm::Hs256] {
            let grant = tickets(other, secret).check(&ticket).unwrap();
            assert_eq!((&*grant.tenant, grant.only), ("t", Some(only.clone())));
            assert!(tickets(other, random()).check(&ticket).is_err(), "another gateway");
        }
        let (endless, _) = tickets(signs, secret).issue("t", &only, scopes, Duration::MAX);
        assert!(tickets(signs, secret).check(&endless).is_ok());
    }
    // As earlier versions have made them, and their databases still have the secret.
    let key = EncodingKey::from_secret(&secret);
    let claims = json!({ "aud": "tokencast", "exp": 4_000_000_000_u64, "tenant": "t", "stream": "s", "can": ["watch"] });
    let old = jsonwebtoken::encode(&Header::new(jsonwebtoken::Algorithm::HS256), &claims, &key).unwrap();
    assert!(tickets(Algorithm::EdDsa, secret).check(&old).is_ok());
}

#[test]
fn a_key_for_which_everybody_can_sign_is_refused() {
    // The points of small order, in all spellings.
    for key in [
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA",
        "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",
        "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_IU",
        "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o",
        "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA_o",
        "7P_______________________________________38",
        "7P________________________________________8",
        "7f_______________________________________38",
        "7f________________________________________8",
        "7v_______________________________________38",
        "7v________________________________________8",
    ] {
        let problem = issuer(&json!({ "public_key": key })).unwrap_err();
        assert!(problem.contains("small order"), "{key}: {problem}");
    }
}
