//! Tickets that apps make by themselves: those that open something, and those that must not.

use serde_json::{Value, json};
use tokencast::auth::key::{self, Digest};
use tokencast::auth::scope::Scopes;
use tokencast::auth::ticket::issuer;
use tokencast::config::Config;

use crate::forge::{Key, base64url, from_now};
use crate::gateway::{Gateway, Journal, config};
use crate::http::{Call, Protocol, Reply, within};
use crate::packed::{Control, Place, Record, Records};
use crate::provider::{Ending, Hold, Provider, Script};
use crate::says::{DONE, text};
use crate::viewing::{Transport, Viewing};

/// The app of tenant `default`, that of another tenant, and one that shares a secret.
const APP: u8 = 1;
const OTHER: u8 = 2;
const SECRET: &str = "a secret of at least 32 bytes, and no key";

/// With a key for everything, and with three apps.
fn with_apps(mut config: Config) -> Config {
    config.auth.keys = vec![key::Config {
        name: "key".into(),
        sha256: Digest::of("key"),
        tenant: "default".into(),
        scopes: Scopes::ALL,
    }];
    config.auth.ticket_keys = [
        json!({ "kid": "app", "public_key": base64url(Key::ed25519(APP).public()) }),
        json!({ "kid": "other", "public_key": base64url(Key::ed25519(OTHER).public()), "tenant": "other" }),
        json!({ "kid": "shared", "algorithm": "HS256", "secret_env": "SHARED" }),
    ]
    .map(|issuer| serde_json::from_value::<issuer::Config>(issuer).unwrap())
    .into();
    config
}

fn start(provider: &Provider, journal: Journal) -> Gateway {
    let config = with_apps(config(journal, &provider.base_url()));
    Gateway::start_with(&config, &[("SHARED", SECRET)])
}

/// Starts a stream under this id.
async fn stream(gateway: &Gateway, id: &str) {
    let envelope = json!({ "id": id, "request": { "model": "m" } }).to_string();
    assert_eq!(gateway.send(&Call::post(envelope).bearer("key")).await.status, 201);
}

async fn hanging() -> Provider {
    Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await
}

/// What the gateway answers a viewer with this ticket, each way that there is: 200, or the code.
async fn answers(gateway: &Gateway, id: &str, ticket: &str) -> Vec<String> {
    let url = format!("/v1/streams/{id}");
    let json = |target: &str| Call::get(target).header("accept", "application/json");
    let mut all = Vec::new();
    for call in [
        Call::get(format!("{url}/events")).bearer(ticket),
        Call::get(format!("{url}/events")).query("ticket", ticket),
        json(&format!("{url}/events")).bearer(ticket),
        Call::get(format!("{url}/raw")).bearer(ticket),
        Call::get(url.clone()).header("tokencast-key", ticket),
    ] {
        let reply = gateway.send(&call).await;
        all.push(if reply.status == 200 { "200".into() } else { code(reply).await });
    }
    // One after the other: a session each.
    let place = Place::of(gateway.http).await;
    let connection =
        place.connect(&format!("{url}?ticket={ticket}")).await.expect("a session, whatever is wrong");
    let stream = within("a stream", connection.accept_uni()).await.expect("a stream");
    all.push(match Records::new(stream, usize::MAX).next().await {
        Some(Record::Header(_)) => "200".into(),
        Some(Record::Error(error)) => error["code"].as_str().unwrap().into(),
        other => panic!("{other:?}"),
    });
    let connection = place.connect("/v1/session").await.expect("a session");
    let mut control = Control::greeted(&connection).await;
    control.say(&json!({ "type": "subscribe", "subscription": 1, "stream": id, "ticket": ticket })).await;
    let said = control.hear().await.expect("an answer");
    all.push(said["code"].as_str().unwrap_or("200").into());
    all
}

async fn code(reply: Reply) -> String {
    let (status, code) = reply.error().await;
    let expected = match &*code {
        "forbidden" => 403,
        "not_found" => 404,
        _ => 401,
    };
    assert_eq!(status, expected, "{code}");
    code
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_an_issuer_has_signed_opens_a_stream() {
    let provider = hanging().await;
    let gateway = start(&provider, Journal::Memory);
    stream(&gateway, "user42-a").await;
    let (app, other, shared) = (Key::ed25519(APP), Key::ed25519(OTHER), Key::secret(SECRET.as_bytes()));
    let claims = json!({ "aud": "tokencast", "exp": from_now(60), "stream": "user42-a" });
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let good = app.ticket("app", &claims);
    let (head, rest) = good.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let text = claims.to_string();
    let jwt = |header: &str| app.jwt(header, &text);
    // The last of 86 digits has four bits that mean nothing.
    let mut sloppy = signature.as_bytes().to_vec();
    *sloppy.last_mut().unwrap() += 1;
    let sloppy = String::from_utf8(sloppy).unwrap();
    let public = Key::secret(app.public());
    let public_text = Key::secret(base64url(app.public()).as_bytes());
    let twice = text.replacen('{', r#"{"stream":"user42-b","#, 1);
    let [exp_twice, aud_twice] = ["\"exp\":9999999999,", "\"aud\":\"tokencast\","]
        .map(|first| text.replacen('{', &format!("{{{first}"), 1));
    let fits = "x".repeat(2600);

    let opens = [
        ("EdDSA", good.clone()),
        ("HS256", shared.ticket("shared", &claims)),
        ("its own tenant", app.ticket("app", &with("tenant", json!("default")))),
        ("one of many audiences", app.ticket("app", &with("aud", json!(["else", "tokencast"])))),
        ("claims that are others' business", app.ticket("app", &with("jti", json!({ "a": [1] })))),
        ("long", app.ticket("app", &with("sub", json!(fits)))),
        (
            "keys that are brought along",
            jwt(r#"{"alg":"EdDSA","kid":"app","jku":"https://evil/","x5u":"https://evil/","x5c":["AA"]}"#),
        ),
        ("no type", jwt(r#"{"alg":"EdDSA","kid":"app"}"#)),
    ];
    for (name, ticket) in opens {
        assert_eq!(answers(&gateway, "user42-a", &ticket).await, ["200"; 7], "{name}");
    }

    let refused = [
        ("no algorithm", jwt(r#"{"alg":"none","kid":"app"}"#)),
        ("no algorithm, no signature", format!("{}.{body}.", base64url(br#"{"alg":"none","kid":"app"}"#))),
        ("NONE", format!("{}.{body}.", base64url(br#"{"alg":"NONE","kid":"app"}"#))),
        ("no signature", format!("{head}.{body}.")),
        ("HS256 under the public key", public.jwt(r#"{"alg":"HS256","kid":"app"}"#, &text)),
        ("HS256 under the public key as it is written", public_text.jwt(r#"{"alg":"HS256","kid":"app"}"#, &text)),
        ("EdDSA where HS256 is pinned", app.jwt(r#"{"alg":"EdDSA","kid":"shared"}"#, &text)),
        ("another algorithm of the family", shared.jwt(r#"{"alg":"HS384","kid":"shared"}"#, &text)),
        ("eddsa", jwt(r#"{"alg":"eddsa","kid":"app"}"#)),
        ("an algorithm that is a list", jwt(r#"{"alg":["EdDSA"],"kid":"app"}"#)),
        ("no kid", jwt(r#"{"alg":"EdDSA"}"#)),
        ("no kid, HS256", shared.jwt(r#"{"alg":"HS256"}"#, &text)),
        ("unknown kid", app.ticket("nobody", &claims)),
        ("empty kid", app.ticket("", &claims)),
        ("a kid that is a path", app.ticket("../../app", &claims)),
        ("a kid that is a device", shared.ticket("/dev/null", &claims)),
        ("a kid that is SQL", app.ticket("app' OR '1'='1", &claims)),
        ("another case", app.ticket("APP", &claims)),
        ("a zero behind the kid", app.ticket("app\\u0000", &claims)),
        ("the kid of the gateway", app.ticket("gateway", &claims)),
        ("the secret of the gateway", shared.ticket("gateway-hs256", &claims)),
        ("the key of another", other.ticket("app", &claims)),
        ("a key that is brought along", other.jwt(
            &json!({ "alg": "EdDSA", "kid": "app", "jwk": { "kty": "OKP", "crv": "Ed25519", "x": base64url(other.public()) } })
                .to_string(),
            &text,
        )),
        ("two heads in one", jwt(r#"{"alg":"EdDSA","kid":"app","kid":"other"}"#)),
        ("something critical", jwt(r#"{"alg":"EdDSA","kid":"app","crit":["b64"],"b64":false}"#)),
        ("no JSON", jwt("EdDSA")),
        ("a list", jwt("[]")),
        ("nested for ever", app.jwt(&"[".repeat(1000), &text)),
        ("audience: none", app.ticket("app", &without("aud"))),
        ("audience: another", app.ticket("app", &with("aud", json!("tokencast2")))),
        ("audience: another case", app.ticket("app", &with("aud", json!("Tokencast")))),
        ("audience: no text", app.ticket("app", &with("aud", json!({ "tokencast": true })))),
        ("audience: nobody", app.ticket("app", &with("aud", json!([])))),
        ("end: none", app.ticket("app", &without("exp"))),
        ("end: null", app.ticket("app", &with("exp", json!(null)))),
        ("end: a text", app.ticket("app", &with("exp", json!(from_now(60).to_string())))),
        ("end: a fraction", app.ticket("app", &with("exp", json!(from_now(60) as f64 + 0.5)))),
        ("end: negative", app.ticket("app", &with("exp", json!(-1)))),
        ("end: too far", app.ticket("app", &with("exp", json!(from_now(86_400 + 60))))),
        ("end: never", app.ticket("app", &with("exp", json!(u64::MAX)))),
        ("end: beyond numbers", app.jwt(r#"{"alg":"EdDSA","kid":"app"}"#, &text.replacen("\"exp\":", "\"exp\":1e400,\"x\":", 1))),
        ("not yet", app.ticket("app", &with("nbf", json!(from_now(90))))),
        ("made in the future", app.ticket("app", &with("iat", json!(from_now(90))))),
        ("another tenant", app.ticket("app", &with("tenant", json!("other")))),
        ("another case of the tenant", app.ticket("app", &with("tenant", json!("Default")))),
        ("no stream", app.ticket("app", &without("stream"))),
        ("no stream, and no prefix", app.ticket("app", &with("prefix", json!("")))),
        ("a stream and a prefix", app.ticket("app", &with("prefix", json!("user42-")))),
        ("a pattern", app.ticket("app", &with("stream", json!("user42-*")))),
        ("no tenant in words", app.ticket("app", &with("tenant", json!(null)))),
        ("may do nothing", app.ticket("app", &with("can", json!([])))),
        ("may do null", app.ticket("app", &with("can", json!(null)))),
        ("may do more", app.ticket("app", &with("can", json!(["watch", "admin"])))),
        ("a claim twice", app.jwt(r#"{"alg":"EdDSA","kid":"app"}"#, &twice)),
        ("an end twice", app.jwt(r#"{"alg":"EdDSA","kid":"app"}"#, &exp_twice)),
        ("an audience twice", app.jwt(r#"{"alg":"EdDSA","kid":"app"}"#, &aud_twice)),
        ("padding", format!("{good}==")),
        ("padding within", format!("{head}=.{body}.{signature}")),
        ("digits that are not canonical", format!("{head}.{body}.{sloppy}")),
        ("half a signature", format!("{head}.{body}.{}", &signature[..43])),
        ("another signature", format!("{head}.{body}.{}", base64url(&[0; 64]))),
        ("other claims under this signature", {
            let claims = base64url(with("stream", json!("user42-b")).to_string().as_bytes());
            format!("{head}.{claims}.{signature}")
        }),
        ("empty", "..".into()),
    ];
    for (name, ticket) in refused {
        assert_eq!(answers(&gateway, "user42-a", &ticket).await, ["invalid_ticket"; 7], "{name}");
    }
    // It does not fit into a URL either.
    let long = app.ticket("app", &with("sub", json!("x".repeat(3000))));
    let reply = gateway.send(&Call::get("/v1/streams/user42-a").bearer(&long)).await;
    assert_eq!((long.len() > 4096, &*code(reply).await), (true, "invalid_ticket"));
    let expired = app.ticket("app", &with("exp", json!(from_now(-31))));
    assert_eq!(answers(&gateway, "user42-a", &expired).await, ["ticket_expired"; 7]);
    let foreign = other.ticket("other", &claims);
    assert_eq!(
        answers(&gateway, "user42-a", &foreign).await,
        ["not_found"; 7],
        "its tenant has no such stream"
    );
    let blind = app.ticket("app", &with("can", json!(["stop"])));
    assert_eq!(answers(&gateway, "user42-a", &blind).await, ["forbidden"; 7], "it may stop, and see nothing");
    let metrics = Call::get("/metrics").send(Protocol::H1, gateway.ops).await.body.whole().await.0;
    assert!(String::from_utf8(metrics).unwrap().contains(r#"tokencast_denied_total{code="invalid_ticket"}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_reaches_the_streams_that_it_names_and_no_others() {
    let provider = hanging().await;
    let gateway = start(&provider, Journal::Memory);
    for id in ["user42-a", "user42-b", "user421-a", "User42-a", "user4"] {
        stream(&gateway, id).await;
    }
    let app = Key::ed25519(APP);
    let ticket = |name: &str, value: Value| {
        let mut claims = json!({ "aud": "tokencast", "exp": from_now(60), "can": ["watch", "stop"] });
        claims[name] = value;
        app.ticket("app", &claims)
    };
    let all = ["user42-a", "user42-b", "user421-a", "User42-a", "user4", "user42-", "nobody"];
    for (ticket, reached) in [
        (ticket("prefix", json!("user42-")), &all[..2]),
        (ticket("prefix", json!("user42")), &all[..3]),
        (ticket("streams", json!(["user42-b", "user4", "nobody"])), &["user42-b", "user4"]),
        (ticket("stream", json!("User42-a")), &["User42-a"]),
    ] {
        let place = Place::of(gateway.http).await;
        let connection = place.connect(&format!("/v1/session?ticket={ticket}")).await.expect("a session");
        let mut control = Control::greeted(&connection).await;
        for (number, id) in all.into_iter().enumerate() {
            let expected = if reached.contains(&id) { "200" } else { "not_found" };
            let reply = gateway.send(&Call::get(format!("/v1/streams/{id}/events")).bearer(&ticket)).await;
            let said = if reply.status == 200 { "200".into() } else { code(reply).await };
            assert_eq!(said, expected, "{id}");
            control.say(&json!({ "type": "subscribe", "subscription": number, "stream": id })).await;
            let said = control.hear().await.expect("an answer");
            assert_eq!(said["code"].as_str().unwrap_or("200"), expected, "{id} over one session");
        }
        let stop = async |id: &str| {
            let reply = gateway.send(&Call::delete(format!("/v1/streams/{id}")).bearer(&ticket)).await;
            reply.status
        };
        assert_eq!((stop(reached[0]).await / 100, stop("nobody").await), (2, 404));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewing_ends_with_its_ticket_and_goes_on_with_another() {
    // A long-poll under a ticket that is over has nothing more to say; the next one is told.
    for transport in [Transport::SseH1, Transport::SseH2, Transport::Quic] {
        let held = Hold::new();
        let script = Script::says(text("one").bytes).wait(&held).write(text("two").bytes).write(DONE);
        let provider = Provider::with(script).await;
        let gateway = start(&provider, Journal::Sqlite);
        stream(&gateway, "s").await;
        let app = Key::ed25519(APP);
        let ticket = |seconds| {
            app.ticket("app", &json!({ "aud": "tokencast", "exp": from_now(seconds), "stream": "s" }))
        };
        let target = |ticket: &str, after: u64| format!("/v1/streams/s/events?after={after}&ticket={ticket}");
        // 30 s are granted for clocks that differ: a second or two are left.
        let mut viewing = Viewing::open(transport, gateway.http, &target(&ticket(-28), 0)).await;
        let (mut seen, mut events) = (0, Vec::new());
        while let Some(event) = viewing.next().await {
            seen = event.id.unwrap_or(seen);
            events.push(event);
        }
        let bye = events.pop().expect("a bye");
        assert_eq!((&*bye.name, bye.id, &bye.data["code"]), ("bye", None, &json!("ticket_expired")));
        assert!(gateway.cast("s").end().is_none(), "the stream goes on");
        held.release();
        let again = Viewing::open(transport, gateway.http, &target(&ticket(60), seen)).await;
        events.extend(again.rest().await);
        assert_eq!(crate::fold::text(&events, 0), "onetwo", "{transport:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_first_block_waits_no_longer_than_the_ticket() {
    let held = Hold::new();
    let provider = Provider::with(Script::sse().wait(&held).write(text("one").bytes).write(DONE)).await;
    let gateway = start(&provider, Journal::Memory);
    stream(&gateway, "s").await;
    let claims = json!({ "aud": "tokencast", "exp": from_now(-28), "stream": "s" });
    let ticket = Key::ed25519(APP).ticket("app", &claims);
    let call = Call::get(format!("/v1/streams/s/raw?ticket={ticket}"));
    let reply = within("an answer", gateway.send(&call)).await;
    assert_eq!(reply.error().await, (401, "ticket_expired".into()));
    assert!(gateway.cast("s").end().is_none(), "the stream goes on");
    held.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_tickets_for_streams_that_may_come() {
    let provider = hanging().await;
    let gateway = start(&provider, Journal::Memory);
    for id in ["user42-a", "user42-b", "user43-a"] {
        stream(&gateway, id).await;
    }
    let ask = async |wanted: Value| {
        gateway.send(&Call::post_to("/v1/tickets", wanted.to_string()).bearer("key")).await
    };
    let sees = async |ticket: &str, id: &str| {
        gateway.send(&Call::get(format!("/v1/streams/{id}")).bearer(ticket)).await.status == 200
    };
    for (wanted, seen) in [
        (json!({ "prefix": "user42-", "ttl_s": 60 }), [true, true, false]),
        (json!({ "prefix": "user4" }), [true, true, true]),
        (json!({ "streams": ["user42-b", "user43-a"] }), [false, true, true]),
        (json!({ "stream": "user42-a" }), [true, false, false]),
    ] {
        let made = ask(wanted.clone()).await;
        assert_eq!(made.status, 201);
        let made = made.json().await;
        let ticket = made["ticket"].as_str().unwrap();
        let all =
            [sees(ticket, "user42-a").await, sees(ticket, "user42-b").await, sees(ticket, "user43-a").await];
        assert_eq!(all, seen, "{wanted}");
    }
    for (wanted, refused) in [
        (json!({ "streams": ["user42-a", "nobody"] }), (404, "not_found")),
        (json!({ "streams": [] }), (400, "invalid_field")),
        (json!({ "streams": vec!["user42-a"; 33] }), (400, "invalid_field")),
        (json!({ "prefix": "" }), (400, "invalid_field")),
        (json!({ "prefix": "user42-*" }), (400, "invalid_field")),
        (json!({ "prefix": "a", "stream": "user42-a" }), (400, "invalid_field")),
        (json!({ "can": ["watch"] }), (400, "invalid_field")),
    ] {
        let (status, code) = ask(wanted.clone()).await.error().await;
        assert_eq!((status, &*code), refused, "{wanted}");
    }
    let wanted = json!({ "stream": "user42-a" }).to_string();
    for other in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        let call = Call::post_to("/v1/tickets", &*wanted).without("content-type").bearer("key");
        let call = other.into_iter().fold(call, |call, other| call.header("content-type", other));
        assert_eq!(
            gateway.send(&call).await.error().await,
            (415, "unsupported_media_type".into()),
            "{other:?}"
        );
    }
}
