//! Sessions over WebTransport: what the behaviours that run over every transport do not ask.

mod drain;
mod idle;
mod pace;
mod refused;

use serde_json::{Value, json};
use wtransport::Connection;

use crate::gateway::{Gateway, Journal};
use crate::http::within;
use crate::packed::{Control, Place, Record, Records};
use crate::provider::{Ending, Provider, Script};
use crate::says::{DONE, text};
use crate::viewing::Event;

/// The code `slow`, as HTTP/3 carries it.
const SLOW: u64 = 0x52e4_a40f_a8db + 3;

/// A session that follows many, greeted.
async fn session(gateway: &Gateway) -> (Connection, Control) {
    let connection = Place::of(gateway.http).await.connect("/v1/session").await.expect("a session");
    let control = Control::greeted(&connection).await;
    (connection, control)
}

fn subscribe(subscription: u32, stream: &str) -> Value {
    json!({ "type": "subscribe", "subscription": subscription, "stream": stream })
}

/// The next stream of the server, and the subscription that it is for.
async fn stream_of(connection: &Connection) -> (u64, Records) {
    let stream = within("a stream", connection.accept_uni()).await.expect("a stream");
    let mut records = Records::new(stream, usize::MAX);
    let Some(Record::Header(header)) = records.next().await else { panic!("no header") };
    (header["subscription"].as_u64().expect("a number"), records)
}

/// Everything up to the END, which has to be there.
async fn rest(records: &mut Records) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        match records.next().await.expect("an END before FIN") {
            Record::Frame(frame) => events.extend(frame),
            Record::Heartbeat => {}
            Record::End(end) => {
                events.push(end);
                assert_eq!(records.next().await, None);
                return events;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_come_over_one_session() {
    let provider =
        Provider::with(Script::says(text("Hello").bytes).write(text(" world").bytes).write(DONE)).await;
    let gateway = Gateway::before(&provider, Journal::Sqlite);
    let (connection, mut control) = session(&gateway).await;
    for number in 0..20 {
        let id = gateway.stream("m").await;
        control.say(&subscribe(number, &id)).await;
        let said = control.hear().await.unwrap();
        assert_eq!((&said["type"], &said["subscription"]), (&json!("subscribed"), &json!(number)));
        assert_eq!((&said["stream"], &said["after"]), (&json!(id), &json!(0)));
    }
    let mut numbers = Vec::new();
    for _ in 0..20 {
        let (number, mut records) = stream_of(&connection).await;
        let events = rest(&mut records).await;
        assert_eq!(crate::fold::text(&events, 0), "Hello world");
        numbers.push(number);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_free_when_its_stream_is_finished() {
    let provider = Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    let (connection, mut control) = session(&gateway).await;
    for _ in 0..20 {
        control.say(&subscribe(7, &id)).await;
        assert_eq!(control.hear().await.unwrap()["type"], "subscribed");
        let (_, mut records) = stream_of(&connection).await;
        control.say(&json!({ "type": "unsubscribe", "subscription": 7 })).await;
        while records.next().await.is_some() {}
    }
}

/// Several messages that arrive at once.
fn together(messages: &[Value]) -> Vec<u8> {
    let framed = |message| {
        let message = rmp_serde::to_vec_named(message).unwrap();
        [&(message.len() as u32).to_be_bytes()[..], &message].concat()
    };
    messages.iter().flat_map(framed).collect()
}

/// What is said of a subscription that has yet to come about is done when it has.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_to_wait_for_subscribed() {
    let provider = Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await;
    let gateway = Gateway::before(&provider, Journal::Sqlite);
    let id = gateway.stream("m").await;
    gateway.has_blocks(&id, 1).await;
    let (connection, mut control) = session(&gateway).await;
    let pairs: Vec<Value> = (0..20)
        .flat_map(|number| [subscribe(number, &id), json!({ "type": "unsubscribe", "subscription": number })])
        .collect();
    control.send.write_all(&together(&pairs)).await.unwrap();
    let mut numbers: Vec<u64> = Vec::new();
    for _ in 0..20 {
        assert_eq!(control.hear().await.unwrap()["type"], "subscribed");
        let (number, mut records) = stream_of(&connection).await;
        let mut last = None;
        while let Some(record) = records.next().await {
            last = Some(record);
        }
        let Some(Record::Bye(bye)) = last else { panic!("{last:?}") };
        assert_eq!(bye["code"], "unsubscribed");
        numbers.push(number);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());

    let stop = [subscribe(1, &id), json!({ "type": "stop", "subscription": 1 })];
    control.send.write_all(&together(&stop)).await.unwrap();
    assert_eq!(control.hear().await.unwrap()["type"], "subscribed");
    let (_, mut records) = stream_of(&connection).await;
    let end = rest(&mut records).await.pop().unwrap();
    assert_eq!((&end.data["reason"], &end.data["code"]), (&json!("cancelled"), &json!("stopped")));
}
