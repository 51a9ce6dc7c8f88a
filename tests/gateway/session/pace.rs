//! Sessions that take little at a time, or nothing.

use std::time::Duration;

use serde_json::json;

use super::{SLOW, rest, session, stream_of, subscribe};
use crate::gateway::{Gateway, Journal, config};
use crate::http::within;
use crate::packed::{Place, Record, Records};
use crate::provider::{Hold, Provider, Script};
use crate::says::{DONE, text};
use crate::viewing::{Event, Transport};

/// A client that asks much at once is answered, however little of the answers may wait.
#[tokio::test(flavor = "multi_thread")]
async fn every_question_is_answered() {
    let provider = Provider::start().await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let (_connection, mut control) = session(&gateway).await;
    let ping = rmp_serde::to_vec_named(&json!({ "type": "ping", "t": "x".repeat(1000) })).unwrap();
    let ping = [&(ping.len() as u32).to_be_bytes(), &*ping].concat();
    let (send, receive) = control.split();
    let asking = async { send.write_all(&ping.repeat(1000)).await.unwrap() };
    let hearing = async {
        for _ in 0..1000 {
            assert_eq!(receive.hear().await.unwrap()["type"], "pong");
        }
    };
    within("all answers", Box::pin(async { tokio::join!(asking, hearing) })).await;
}

/// What the client has no id for is acknowledged with what is before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_paced_client_gets_the_end_behind_blocks_without_events() {
    let long: &'static str = "x".repeat(70_000).leak();
    let provider = Provider::with(Script::says(text(long).bytes + ": nothing\n\n" + DONE)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    gateway.has_ended(&id).await;
    let (connection, mut control) = session(&gateway).await;
    control.say(&subscribe(1, &id)).await;
    control.say(&json!({ "type": "ack", "subscription": 1, "seq": 0 })).await;
    let (_, mut records) = stream_of(&connection).await;
    let Some(Record::Frame(frame)) = records.next().await else { panic!("no frame") };
    assert_eq!((frame.len(), frame[0].id), (1, Some(1)));
    control.say(&json!({ "type": "ack", "subscription": 1, "seq": 1 })).await;
    assert_eq!(rest(&mut records).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_acknowledges_is_never_flooded_and_misses_nothing() {
    let block = text("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef").bytes;
    let script = Script::says(block.repeat(10_000) + DONE);
    let provider = Provider::with(script).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    gateway.has_ended(&id).await;
    let (connection, mut control) = session(&gateway).await;
    control.say(&subscribe(1, &id)).await;
    control.hear().await.unwrap();
    control.say(&json!({ "type": "ack", "subscription": 1, "seq": 0 })).await;
    let (_, mut records) = stream_of(&connection).await;
    // Without further acknowledgements it stands still: a ping that is answered comes behind all that was written.
    let mut seen = 0;
    let mut events = Vec::new();
    let read = async |records: &mut Records, events: &mut Vec<Event>| match records.next().await.unwrap() {
        Record::Frame(frame) => {
            let last = frame.last().unwrap().id.unwrap();
            events.extend(frame);
            Some(last)
        }
        Record::End(_) => None,
        other => panic!("{other:?}"),
    };
    let mut bytes = 0;
    while bytes < 64 * 1024 {
        seen = read(&mut records, &mut events).await.unwrap();
        bytes = events.iter().map(|event| event.data.to_string().len()).sum();
    }
    let more = tokio::time::timeout(Duration::from_millis(500), async {
        let mut more = 0;
        while let Some(last) = read(&mut records, &mut events).await {
            (seen, more) = (last, more + 1);
        }
        more
    });
    assert!(more.await.is_err(), "it waits for an acknowledgement");
    assert!(seen < 10_000, "{seen}");
    loop {
        control.say(&json!({ "type": "ack", "subscription": 1, "seq": seen })).await;
        match read(&mut records, &mut events).await {
            Some(last) => seen = last,
            None => break,
        }
    }
    assert_eq!(crate::fold::text(&events, 0).len(), 10_000 * 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_reads_nothing_costs_the_others_nothing() {
    let hold = Hold::new();
    let block = text("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef").bytes;
    let provider = Provider::start().await;
    provider.plays("much", Script::says(block.repeat(40_000) + DONE));
    provider.plays("little", Script::says(text("a").bytes).wait(&hold).write(text("b").bytes).write(DONE));
    let mut config = config(Journal::Memory, &provider.base_url());
    config.webtransport.stalled_s = 1;
    let gateway = Gateway::start(config);
    let (much, little) = (gateway.stream("much").await, gateway.stream("little").await);
    gateway.has_ended(&much).await;
    let place = Place::of(gateway.http).await;
    let alone = place.connect(&format!("/v1/streams/{much}")).await.unwrap();
    let _unread = within("a stream", alone.accept_uni()).await.unwrap();
    let (connection, mut control) = session(&gateway).await;
    control.say(&subscribe(1, &much)).await;
    let mut unread = within("a stream", connection.accept_uni()).await.unwrap();
    let mut quick = gateway.watch(Transport::Quic, &little, "").await;
    assert_eq!(quick.until("text").await.data["text"], "a");
    hold.release();
    assert_eq!(quick.rest().await.last().unwrap().data["reason"], "completed");
    // It is given up, by a reset: there is no room left to say anything.
    let reset = within("a reset", unread.quic_stream_mut().received_reset()).await.unwrap();
    assert_eq!(reset.map(wtransport::quinn::VarInt::into_inner), Some(SLOW));
    // The session is still there, unless it was about this one stream.
    control.say(&json!({ "type": "ping", "t": 1 })).await;
    while control.hear().await.unwrap()["type"] != "pong" {}
    let closed = within("a close", alone.closed()).await;
    assert!(format!("{closed:?}").contains(&SLOW.to_string()), "{closed:?}");
    // It comes back by its cursor.
    let events = gateway.watch(Transport::Quic, &much, "?after=39999").await.rest().await;
    assert_eq!(events.last().unwrap().data["blocks"], 40_001);
}
