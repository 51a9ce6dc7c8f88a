//! What a session is not given, and what it does not survive.

use serde_json::{Value, json};
use tokencast::auth::key::{self, Digest};
use tokencast::auth::scope::Scopes;
use tokencast::config::Config;

use super::{rest, session, stream_of, subscribe};
use crate::gateway::{Gateway, Journal, config};
use crate::http::{Call, within};
use crate::packed::{Control, Place, Record, Records};
use crate::provider::{Ending, Hold, Provider, Script};
use crate::says::{DONE, text};

/// The only record of a stream that says why there is none.
async fn refusal(gateway: &Gateway, target: &str) -> Value {
    let connection =
        Place::of(gateway.http).await.connect(target).await.expect("a session, whatever is wrong");
    let stream = within("a stream", connection.accept_uni()).await.expect("a stream");
    let mut records = Records::new(stream, usize::MAX);
    let Some(Record::Error(error)) = records.next().await else { panic!("no error") };
    assert_eq!(records.next().await, None);
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_in_band() {
    let provider = Provider::with(Script::says(text("a").bytes).write(DONE)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    gateway.has_ended(&id).await;
    for (target, code) in [
        ("/v1/streams/unknown".to_owned(), "not_found"),
        ("/v1/streams/not%20an%20id".to_owned(), "not_found"),
        (format!("/v1/streams/{id}?after=9"), "cursor_ahead"),
        (format!("/v1/streams/{id}?after=-1"), "invalid_cursor"),
        (format!("/v1/streams/{id}?after=1&after=1"), "invalid_cursor"),
        (format!("/v1/streams/{id}?heartbeat_ms=1"), "invalid_parameter"),
        (format!("/v1/streams/{id}?ticket=a.b.c"), "invalid_ticket"),
    ] {
        let before = gateway.refused_at("webtransport", code).await;
        let error = refusal(&gateway, &target).await;
        assert_eq!(error["code"], code, "{target}");
        assert!(gateway.refused_at("webtransport", code).await > before, "{code} is counted");
        assert!(!error["message"].as_str().unwrap().is_empty());
        assert_eq!(error["detail"]["tail"].as_u64(), (code == "cursor_ahead").then_some(2), "{error}");
    }
    // As over HTTP, what is escaped is unescaped.
    let escaped = format!("/v1/streams/%{:02x}{}?after=9", id.as_bytes()[0], &id[1..]);
    assert_eq!(refusal(&gateway, &escaped).await["code"], "cursor_ahead");
    gateway.send(&Call::delete(format!("/v1/streams/{id}?purge=1"))).await;
    assert_eq!(refusal(&gateway, &format!("/v1/streams/{id}")).await["code"], "gone");

    let (_connection, mut control) = session(&gateway).await;
    for (message, code) in [
        (subscribe(1, "unknown"), "not_found"),
        (subscribe(1, &id), "gone"),
        (json!({ "type": "subscribe", "subscription": 1_u64 << 31, "stream": id }), "invalid_parameter"),
        (
            json!({ "type": "subscribe", "subscription": 1, "stream": id, "from": "the past" }),
            "invalid_cursor",
        ),
        (
            json!({ "type": "subscribe", "subscription": 1, "stream": id, "ticket": "a.b.c" }),
            "invalid_ticket",
        ),
        (
            json!({ "type": "subscribe", "subscription": 1, "stream": id, "after": u64::MAX }),
            "invalid_cursor",
        ),
        (json!({ "type": "stop", "subscription": 7 }), "unknown_subscription"),
        (json!({ "type": "dance" }), "unknown_message"),
    ] {
        let before = gateway.refused_at("webtransport", code).await;
        control.say(&message).await;
        let said = control.hear().await.unwrap();
        assert_eq!((&said["type"], &said["code"]), (&json!("error"), &json!(code)), "{message}: {said}");
        assert!(gateway.refused_at("webtransport", code).await > before, "{code} is counted");
    }
    control.say(&json!({ "type": "ping", "t": { "at": [1, "x"] } })).await;
    assert_eq!(
        control.hear().await.unwrap(),
        json!({ "type": "pong", "t": { "at": [1, "x"] } }),
        "it goes on"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_does_not_survive_is_said_before_it_ends() {
    let provider = Provider::start().await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let place = Place::of(gateway.http).await;
    let hello = rmp_serde::to_vec_named(&json!({ "type": "hello", "version": 1 })).unwrap();
    let framed = |message: &[u8]| [&(message.len() as u32).to_be_bytes(), message].concat();
    let packed = |message: Value| framed(&rmp_serde::to_vec_named(&message).unwrap());
    for (bytes, code) in [
        (packed(json!({ "type": "hello", "version": 2 })), "unsupported_version"),
        (packed(json!({ "type": "hello", "version": u64::MAX })), "unsupported_version"),
        (packed(json!({ "type": "ping" })), "hello_expected"),
        (packed(json!({ "type": "dance" })), "unknown_message"),
        (packed(json!(["hello"])), "invalid_message"),
        (framed(&[0xc1]), "invalid_message"),
        (framed(&[&*hello, &[0xc0]].concat()), "invalid_message"),
        (vec![0, 0, 0, 0], "message_too_large"),
        (vec![0xff; 8], "message_too_large"),
        // Nothing whole for 3 s.
        (vec![0, 0], "hello_expected"),
    ] {
        let before = gateway.refused_at("webtransport", code).await;
        let connection = place.connect("/v1/session").await.unwrap();
        let mut control = Control::open(&connection).await;
        control.send.write_all(&bytes).await.unwrap();
        let (error, bye) = (control.hear().await.unwrap(), control.hear().await.unwrap());
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{bytes:x?}");
        assert_eq!((&bye["type"], &bye["code"]), (&json!("bye"), &json!(code)), "{bytes:x?}");
        assert_eq!(control.hear().await, None);
        within("the close", connection.closed()).await;
        assert!(gateway.refused_at("webtransport", code).await > before, "{code} is counted");
    }
    // Half a message, and no more.
    let connection = place.connect("/v1/session").await.unwrap();
    let mut control = Control::greeted(&connection).await;
    control.send.write_all(&[0, 0, 0, 100, 0x82]).await.unwrap();
    control.send.quic_stream_mut().finish().unwrap();
    assert_eq!(control.hear().await.unwrap()["code"], "invalid_message");
    assert_eq!(control.hear().await.unwrap()["type"], "bye");
    // Whoever opens no control stream cannot be told.
    let connection = place.connect("/v1/session").await.unwrap();
    within("the close", connection.closed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_no_record_holds_is_refused() {
    let large = text("x".repeat(1_000_000).leak()).bytes;
    let provider = Provider::with(Script::says(large.repeat(34)).write(DONE)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    gateway.has_ended(&id).await;
    let error = refusal(&gateway, &format!("/v1/streams/{id}?snapshot=1")).await;
    assert_eq!(error["code"], "snapshot_too_large");
    assert!(error["message"].as_str().unwrap().contains("without `snapshot`"), "{error}");
    let (connection, mut control) = session(&gateway).await;
    let mut asked = subscribe(1, &id);
    asked["snapshot"] = true.into();
    control.say(&asked).await;
    let said = control.hear().await.unwrap();
    assert_eq!((&said["code"], &said["subscription"]), (&json!("snapshot_too_large"), &json!(1)));
    // The number is free, and what was refused has opened no stream.
    control.say(&subscribe(1, &id)).await;
    assert_eq!(control.hear().await.unwrap()["type"], "subscribed");
    assert_eq!(stream_of(&connection).await.0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_65th_subscription_is_one_too_many_and_hurts_nobody() {
    let hold = Hold::new();
    let provider = Provider::with(Script::says(text("a").bytes).wait(&hold).write(DONE)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    let (connection, mut control) = session(&gateway).await;
    for number in 0..64 {
        control.say(&subscribe(number, &id)).await;
        assert_eq!(control.hear().await.unwrap()["type"], "subscribed");
    }
    control.say(&subscribe(5, &id)).await;
    assert_eq!(control.hear().await.unwrap()["code"], "subscription_in_use");
    control.say(&subscribe(64, &id)).await;
    let said = control.hear().await.unwrap();
    assert_eq!((&said["code"], &said["subscription"]), (&json!("too_many_subscriptions"), &json!(64)));

    // Who leaves makes room.
    control.say(&json!({ "type": "unsubscribe", "subscription": 0 })).await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(stream_of(&connection).await);
    }
    let (_, left) = streams.iter_mut().find(|(number, _)| *number == 0).unwrap();
    loop {
        match left.next().await.expect("a BYE before FIN") {
            Record::Bye(bye) => break assert_eq!(bye["code"], "unsubscribed"),
            Record::Frame(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(left.next().await, None);
    control.say(&subscribe(64, &id)).await;
    assert_eq!(control.hear().await.unwrap()["type"], "subscribed");
    streams.retain(|(number, _)| *number != 0);
    streams.push(stream_of(&connection).await);
    hold.release();
    for (number, mut records) in streams {
        assert_eq!(crate::fold::text(&rest(&mut records).await, 0), "a", "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_origins_and_paths_are_checked_at_the_handshake() {
    let provider = Provider::start().await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.http.cors_origins = vec!["https://app.example".into()];
    config.webtransport.sessions_max = 1;
    let gateway = Gateway::start(config);
    let place = Place::of(gateway.http).await;
    let own = format!("http://{}", gateway.http);
    let named = format!("http://localhost:{}", gateway.http.port());
    for (target, origin, is_taken) in [
        ("/v1/session", "https://app.example", true),
        ("/v1/session", &*own, true),
        ("/v1/session", &*named, true),
        ("/v1/session", "https://evil.example", false),
        ("/v1/session", "http://127.0.0.1:1", false),
        ("/v1/session", "null", false),
        ("/v1/elsewhere", &*own, false),
        ("/", &*own, false),
    ] {
        let session = place.connect_with(target, &[("origin", origin)]).await;
        assert_eq!(session.is_ok(), is_taken, "{target} from {origin}");
    }
    let first = place.connect("/v1/session").await.expect("the first one");
    assert!(place.connect("/v1/session").await.is_err(), "there is one place");
    drop(first);
    within("a place", async { while place.connect("/v1/session").await.is_err() {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_subscription_has_its_own_right() {
    let provider = Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await;
    let mut config: Config = config(Journal::Memory, &provider.base_url());
    config.auth.keys = vec![key::Config {
        name: "k".into(),
        sha256: Digest::of("key-a"),
        tenant: "a".into(),
        scopes: Scopes::ALL,
    }];
    let gateway = Gateway::start(config);
    let start = async || {
        let post = Call::post(r#"{"request":{"model":"m"}}"#).bearer("key-a");
        let answer = gateway.send(&post).await.json().await;
        assert!(answer["urls"]["webtransport"].as_str().unwrap().starts_with("https://"), "{answer}");
        let text = |key: &str| answer[key].as_str().unwrap().to_owned();
        (text("id"), text("ticket"))
    };
    let ((one, its), (two, others)) = (start().await, start().await);
    let (connection, mut control) = session(&gateway).await;
    let with_ticket = |number, id: &str, ticket: &str| {
        let mut message = subscribe(number, id);
        message["ticket"] = ticket.into();
        message
    };
    for (message, answer) in [
        (subscribe(1, &one), "unauthorized"),
        (with_ticket(1, &one, &others), "not_found"),
        (with_ticket(1, &one, &its), "subscribed"),
        (with_ticket(2, &two, &others), "subscribed"),
    ] {
        control.say(&message).await;
        let said = control.hear().await.unwrap();
        assert_eq!(said.get("code").unwrap_or(&said["type"]), answer, "{message}");
    }
    // The ticket of a POST may stop.
    control.say(&json!({ "type": "stop", "subscription": 2 })).await;
    let streams = [stream_of(&connection).await, stream_of(&connection).await];
    for (number, mut records) in streams {
        if number == 2 {
            let end = rest(&mut records).await.pop().unwrap();
            assert_eq!((&end.data["reason"], &end.data["code"]), (&json!("cancelled"), &json!("stopped")));
        }
    }
    let place = Place::of(gateway.http).await;
    for (target, headers) in [
        (format!("/v1/streams/{one}?ticket={its}"), vec![]),
        (format!("/v1/streams/{one}"), vec![("authorization", "Bearer key-a")]),
        (format!("/v1/streams/{one}"), vec![("tokencast-key", "key-a")]),
    ] {
        let connection = place.connect_with(&target, &headers).await.unwrap();
        let (number, _) = stream_of(&connection).await;
        assert_eq!(number, 0, "{target}");
    }
    assert_eq!(refusal(&gateway, &format!("/v1/streams/{one}")).await["code"], "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_datagrams_that_nobody_expects_are_refused() {
    let provider = Provider::with(Script::says(text("a").bytes).write(DONE)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    let (connection, mut control) = session(&gateway).await;
    for _ in 0..1000 {
        let _ = connection.send_datagram([0; 1000]);
    }
    let before = gateway.refused_at("webtransport", "unexpected_stream").await;
    let mut uni = connection.open_uni().await.unwrap().await.unwrap();
    within("a refusal", async { while uni.write_all(b"x").await.is_ok() {} }).await;
    let mut second = Control::open(&connection).await;
    within("a refusal", async { while second.send.write_all(b"x").await.is_ok() {} }).await;
    assert!(gateway.refused_at("webtransport", "unexpected_stream").await >= before + 2, "both are counted");
    control.say(&subscribe(1, &id)).await;
    assert_eq!(control.hear().await.unwrap()["type"], "subscribed");
    let (_, mut records) = stream_of(&connection).await;
    assert_eq!(crate::fold::text(&rest(&mut records).await, 0), "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_off_nothing_says_that_it_is_there() {
    let provider = Provider::start().await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.webtransport.enabled = false;
    let gateway = Gateway::start(config);
    let said = gateway.send(&Call::get("/v1/webtransport")).await.json().await;
    assert_eq!(said, json!({ "url": null, "certificate_hashes": [] }));
    let answer = gateway.start_stream(&json!({ "request": { "model": "m" } })).await;
    assert_eq!(answer["urls"]["webtransport"], Value::Null);
}
