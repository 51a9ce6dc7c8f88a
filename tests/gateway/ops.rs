//! Operations: health, readiness, metrics, the catalogue, and the drain.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::gateway::{Gateway, Journal, config, everywhere};
use crate::http::{Call, Over, Protocol, within};
use crate::provider::{Ending, Hold, Provider, Script};
use crate::says::{DONE, Say, chunk, text};
use crate::viewing::Transport;

async fn ops(addr: std::net::SocketAddr, path: &str) -> (u16, String) {
    let mut reply = Call::get(path).send(Protocol::H1, addr).await;
    assert!(reply.header("tokencast-request-id").is_some());
    let (bytes, over) = reply.body.whole().await;
    assert_eq!(over, Over::Clean);
    (reply.status, String::from_utf8(bytes).unwrap())
}

/// The names of all metrics, as the one module that may name them describes them.
fn described() -> BTreeSet<String> {
    let source = include_str!("../../src/telemetry/mod.rs");
    let names = source.split("describe_").skip(1).filter_map(|rest| rest.split('"').nth(1));
    names.filter(|name| name.starts_with("tokencast_")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_there_and_its_labels_are_bounded() {
    let provider = Provider::start().await;
    let body = format!("{}{}{DONE}", text("a").bytes, chunk(&[Say::Finish(0, "stop")]).bytes);
    provider.plays("m-free-text", Script::says(body));
    let mut config = config(Journal::Sqlite, &provider.base_url());
    // A provider that nobody is behind, for retries.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut second = config.providers[0].clone();
    (second.name, second.base_url) = ("nobody".into(), format!("http://{nobody}/v1").parse().unwrap());
    config.providers.push(second);
    config.upstream.connect_attempts = 2;
    let gateway = Gateway::start(config);
    let envelope = |id: &str, provider: &str| json!({ "request": { "model": "m-free-text" }, "id": id, "provider": provider });
    for (id, provider) in [("an-own-id", "test"), ("another-id", "nobody")] {
        gateway.start_stream(&envelope(id, provider)).await;
        gateway.has_ended(id).await;
    }
    for transport in Transport::ALL {
        gateway.watch(transport, "an-own-id", "?after=1").await.rest().await;
    }
    for path in ["an-own-id/raw", "an-own-id/text", "an-own-id", "an-own-id/events?after=9", "unknown-id"] {
        gateway.send(&Call::get(format!("/v1/streams/{path}"))).await.body.whole().await;
    }
    gateway.send(&Call::get("/a/path/of/somebody")).await.body.whole().await;
    let (status, text) = ops(gateway.ops, "/metrics").await;
    assert_eq!(status, 200);
    let samples: Vec<&str> = text.lines().filter(|line| line.starts_with("tokencast_")).collect();
    let has = |name: &str| {
        let is = |line: &&&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{', '_']));
        samples.iter().any(|line| is(&line))
    };
    let missing: Vec<String> = described().into_iter().filter(|name| !has(name)).collect();
    assert_eq!((missing, described().len() > 15), (Vec::<String>::new(), true));
    // Other tests count in the same process; what is exact is in tests/crash/metrics.rs.
    for counted in ["commits_total", "commit_seconds_count", "durable_seconds_count", "database_bytes"] {
        let name = format!("tokencast_journal_{counted} ");
        let value = samples.iter().find_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok());
        assert!(value > Some(0.0), "{name}{value:?}");
    }
    let allowed = [
        "provider",
        "view",
        "transport",
        "reason",
        "code",
        "cause",
        "direction",
        "listener",
        "outcome",
        "route",
        "version",
        "where",
        "limit",
        "said_by",
        "le",
        "quantile",
    ];
    for line in &samples {
        for private in ["an-own-id", "another-id", "unknown-id", "free-text", "somebody"] {
            assert!(!line.contains(private), "{line}");
        }
        let Some((_, labels)) = line.split_once('{') else { continue };
        for label in labels.split_once('}').unwrap().0.split("\",") {
            let name = label.split('=').next().unwrap();
            assert!(allowed.contains(&name), "{name} in {line}");
        }
    }
    for wanted in [
        "tokencast_streams_ended_total{provider=\"nobody\",reason=\"failed\",code=\"upstream_connect\"} 1",
        "tokencast_upstream_retries_total{provider=\"nobody\"} 1",
        "route=\"/v1/streams/{id}/raw\"",
        "route=\"none\"",
        "process_",
    ] {
        assert!(text.contains(wanted), "{wanted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_a_stream_is_told_while_it_runs_and_after_it() {
    let hold = Hold::new();
    let script = Script::says(chunk(&[Say::Meta, Say::Text(0, "a"), Say::Reasoning(0, "hm")]).bytes);
    let tool = chunk(&[Say::Tool(0, 0, Some(("c", "f")), "{}"), Say::Text(1, "b")]).bytes;
    let script =
        script.wait(&hold).write(tool + &chunk(&[Say::Usage(3, 4), Say::Finish(0, "stop")]).bytes + DONE);
    let provider = Provider::with(script).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let envelope = r#"{"request":{"model":"m"},"metadata":{"b": 1, "a":1e2},"ttl_s":77,"id":"x"}"#;
    assert_eq!(gateway.send(&Call::post(envelope)).await.status, 201);
    let _viewing = gateway.watch(Transport::SseH1, "x", "").await;
    gateway.has_blocks("x", 1).await;
    let running = gateway.state("x").await;
    let parts = |state: &Value, keys: &[&str]| keys.iter().map(|key| state[*key].clone()).collect::<Vec<_>>();
    assert_eq!(
        parts(
            &running,
            &["id", "status", "end", "usage", "blocks", "frames", "viewers", "ended_at", "expires_at"]
        ),
        [
            json!("x"),
            json!("running"),
            json!(null),
            json!(null),
            json!(1),
            json!(1),
            json!(1),
            json!(null),
            json!(null)
        ]
    );
    assert_eq!(running["metadata"], json!({ "b": 1, "a": 100.0 }));
    assert!(running["ttft_ms"].as_f64().is_some_and(|ms| ms > 0.0 && ms < 10_000.0), "{running}");
    assert_eq!(
        parts(&running, &["provider", "model", "upstream_id"]),
        [json!("test"), json!("a-model"), json!("up-1")]
    );
    hold.release();
    gateway.has_ended("x").await;
    let ended = gateway.state("x").await;
    assert_eq!(
        ended["choices"],
        json!([
            {
                "text": "a", "reasoning": "hm", "refusal": "", "finish": "stop",
                "tool_calls": [{ "index": 0, "id": "c", "name": "f", "arguments": "{}" }],
            },
            { "choice": 1, "text": "b", "reasoning": "", "refusal": "", "finish": null, "tool_calls": [] },
        ])
    );
    assert_eq!(
        parts(&ended, &["status", "blocks", "usage"]),
        [json!("completed"), json!(4), json!({ "input": 3, "output": 4 })]
    );
    assert_eq!(ended["end"]["hash"], ended["hash"]);
    let at = |key: &str| humantime_ms(ended[key].as_str().unwrap());
    assert!(at("started_at") <= at("ended_at"));
    assert_eq!(at("expires_at") - at("ended_at"), 77_000);
}

/// Milliseconds of a day, which is near enough.
fn humantime_ms(text: &str) -> i64 {
    let (day, time) = text.trim_end_matches('Z').split_once('T').unwrap();
    let day: i64 = day.rsplit('-').next().unwrap().parse().unwrap();
    let part = |at: std::ops::Range<usize>| time[at].parse::<i64>().unwrap();
    day * 86_400_000 + part(0..2) * 3_600_000 + part(3..5) * 60_000 + part(6..8) * 1000 + part(9..12)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_newest_first_and_has_pages() {
    let hold = Hold::new();
    let provider = Provider::with(Script::says(DONE)).await;
    provider.plays("runs", Script::sse().wait(&hold));
    let gateway = Gateway::before(&provider, Journal::Memory);
    for number in 0..7 {
        let model = if number % 3 == 0 { "runs" } else { "m" };
        let id = format!("s{number}");
        gateway.start_stream(&json!({ "request": { "model": model }, "id": id })).await;
        if model == "m" {
            gateway.has_ended(&id).await;
        }
    }
    let list = async |query: &str| -> (Vec<String>, Option<String>) {
        let list = gateway.send(&Call::get(format!("/v1/streams?{query}"))).await.json().await;
        let ids = list["streams"]
            .as_array()
            .unwrap()
            .iter()
            .map(|stream| stream["id"].as_str().unwrap().to_owned());
        (ids.collect(), list["next"].as_str().map(str::to_owned))
    };
    assert_eq!(list("").await, (["s6", "s5", "s4", "s3", "s2", "s1", "s0"].map(str::to_owned).into(), None));
    assert_eq!(list("status=running").await.0, ["s6", "s3", "s0"]);
    assert_eq!(list("status=completed").await.0, ["s5", "s4", "s2", "s1"]);
    assert_eq!(list("status=failed").await.0.len(), 0);
    for (filter, wanted) in [("", "s6 s5 s4 s3 s2 s1 s0"), ("&status=completed", "s5 s4 s2 s1")] {
        let (mut seen, mut page) = (Vec::new(), String::new());
        loop {
            let (ids, next) = list(&format!("limit=2{filter}{page}")).await;
            assert!(ids.len() <= 2);
            seen.extend(ids);
            // Pages stay what they are when something new begins.
            let Some(next) = next else { break };
            // Nobody counts by them what others start.
            assert!(next.len() == 32 && next.parse::<u64>().is_err(), "{next}");
            page = format!("&page={next}");
        }
        assert_eq!(seen.join(" "), wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_takes_nothing_new_and_lets_what_runs_end() {
    everywhere(async |case| {
        let hold = Hold::new();
        let provider = Provider::start().await;
        provider.plays("ends", Script::says(text("a").bytes).wait(&hold).write(DONE));
        provider.plays("hangs", Script::says(text("a").bytes).ends(Ending::Hang));
        let mut config = config(case.journal, &provider.base_url());
        config.drain.grace_s = 2;
        let gateway = Gateway::start(config);
        let (ends, hangs) = (gateway.stream("ends").await, gateway.stream("hangs").await);
        gateway.has_blocks(&ends, 1).await;
        gateway.has_blocks(&hangs, 1).await;
        let before = gateway.watch(case.transport, &ends, "").await;
        let hanging = gateway.watch(case.transport, &hangs, "").await;
        let mut raw = gateway.send(&Call::get(format!("/v1/streams/{hangs}/raw"))).await;
        assert_eq!(ops(gateway.ops, "/healthz").await.0, 200);
        assert_eq!(ops(gateway.ops, "/readyz").await, (200, "ready\n".into()));

        let (http, ops_addr) = (gateway.http, gateway.ops);
        let stop = tokio_util::sync::CancellationToken::new();
        let (server, told) = (gateway.into_server(), stop.clone());
        let hub = server.hub().clone();
        let mut running = JoinSet::new();
        running.spawn(async move { server.run(told.cancelled_owned(), std::future::pending()).await });
        stop.cancel();
        within("the drain to begin", hub.draining().cancelled()).await;

        assert_eq!(ops(ops_addr, "/readyz").await, (503, "draining\n".into()));
        assert_eq!(ops(ops_addr, "/healthz").await.0, 200);
        let post = Call::post(r#"{"request":{"model":"ends"}}"#).send(case.transport.protocol(), http).await;
        assert!(post.header("retry-after").is_some());
        assert_eq!(post.error().await, (503, "draining".into()));
        // New viewers are still taken.
        let target = format!("/v1/streams/{ends}/events");
        let after = crate::viewing::Viewing::open(case.transport, http, &target).await;
        if let Some(retry) = after.retry_ms {
            assert!((1000..=5000).contains(&retry), "{retry}");
        }
        hold.release();
        for viewing in [before, after] {
            let events = viewing.rest().await;
            assert_eq!(events.last().unwrap().data["reason"], "completed");
        }
        assert!(running.try_join_next().is_none(), "the other stream has its grace");
        let end = hanging.rest().await.pop().unwrap();
        assert_eq!((&end.data["reason"], &end.data["code"]), (&json!("interrupted"), &json!("drain")));
        assert_eq!(raw.body.whole().await, (text("a").bytes.into(), Over::Broken));
        within("the server to leave", running.join_next()).await.unwrap().unwrap();
        for addr in [http, ops_addr] {
            assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "nobody listens any more");
        }
        let calls = provider.until("closed connections", |calls| calls.iter().all(|call| call.over)).await;
        for call in calls {
            let hung = String::from_utf8_lossy(&call.body).contains("hangs");
            assert_eq!(call.by_client, hung, "{call:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_gateway_leaves_at_once_and_a_hurry_cuts_the_grace() {
    let provider = Provider::with(Script::says(text("a").bytes).ends(Ending::Hang)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    // A connection that is kept alive keeps nobody.
    let mut idle = tokio::net::TcpStream::connect(gateway.http).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut idle, &Call::get("/v1/streams").bytes(gateway.http))
        .await
        .unwrap();
    let began = std::time::Instant::now();
    within("the server to leave", gateway.into_server().run(async {}, std::future::pending())).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());

    let gateway = Gateway::before(&provider, Journal::Memory);
    let id = gateway.stream("m").await;
    gateway.has_blocks(&id, 1).await;
    let viewing = gateway.watch(Transport::SseH1, &id, "").await;
    let server = gateway.into_server();
    let (events, ()) = tokio::join!(viewing.rest(), server.run(async {}, async {}));
    assert_eq!(events.last().unwrap().data["code"], "drain");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}
