//! Many viewers at many places: cut anywhere and resumed, slow, or never reading at all.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;
use tokencast::cli::simulate::{Options, Simulator};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::gateway::{Gateway, Journal, config, everywhere, over_http};
use crate::http::{Call, Over, Protocol, within};
use crate::provider::{Hold, Provider, Script};
use crate::says::{DONE, text};
use crate::viewing::{Event, Transport, Viewing};

/// What a viewer keeps over all of its connections, by the rules for clients.
#[derive(Debug, Default)]
struct Kept {
    events: Vec<Event>,
    cursor: u64,
    cuts: usize,
}

impl Kept {
    /// Follows a stream to its end over as many connections as it takes, each cut after a random number of bytes.
    async fn follow(
        mut self,
        transport: Transport,
        addr: std::net::SocketAddr,
        id: &str,
        mut rng: Rng,
    ) -> Self {
        loop {
            let cut_after = if rng.u8(..) < 40 { usize::MAX } else { rng.usize(200..6000) };
            let target = format!("/v1/streams/{id}/events?after={}", self.cursor);
            let mut viewing = Viewing::open_until(transport, addr, &target, cut_after).await;
            // Events behind the last id come again.
            let mut provisional = Vec::new();
            while let Some(event) = viewing.next().await {
                if event.name != "end" {
                    let from = event.data["from"].as_u64().unwrap();
                    assert!(from <= self.cursor + 1, "a gap: {event:?} behind {}", self.cursor);
                }
                let Some(id) = event.id else {
                    provisional.push(event);
                    continue;
                };
                assert!(id > self.cursor, "a duplicate: {event:?} behind {}", self.cursor);
                self.cursor = id;
                self.events.append(&mut provisional);
                let is_end = event.name == "end";
                self.events.push(event);
                if is_end {
                    assert!(viewing.next().await.is_none(), "nothing comes after the end");
                    return self;
                }
            }
            assert!(viewing.was_cut, "the view ended without an end");
            self.cuts += 1;
        }
    }
}

/// What the events say, whatever was merged: reasoning, text, tool calls and the rest, in order of their channels.
fn folded(events: &[Event]) -> Vec<(String, String)> {
    let mut channels: Vec<(String, String)> = Vec::new();
    for event in events {
        let channel = format!("{} {} {}", event.name, event.data["choice"], event.data["index"]);
        let said = ["text", "arguments", "reason", "output"].iter().find_map(|key| match &event.data[key] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        });
        let said = said.unwrap_or_default();
        match channels.iter_mut().find(|(known, _)| *known == channel) {
            Some((_, text)) => text.push_str(&said),
            None => channels.push((channel, said)),
        }
    }
    channels.sort();
    channels
}

/// The simulated provider, in this process.
async fn simulator(options: Options) -> (Arc<tokencast::cli::simulate::RequestLog>, String, JoinSet<()>) {
    let options = Options { listen: "127.0.0.1:0".parse().unwrap(), ..options };
    let simulator = Simulator::bind(options).await.unwrap();
    let (log, url, mut tasks) = (simulator.log(), simulator.base_url(), JoinSet::new());
    tasks.spawn(simulator.run(CancellationToken::new()));
    (log, url, tasks)
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_that_come_at_any_time_and_are_cut_anywhere_miss_nothing() {
    let options = Options {
        tokens: 400,
        rate: 500.0,
        jitter: 1.0,
        burst: 3,
        reasoning: 20,
        emoji_halves: true,
        comments: Some(7),
        split: Some(61),
        ..Options::default()
    };
    let (log, url, _serving) = simulator(options).await;
    everywhere(async |case| {
        let gateway = Gateway::start(config(case.journal, &url));
        let request = serde_json::json!({ "model": "m", "n": 2, "messages": [1] });
        let id = gateway.start_stream(&serde_json::json!({ "request": request })).await;
        let id: Arc<str> = id["id"].as_str().unwrap().into();
        let mut viewers = JoinSet::new();
        for seed in 0..40 {
            let mut rng = Rng::with_seed(seed);
            let (id, addr, late) = (id.clone(), gateway.http, Duration::from_millis(rng.u64(0..900)));
            viewers.spawn(async move {
                tokio::time::sleep(late).await;
                Kept::default().follow(case.transport, addr, &id, rng).await
            });
        }
        let whole = gateway.watch(case.transport, &id, "").await.rest().await;
        let end = whole.last().unwrap().data.clone();
        assert_eq!(end["reason"], "completed", "{end}");
        let mut cuts = 0;
        for kept in within("all viewers", viewers.join_all()).await {
            assert_eq!(kept.events.last().unwrap().data, end);
            assert_eq!(folded(&kept.events), folded(&whole));
            cuts += kept.cuts;
        }
        assert!(cuts > 40, "{cuts} cuts");
        let (raw, over) = gateway.send(&Call::get(format!("/v1/streams/{id}/raw"))).await.body.whole().await;
        assert_eq!((raw.len() as u64, over), (end["bytes"].as_u64().unwrap(), Over::Clean));
        assert_eq!(tokencast::crypto::hex(&tokencast::crypto::sha256(&raw)), end["hash"].as_str().unwrap());
    })
    .await;
    let streams = Transport::ALL.len() * Journal::ALL.len();
    assert_eq!(log.received(), streams as u64, "one call per stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_readers_cut_at_any_byte_go_on_at_their_offset() {
    let (_log, url, _serving) =
        simulator(Options { tokens: 300, rate: 400.0, burst: 2, ..Options::default() }).await;
    over_http(async |protocol, journal| {
        let gateway = Gateway::start(config(journal, &url));
        let id: Arc<str> = gateway.stream("m").await.into();
        let mut readers = JoinSet::new();
        for seed in 0..20 {
            let (id, addr, mut rng) = (id.clone(), gateway.http, Rng::with_seed(seed));
            readers.spawn(async move {
                let mut bytes: Vec<u8> = Vec::new();
                loop {
                    let call = Call::get(format!("/v1/streams/{id}/raw?offset={}", bytes.len()));
                    let mut reply = call.send(protocol, addr).await;
                    assert_eq!(reply.header("tokencast-offset"), Some(&*bytes.len().to_string()));
                    let wanted = bytes.len() + rng.usize(1..20_000);
                    let over = loop {
                        match reply.body.chunk().await {
                            Ok(chunk) => bytes.extend_from_slice(&chunk),
                            Err(over) => break Some(over),
                        }
                        if bytes.len() >= wanted {
                            bytes.truncate(wanted);
                            break None;
                        }
                    };
                    if let Some(over) = over {
                        return (bytes, over);
                    }
                }
            });
        }
        let whole = gateway.send(&Call::get(format!("/v1/streams/{id}/raw"))).await.body.whole().await;
        assert_eq!(whole.1, Over::Clean);
        for read in within("all readers", readers.join_all()).await {
            assert_eq!(read, whole);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_gets_everything_and_costs_nobody_else() {
    everywhere(async |case| {
        let token: &'static str = "0123456789abcdef".repeat(64).leak();
        let hold = Hold::new();
        let script = Script::sse().wait(&hold).write(text(token).bytes.repeat(1000)).write(DONE);
        let provider = Provider::with(script).await;
        let gateway = Gateway::before(&provider, case.journal);
        let id = gateway.stream("m").await;
        let mut slow = gateway.watch(case.transport, &id, "?wait_s=0").await;
        let fast = gateway.watch(case.transport, &id, "").await;
        hold.release();
        // The slow one has not read a byte of it when the fast one is done.
        let fast = fast.rest().await;
        assert_eq!(fast.last().unwrap().name, "end");
        let mut events = Vec::new();
        while let Some(event) = slow.next().await {
            tokio::task::yield_now().await;
            events.push(event);
        }
        assert_eq!(crate::fold::text(&events, 0), token.repeat(1000));
        assert_eq!(crate::fold::text(&fast, 0), token.repeat(1000));
        assert_eq!(events.last(), fast.last());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_never_reads_is_closed_and_the_others_are_not() {
    let token: &'static str = "x".repeat(1000).leak();
    let hold = Hold::new();
    let script = Script::says(text(token).bytes.repeat(8000)).wait(&hold).write(DONE);
    let provider = Provider::with(script).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    config.http.stalled_s = 2;
    let gateway = Gateway::start(config);
    let id = gateway.stream("m").await;
    let cast = gateway.cast(&id);
    let viewing = gateway.watch(Transport::SseH1, &id, "").await;
    let mut reading = JoinSet::new();
    reading.spawn(viewing.rest());
    // Held, and never read from again.
    let call = Call::get(format!("/v1/streams/{id}/events"));
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(call.send(Protocol::H1, gateway.http).await);
    }
    assert_eq!(cast.viewers(), 4);
    within("the silent ones to be closed", async {
        while cast.viewers() > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    hold.release();
    let events = reading.join_next().await.unwrap().unwrap();
    assert_eq!(crate::fold::text(&events, 0), token.repeat(8000));
    // What was said before the connection was given up is a prefix, and no end.
    for mut silent in silent {
        let (bytes, over) = silent.body.whole().await;
        assert_eq!(over, Over::Broken);
        assert!(!String::from_utf8_lossy(&bytes).contains("event: end"));
    }
}
