//! Every way in which a stream can end (DESIGN §4.1): one end, the same for everybody, and nothing after it.

use serde_json::{Value, json};
use tokencast::config::Config;
use tokio::task::JoinSet;

use crate::gateway::{Case, Gateway, Journal, config, everywhere};
use crate::http::within;
use crate::provider::{Ending, Framing, Hold, Provider, Script};
use crate::says::{DONE, Say, chunk, mute, text};
use crate::viewing::Transport;

const KEY: &str = "sk-a-very-secret-key";

/// What a script leads to: reason, code, a part of the message, and how many blocks.
struct Row {
    name: &'static str,
    script: Script,
    end: (&'static str, Option<&'static str>, &'static str, u64),
}

fn row(
    name: &'static str,
    script: Script,
    reason: &'static str,
    code: &'static str,
    message: &'static str,
    blocks: u64,
) -> Row {
    Row { name, script, end: (reason, Some(code).filter(|code| !code.is_empty()), message, blocks) }
}

fn finish(choice: u64) -> String {
    chunk(&[Say::Text(choice, "."), Say::Finish(choice, "stop")]).bytes
}

fn completed() -> Vec<Row> {
    let a = text("a").bytes;
    let other = chunk(&[Say::Text(1, "b")]).bytes;
    let row = |name, script, blocks| row(name, script, "completed", "", "", blocks);
    let whole = format!("{a}{DONE}");
    vec![
        row("marker", Script::says(&whole), 2),
        row("marker and finish", Script::says(format!("{a}{}{DONE}", finish(0))), 3),
        row("finish and EOF", Script::says(format!("{a}{}", finish(0))), 2),
        row("every finish and EOF", Script::says(format!("{a}{other}{}{}", finish(1), finish(0))), 4),
        row("finish, usage and EOF", Script::says(finish(0) + &chunk(&[Say::Usage(1, 2)]).bytes), 2),
        row("marker, then a cut", Script::says(&whole).ends(Ending::Cut), 2),
        row("marker, then nothing", Script::says(&whole).ends(Ending::Hang), 2),
        row("marker, then more", Script::says(format!("{whole}{}", finish(0))), 3),
        row("no content type", Script::says(&whole).without_content_type(), 2),
        row("identity", Script::says(&whole).header("content-encoding", "identity"), 2),
        row("until close", Script::says(&whole).framed(Framing::Close), 2),
    ]
}

fn failed() -> Vec<Row> {
    let a = text("a").bytes;
    let refused = |status, body: &str| Script::new(status, "application/json").write(body);
    let error = chunk(&[Say::Error("out of luck")]).bytes;
    let half = "data: {\"choices\":[{\"del";
    let row = |name, script, code, message, blocks| row(name, script, "failed", code, message, blocks);
    let echo =
        |text: String| refused("401 Unauthorized", &json!({ "error": { "message": text } }).to_string());
    vec![
        row(
            "429",
            refused("429 Too Many Requests", r#"{"error":{"message":"slow down"}}"#),
            "upstream_status",
            "429",
            0,
        ),
        row(
            "a message",
            refused("400 Bad Request", r#"{"error":{"message":"slow down"}}"#),
            "upstream_status",
            "slow down",
            0,
        ),
        row(
            "bare text",
            Script::new("503 Nope", "text/html").write("<h1>away</h1>"),
            "upstream_status",
            "<h1>away</h1>",
            0,
        ),
        row("no text", refused("500 Oops", ""), "upstream_status", "500", 0),
        row("our key", echo(format!("Incorrect API key: {KEY}.")), "upstream_status", "[redacted]", 0),
        row("our key at the limit", echo(format!("{}{KEY}", "x".repeat(990))), "upstream_status", "xxx", 0),
        row("no head", Script::nothing().ends(Ending::Cut), "upstream_cut", "", 0),
        row("reset before the head", Script::nothing().ends(Ending::Reset), "upstream_cut", "", 0),
        row("cut before a byte", Script::sse().ends(Ending::Cut), "upstream_cut", "", 0),
        row("cut", Script::says(&a).ends(Ending::Cut), "upstream_cut", "", 1),
        row("cut in a block", Script::says(&a).write(half).ends(Ending::Cut), "upstream_cut", "", 2),
        row("short", Script::says(&a).framed(Framing::Length).ends(Ending::Cut), "upstream_cut", "", 1),
        row("reset", Script::says(&a).pause(100).ends(Ending::Reset), "upstream_cut", "", 1),
        row("nothing", Script::sse(), "upstream_eof", "", 0),
        row("unfinished", Script::says(&a), "upstream_eof", "", 1),
        row(
            "one of two finished",
            Script::says(text("a").bytes + &chunk(&[Say::Text(1, "b")]).bytes + &finish(0)),
            "upstream_eof",
            "",
            3,
        ),
        row("half a marker", Script::says(format!("{a}data: [DONE]\n")), "upstream_eof", "", 2),
        row(
            "silent before the head",
            Script::nothing().ends(Ending::Hang),
            "upstream_silent",
            "first_byte_s",
            0,
        ),
        row("silent behind the head", Script::sse().ends(Ending::Hang), "upstream_silent", "silent_s", 0),
        row("silent", Script::says(&a).ends(Ending::Hang), "upstream_silent", "silent_s", 1),
        row(
            "silent in a block",
            Script::says(&a).write(half).ends(Ending::Hang),
            "upstream_silent",
            "silent_s",
            2,
        ),
        row("error", Script::says(format!("{a}{error}{DONE}")), "upstream_error", "out of luck", 3),
        row(
            "error, then nothing",
            Script::says(format!("{a}{error}")).ends(Ending::Hang),
            "upstream_error",
            "out of luck",
            2,
        ),
        row(
            "error at the finish",
            Script::says(format!("{}{error}{DONE}", finish(0))),
            "upstream_error",
            "out of luck",
            3,
        ),
        row("JSON", refused("200 OK", r#"{"choices":[]}"#), "not_a_stream", "application/json", 0),
        row(
            "HTML",
            Script::new("200 OK", "text/html").write("<h1>login</h1>"),
            "not_a_stream",
            "text/html",
            0,
        ),
        row("gzip", Script::says(DONE).header("content-encoding", "gzip"), "not_a_stream", "gzip", 0),
        row(
            "redirect",
            Script::new("307 Elsewhere", "text/plain").header("location", "/v1/x"),
            "not_a_stream",
            "307",
            0,
        ),
    ]
}

fn limits() -> Vec<Row> {
    let a = text("a").bytes;
    let row = |name, script, code, message, blocks| row(name, script, "limit", code, message, blocks);
    let line = [b"data: ".as_slice(), &[b'x'; 70_000]].concat();
    let many = Script::sse().write(mute(&format!("x{}\n\n", "x".repeat(9997))).bytes.repeat(30)).write(DONE);
    vec![
        row("a large block", Script::says(&a).write_in(&line, &[5000]), "upstream_too_large", "65536", 1),
        row("a large stream", many, "stream_too_large", "stream_bytes_max", 20),
    ]
}

fn strict(case: Case, provider: &Provider) -> Config {
    let mut config = config(case.journal, &provider.base_url());
    config.providers[0].api_key_env = Some("KEY".into());
    config.upstream.first_byte_s = 1;
    config.upstream.silent_s = 1;
    config.upstream.block_bytes_max = 65_536;
    config.limits.stream_bytes_max = 200_000;
    config
}

async fn check(case: Case, rows: Vec<Row>) {
    let provider = Provider::start().await;
    let gateway = Gateway::start_with(&strict(case, &provider), &[("KEY", KEY)]);
    let total = rows.len();
    let mut viewers = JoinSet::new();
    for Row { name, script, end } in rows {
        provider.plays(name, script);
        let id = gateway.stream(name).await;
        let viewing = gateway.watch(case.transport, &id, "").await;
        viewers.spawn(async move { (name, id, end, viewing.rest().await) });
    }
    for (name, id, (reason, code, message, blocks), events) in viewers.join_all().await {
        let end = events.last().unwrap().data.clone();
        assert_eq!((&end["reason"], &end["code"]), (&json!(reason), &json!(code)), "{name}: {end}");
        assert_eq!(end["blocks"], blocks, "{name}: {end}");
        assert_eq!(events.last().unwrap().id, Some(blocks + 1), "{name}");
        let said = end["message"].as_str().unwrap_or_default();
        assert!(said.contains(message), "{name}: {end}");
        assert_eq!(end["message"].is_null(), reason == "completed", "{name}: {end}");
        assert!(!end.to_string().contains(&KEY[..6]), "{name}: {end}");
        assert_eq!(events.iter().filter(|event| event.name == "end").count(), 1, "{name}");
        let said = |name: &str| events.iter().any(|event| event.name == name);
        assert_eq!(
            said("error"),
            code == Some("upstream_error"),
            "{name}: only what the provider said in band"
        );
        assert_eq!(gateway.end(case.transport, &id).await, end, "{name}: the same for everybody");
        let state = gateway.state(&id).await;
        assert_eq!((&state["status"], &state["end"]), (&json!(reason), &end), "{name}");
        assert_eq!((&state["blocks"], &state["hash"]), (&end["blocks"], &end["hash"]), "{name}");
    }
    let calls =
        provider.until("every connection to be closed", |calls| calls.iter().all(|call| call.over)).await;
    assert_eq!(calls.len(), total, "what was sent is never sent again");
    assert!(calls.iter().all(|call| call.head.contains(&format!("authorization: Bearer {KEY}\r\n"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_completed_by_the_providers_own_marker_only() {
    everywhere(async |case| check(case, completed()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_has_its_code() {
    everywhere(async |case| check(case, failed()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_cut_off() {
    everywhere(async |case| check(case, limits()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_64_mib_costs_no_memory() {
    let script = Script::says(text("a").bytes).write_in(&[b'x'; 1 << 20].repeat(64), &[1 << 16]);
    let provider = Provider::with(script).await;
    let gateway = Gateway::before(&provider, crate::gateway::Journal::Memory);
    let id = gateway.stream("m").await;
    let end = gateway.end(Transport::SseH1, &id).await;
    assert_eq!((&end["reason"], &end["code"]), (&json!("limit"), &json!("upstream_too_large")), "{end}");
    assert_eq!(end["blocks"], 1);
    assert!(gateway.budget_held() < 64 * 1024, "{}", gateway.budget_held());
    let calls = provider.until("the connection to be closed", |calls| calls[0].over).await;
    assert!(calls[0].by_client && calls[0].written < 16 << 20, "{} bytes were read", calls[0].written);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connect_is_tried_again_and_then_given_up() {
    everywhere(async |case| {
        // A port that was free a moment ago.
        let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut config = config(case.journal, &format!("http://{addr}/v1"));
        config.upstream.connect_attempts = 2;
        let gateway = Gateway::start(config);
        let id = gateway.stream("m").await;
        let end = gateway.end(case.transport, &id).await;
        assert_eq!((&end["reason"], &end["code"]), (&json!("failed"), &json!("upstream_connect")), "{end}");

        let mut config = crate::gateway::config(case.journal, &format!("http://{addr}/v1"));
        config.upstream.connect_attempts = 8;
        let gateway = Gateway::start(config);
        let id = gateway.stream("m").await;
        let viewing = gateway.watch(case.transport, &id, "").await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let provider = Provider::start_at(addr).await;
        provider.plays("m", Script::says(format!("{}{DONE}", text("late").bytes)));
        let events = viewing.rest().await;
        assert_eq!(crate::fold::text(&events, 0), "late");
        assert_eq!(events.last().unwrap().data["reason"], "completed");
        assert_eq!(provider.calls().len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stream_takes_longer_than_total_s() {
    everywhere(async |case| {
        let endless = (0..200).fold(Script::sse(), |script, _| script.write(text("a").bytes).pause(50));
        let provider = Provider::with(endless).await;
        let mut config = config(case.journal, &provider.base_url());
        config.upstream.total_s = 1;
        let gateway = Gateway::start(config);
        let id = gateway.stream("m").await;
        let end = gateway.end(case.transport, &id).await;
        assert_eq!((&end["reason"], &end["code"]), (&json!("limit"), &json!("total_timeout")), "{end}");
        assert!(provider.until("a closed connection", |calls| calls[0].over).await[0].by_client);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_viewers_is_cancelled_where_it_says_so() {
    everywhere(async |case| {
        let hold = Hold::new();
        let provider = Provider::with(Script::says(text("a").bytes).wait(&hold).write(DONE)).await;
        let gateway = Gateway::before(&provider, case.journal);
        let start = async |policy: Value| {
            let request = json!({ "model": "m" });
            let answer = gateway.start_stream(&json!({ "request": request, "on_no_viewers": policy })).await;
            answer["id"].as_str().unwrap().to_owned()
        };
        // Nobody came.
        let id = start(json!({ "cancel_after_s": 0 })).await;
        gateway.has_ended(&id).await;
        let end = gateway.end(case.transport, &id).await;
        assert_eq!((&end["reason"], &end["code"]), (&json!("cancelled"), &json!("no_viewers")), "{end}");

        // Somebody stays for longer than that, one leaves, and the rest is nobody's.
        let (left, kept) =
            (start(json!({ "cancel_after_s": 1 })).await, start(json!({ "cancel_after_s": 1 })).await);
        let on = start(json!("continue")).await;
        let mut viewers = Vec::new();
        for id in [&left, &kept] {
            let viewing = gateway.watch(Transport::SseH1, id, "").await;
            viewers.push(viewing);
        }
        let kept_viewer = viewers.pop().unwrap();
        drop(viewers);
        gateway.has_ended(&left).await;
        assert_eq!(gateway.end(case.transport, &left).await["code"], "no_viewers");
        assert_eq!(gateway.state(&kept).await["status"], "running");
        assert_eq!(gateway.state(&on).await["status"], "running");
        // Of the first one the provider may not even have heard.
        let open = |calls: &[crate::provider::Called]| calls.iter().filter(|call| !call.over).count();
        let calls = provider.until("a closed connection", |calls| calls.len() >= 3 && open(calls) == 2).await;
        assert!(calls.iter().all(|call| call.over == call.by_client));
        hold.release();
        hold.release();
        assert_eq!(kept_viewer.rest().await.last().unwrap().data["reason"], "completed");
        gateway.has_ended(&on).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_first_byte_is_a_viewer() {
    let hold = Hold::new();
    let provider = Provider::with(Script::sse().wait(&hold).write(DONE)).await;
    let gateway = Gateway::before(&provider, crate::gateway::Journal::Memory);
    let envelope = json!({ "request": { "model": "m" }, "on_no_viewers": { "cancel_after_s": 1 } });
    for view in ["events", "raw", "text"] {
        let answer = gateway.start_stream(&envelope).await;
        let id = answer["id"].as_str().unwrap();
        let call = crate::http::Call::get(format!("/v1/streams/{id}/{view}"));
        let reading = async {
            let mut reply = gateway.send(&call).await;
            reply.body.whole().await
        };
        let patience = async {
            tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
            hold.release();
        };
        tokio::join!(reading, patience);
        assert_eq!(gateway.state(id).await["status"], "completed", "{view}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_memory_budget_new_work_is_refused_and_old_work_ends() {
    everywhere(async |case| {
        let token: &'static str = "x".repeat(10_000).leak();
        let hold = Hold::new();
        let provider = Provider::start().await;
        provider.plays("small", Script::says(text("a").bytes).wait(&hold).write(DONE));
        provider.plays("large", Script::says(text(token).bytes.repeat(40)).ends(Ending::Hang));
        let mut config = config(case.journal, &provider.base_url());
        config.limits.memory_bytes_max = 200_000;
        let gateway = Gateway::start(config);
        let small = gateway.stream("small").await;
        // It appends nothing while there is no room, so it goes on.
        gateway.has_blocks(&small, 1).await;
        let large = gateway.stream("large").await;
        gateway.has_ended(&large).await;
        let reply = gateway.send(&crate::http::Call::post(r#"{"request":{"model":"small"}}"#)).await;
        match case.journal {
            Journal::Memory => {
                assert_eq!(reply.header("retry-after"), Some("1"));
                assert_eq!(reply.error().await, (503, "overloaded".into()));
            }
            // What has ended leaves the memory first; below, as soon as its task is gone, too.
            Journal::Sqlite => assert!([201, 503].contains(&reply.status), "{}", reply.status),
        }
        let end = gateway.end(case.transport, &large).await;
        assert_eq!((&end["reason"], &end["code"]), (&json!("limit"), &json!("overloaded")), "{end}");
        let again = gateway.watch(case.transport, &large, "").await.rest().await;
        let said = crate::fold::text(&again, 0).len() as u64;
        assert_eq!((said, said > 0), (end["blocks"].as_u64().unwrap() * 10_000, true), "it stays readable");
        // What it held comes back with it.
        gateway.send(&crate::http::Call::delete(format!("/v1/streams/{large}?purge=1"))).await;
        within("room", async {
            while gateway.send(&crate::http::Call::post(r#"{"request":{"model":"small"}}"#)).await.status
                != 201
            {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await;
        hold.release();
        hold.release();
        gateway.has_ended(&small).await;
    })
    .await;
}
