//! Stop and purge: at once, for everybody, and as often as one likes.

use std::time::{Duration, Instant};

use serde_json::json;
use tokencast::cli::simulate::{Ended, Options, Simulator};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::gateway::{Gateway, config, everywhere, over_http};
use crate::http::{Call, Over, within};
use crate::provider::{Ending, Provider, Script};
use crate::says::text;
use crate::viewing::Transport;

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_closes_the_upstream_connection_and_everybody_sees_it() {
    let options = Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        tokens: 100_000,
        rate: 200.0,
        ..Options::default()
    };
    let simulator = Simulator::bind(options).await.unwrap();
    let (log, url, mut serving) = (simulator.log(), simulator.base_url(), JoinSet::new());
    serving.spawn(simulator.run(CancellationToken::new()));
    everywhere(async |case| {
        let gateway = Gateway::start(config(case.journal, &url));
        let id = gateway.stream("m").await;
        let mut viewers = JoinSet::new();
        for after in [0, 1, 5] {
            gateway.has_blocks(&id, after).await;
            let mut viewing = gateway.watch(case.transport, &id, &format!("?after={after}")).await;
            viewers.spawn(async move { viewing.until("end").await });
        }
        let closed = log.closed_early();
        let stop = Call::delete(format!("/v1/streams/{id}"));
        let began = Instant::now();
        let reply = stop.send(case.transport.protocol(), gateway.http).await;
        assert_eq!(reply.status, 202);
        assert_eq!(reply.json().await["id"], *id);
        within("the upstream connection to be closed", log.until(|counts| counts.closed_early > closed))
            .await;
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(log.last().unwrap().ended, Some(Ended::ByClient));
        for end in viewers.join_all().await {
            assert_eq!((&end.data["reason"], &end.data["code"]), (&json!("cancelled"), &json!("stopped")));
            assert_eq!(end.id, end.data["blocks"].as_u64().map(|blocks| blocks + 1));
        }
        for _ in 0..2 {
            assert_eq!(stop.send(case.transport.protocol(), gateway.http).await.status, 200);
        }
        assert_eq!(gateway.state(&id).await["status"], "cancelled");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_a_stream_wherever_it_is() {
    over_http(async |protocol, journal| {
        let provider = Provider::start().await;
        provider.plays("no head", Script::nothing().ends(Ending::Hang));
        provider.plays("no byte", Script::sse().ends(Ending::Hang));
        provider.plays("in a block", Script::says("data: {").ends(Ending::Hang));
        provider.plays("error body", Script::new("500 Oops", "text/plain").write("a").ends(Ending::Hang));
        let gateway = Gateway::before(&provider, journal);
        for (number, model) in ["no head", "no byte", "in a block", "error body"].into_iter().enumerate() {
            let id = gateway.stream(model).await;
            provider.until("the call", |calls| calls.len() > number).await;
            let began = Instant::now();
            assert_eq!(
                Call::delete(format!("/v1/streams/{id}")).send(protocol, gateway.http).await.status,
                202
            );
            gateway.has_ended(&id).await;
            let calls = provider.until("a closed connection", |calls| calls[number].over).await;
            assert!(began.elapsed() < Duration::from_secs(1), "{model}: {:?}", began.elapsed());
            assert!(calls[number].by_client, "{model}");
            assert_eq!(gateway.end(Transport::SseH1, &id).await["code"], "stopped", "{model}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_after_the_end_changes_nothing() {
    let provider = Provider::with(Script::says(text("a").bytes)).await;
    let gateway = Gateway::before(&provider, crate::gateway::Journal::Memory);
    let id = gateway.stream("m").await;
    gateway.has_ended(&id).await;
    let before = gateway.state(&id).await;
    assert_eq!(gateway.send(&Call::delete(format!("/v1/streams/{id}"))).await.status, 200);
    assert_eq!(gateway.state(&id).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_everything_from_everybody() {
    everywhere(async |case| {
        let provider = Provider::with(Script::says(text("secret").bytes).ends(Ending::Hang)).await;
        provider.plays("silent", Script::nothing().ends(Ending::Hang));
        let gateway = Gateway::before(&provider, case.journal);
        let id = gateway.stream("m").await;
        gateway.has_blocks(&id, 1).await;
        let send = async |call: Call| call.send(case.transport.protocol(), gateway.http).await;
        let mut raw = send(Call::get(format!("/v1/streams/{id}/raw"))).await;
        let caught_up = Notify::new();
        let attached = async {
            if case.transport == Transport::LongPoll {
                caught_up.notify_one();
                let poll = Call::get(format!("/v1/streams/{id}/events?after=1"));
                let error = send(poll.header("accept", "application/json")).await.error().await;
                assert_eq!(error, (410, "gone".into()));
            } else {
                let mut viewing = gateway.watch(case.transport, &id, "").await;
                viewing.until("text").await;
                caught_up.notify_one();
                let bye = viewing.until("bye").await;
                assert_eq!((bye.id, &bye.data["code"]), (None, &json!("gone")));
                assert_eq!(viewing.next().await, None);
            }
        };
        let purge = async {
            let cast = gateway.cast(&id);
            within("both viewers", async {
                caught_up.notified().await;
                while cast.viewers() < 2 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let purge = Call::delete(format!("/v1/streams/{id}?purge=1"));
            assert_eq!(send(purge.clone()).await.status, 202);
            assert_eq!(send(purge).await.error().await, (410, "gone".into()));
        };
        tokio::join!(attached, purge);
        assert_eq!(raw.body.whole().await, (text("secret").bytes.into(), Over::Broken));
        let calls = provider.until("a closed connection", |calls| calls[0].over).await;
        assert!(calls[0].by_client);
        for view in ["", "/events", "/raw", "/text"] {
            assert_eq!(
                send(Call::get(format!("/v1/streams/{id}{view}"))).await.error().await.0,
                410,
                "{view}"
            );
        }
        let list = send(Call::get("/v1/streams")).await.json().await;
        assert_eq!(list["streams"], json!([]));

        // Who waits for the first byte is told, too.
        let id = gateway.stream("silent").await;
        let cast = gateway.cast(&id);
        let purge = async {
            within("a viewer", async {
                while cast.viewers() == 0 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            assert_eq!(send(Call::delete(format!("/v1/streams/{id}?purge=1"))).await.status, 202);
        };
        let (raw, ()) = tokio::join!(send(Call::get(format!("/v1/streams/{id}/raw"))), purge);
        assert_eq!(raw.error().await, (410, "gone".into()));
        drop(cast);
        within("everything to be given back", async {
            while gateway.budget_held() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    })
    .await;
}
