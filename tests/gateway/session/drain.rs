//! Sessions that outlive a certificate, and those that do not outlive the gateway.

use std::time::Duration;

use serde_json::json;

use super::{SLOW, rest, session, stream_of, subscribe};
use crate::gateway::{Gateway, Journal, config};
use crate::http::within;
use crate::packed::{Place, Record};
use crate::provider::{Ending, Hold, Provider, Script};
use crate::says::{DONE, text};
use crate::viewing::Transport;

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_rotates_under_a_session() {
    let hold = Hold::new();
    let provider =
        Provider::with(Script::says(text("a").bytes).wait(&hold).write(text("b").bytes).write(DONE)).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.webtransport.rotate_s = 1;
    let gateway = Gateway::start(config);
    let id = gateway.stream("m").await;
    let before = Place::of(gateway.http).await;
    let mut viewing = gateway.watch(Transport::Quic, &id, "").await;
    assert_eq!(viewing.until("text").await.data["text"], "a");
    within("another certificate", async {
        while Place::of(gateway.http).await.hashes.iter().any(|hash| before.hashes.contains(hash)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    hold.release();
    assert_eq!(viewing.rest().await.last().unwrap().data["reason"], "completed");
    assert!(before.connect("/v1/session").await.is_err(), "that one is not in use any more");
    session(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_said_in_band() {
    let provider = Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.drain.grace_s = 1;
    let gateway = Gateway::start(config);
    let id = gateway.stream("m").await;
    let (connection, mut control) = session(&gateway).await;
    control.say(&subscribe(1, &id)).await;
    assert_eq!(control.hear().await.unwrap()["type"], "subscribed");
    let (_, mut records) = stream_of(&connection).await;
    let server = gateway.into_server();
    let watching = Box::pin(async {
        let end = rest(&mut records).await.pop().unwrap();
        assert_eq!((&end.data["reason"], &end.data["code"]), (&json!("interrupted"), &json!("drain")));
        let bye = control.hear().await.unwrap();
        assert_eq!((&bye["type"], &bye["code"]), (&json!("bye"), &json!("draining")), "{bye}");
        assert!((1000..=5000).contains(&bye["retry_ms"].as_u64().unwrap()));
    });
    let running = Box::pin(server.run(async {}, std::future::pending()));
    within("the drain", async { tokio::join!(watching, running) }).await;
}

/// Whoever is behind at the end is told, too, and holds up nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_said_to_those_who_take_nothing() {
    let block = text("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef").bytes;
    let provider = Provider::with(Script::says(block.repeat(40_000) + DONE)).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.drain.grace_s = 0;
    let gateway = Gateway::start(config);
    let id = gateway.stream("m").await;
    gateway.has_ended(&id).await;
    // One has acknowledged once, another has never read a byte.
    let (connection, mut control) = session(&gateway).await;
    control.say(&subscribe(1, &id)).await;
    assert_eq!(control.hear().await.unwrap()["type"], "subscribed");
    control.say(&json!({ "type": "ack", "subscription": 1, "seq": 1 })).await;
    let (_, mut paced) = stream_of(&connection).await;
    let (blocked, mut blocked_control) = session(&gateway).await;
    blocked_control.say(&subscribe(1, &id)).await;
    let mut unread = within("a stream", blocked.accept_uni()).await.unwrap();

    let server = gateway.into_server();
    let watching = Box::pin(async {
        let last = async {
            let mut last = None;
            while let Some(record) = paced.next().await {
                last = Some(record);
            }
            last
        };
        let reset = async { unread.quic_stream_mut().received_reset().await.unwrap() };
        let (last, reset) = tokio::join!(last, reset);
        let Some(Record::Bye(bye)) = last else { panic!("{last:?}") };
        assert_eq!(bye["code"], "draining");
        assert_eq!(reset.map(wtransport::quinn::VarInt::into_inner), Some(SLOW - 2), "draining");
        for control in [&mut control, &mut blocked_control] {
            let mut said = control.hear().await.unwrap();
            while said["type"] == "subscribed" {
                said = control.hear().await.unwrap();
            }
            assert_eq!((&said["type"], &said["code"]), (&json!("bye"), &json!("draining")), "{said}");
        }
    });
    let running = Box::pin(server.run(async {}, std::future::pending()));
    within("the drain", async { tokio::join!(watching, running) }).await;
}
