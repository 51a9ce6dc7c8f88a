//! Order, gaps, resumption: from every cursor exactly the rest, with the ids of DESIGN §5.1.

use serde_json::{Value, json};

use crate::gateway::{Case, Gateway, everywhere};
use crate::http::Call;
use crate::provider::{Hold, Provider, Script};
use crate::says::{Block, DONE, Say, chunk, expected, mute, text};
use crate::viewing::{Batch, Event, Transport};

/// Frames that have everything in them. Each ends where the gateway has to flush: at the first token, at a finish, or
/// where the provider has nothing more for now.
fn frames() -> Vec<Vec<Block>> {
    vec![
        vec![mute(": hello\n\n"), chunk(&[Say::Meta]), text("He")],
        vec![text("llo"), text(" "), text("world")],
        vec![mute(": keep-alive\n\n"), mute("data: {\"choices\":[]}\n\n")],
        // Two events of one block, and a merged one that ends inside of a block.
        vec![
            chunk(&[Say::Reasoning(0, "hm"), Say::Text(0, "a")]),
            text("b"),
            chunk(&[Say::Text(0, "c"), Say::Refusal(0, "no")]),
        ],
        // Two choices by turns.
        vec![
            chunk(&[Say::Text(0, "x"), Say::Text(1, "y")]),
            chunk(&[Say::Text(0, "x"), Say::Text(1, "y")]),
            chunk(&[Say::Text(1, "z")]),
            mute(": c\n\n"),
            chunk(&[Say::Text(1, "z")]),
        ],
        vec![
            chunk(&[Say::Tool(0, 0, Some(("call_1", "search")), "")]),
            chunk(&[Say::Tool(0, 0, None, "{\"q\":")]),
            chunk(&[Say::Tool(0, 0, None, "1}")]),
            chunk(&[Say::Tool(0, 1, Some(("call_2", "find")), "{}")]),
            mute(": c\n\n"),
        ],
        vec![chunk(&[Say::Text(1, "."), Say::Finish(1, "stop")])],
        vec![chunk(&[Say::Tool(0, 1, None, " "), Say::Finish(0, "tool_calls")])],
        vec![chunk(&[Say::Usage(12, 80)]), mute(DONE)],
    ]
}

fn blocks(frames: &[Vec<Block>]) -> u64 {
    frames.iter().map(|frame| frame.len() as u64).sum()
}

/// A gateway with a stream of these frames, each written when the one before is in the log.
async fn played(case: Case, frames: &[Vec<Block>]) -> (Gateway, Provider, String) {
    let hold = Hold::new();
    let mut script = Script::sse();
    for frame in frames {
        let bytes: String = frame.iter().map(|block| block.bytes.as_str()).collect();
        script = script.write(bytes).wait(&hold);
    }
    let provider = Provider::with(script).await;
    let gateway = Gateway::before(&provider, case.journal);
    let id = gateway.stream("m").await;
    let mut tail = 0;
    for frame in frames {
        tail += frame.len() as u64;
        gateway.has_blocks(&id, tail).await;
        hold.release();
    }
    gateway.has_ended(&id).await;
    (gateway, provider, id)
}

fn end(frames: &[Vec<Block>]) -> Event {
    let body: String = frames.iter().flatten().map(|block| block.bytes.as_str()).collect();
    let data = json!({
        "reason": "completed", "code": null, "message": null,
        "finish": "tool_calls", "usage": { "input": 12, "output": 80 },
        "blocks": blocks(frames), "bytes": body.len(),
        "hash": tokencast::crypto::hex(&tokencast::crypto::sha256(body.as_bytes())),
    });
    Event { id: Some(blocks(frames) + 1), name: "end".into(), data }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_every_cursor_a_viewer_sees_exactly_the_rest() {
    everywhere(async |case| {
        let frames = frames();
        let (gateway, _provider, id) = played(case, &frames).await;
        assert_eq!(gateway.state(&id).await["frames"], frames.len(), "each group is one frame");
        let tail = blocks(&frames);
        for after in 0..=tail {
            let viewing = gateway.watch(case.transport, &id, &format!("?after={after}")).await;
            if case.transport != Transport::LongPoll {
                let open = viewing.open.clone().unwrap();
                assert_eq!(viewing.open_id, Some(after));
                assert_eq!((open["stream"].as_str(), &open["after"]), (Some(&*id), &json!(after)));
                assert_eq!((&open["tail"], &open["status"]), (&json!(tail), &json!("completed")));
                assert!(open["started_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{open}");
            }
            let mut wanted = expected(&frames, after);
            wanted.push(end(&frames));
            assert_eq!(viewing.rest().await, wanted, "after {after} over {:?}", case.transport);
        }
    })
    .await;
}

/// The model itself, against DESIGN's rules by hand.
#[test]
fn what_is_expected_is_what_the_design_says() {
    let ids = |after| -> Vec<(Option<u64>, String, u64)> {
        let from = |event: &Event| event.data["from"].as_u64().unwrap();
        expected(&frames(), after).iter().map(|event| (event.id, event.name.clone(), from(event))).collect()
    };
    let row = |id, name: &str, from| (id, name.to_owned(), from);
    let all = ids(0);
    assert_eq!(all[..3], [row(Some(2), "meta", 1), row(Some(3), "text", 3), row(Some(6), "text", 4)]);
    // Blocks 7 and 8 say nothing. 9 says two things, and the text goes on up to 11, which goes on itself.
    assert_eq!(all[3..6], [row(None, "reasoning", 7), row(None, "text", 7), row(Some(11), "refusal", 7)]);
    // Inside a frame: the rest of it afresh.
    assert_eq!(ids(4)[0], row(Some(6), "text", 5));
    assert_eq!(ids(9)[..2], [row(None, "text", 10), row(Some(11), "refusal", 10)]);
    // At a border behind blocks that say nothing: as in the log.
    assert_eq!(ids(8)[0], row(None, "reasoning", 7));
    assert_eq!(ids(7)[0], row(None, "reasoning", 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_that_come_while_it_runs_see_the_same() {
    everywhere(async |case| {
        let frames = frames();
        let hold = Hold::new();
        let mut script = Script::sse();
        for frame in &frames {
            let bytes: String = frame.iter().map(|block| block.bytes.as_str()).collect();
            script = script.wait(&hold).write(bytes);
        }
        let provider = Provider::with(script).await;
        let gateway = Gateway::before(&provider, case.journal);
        let id = gateway.stream("m").await;
        let (mut viewers, mut tail) = (tokio::task::JoinSet::new(), 0);
        for frame in &frames {
            for after in 0..=tail {
                let viewing = gateway.watch(case.transport, &id, &format!("?after={after}")).await;
                viewers.spawn(async move { (after, viewing.rest().await) });
            }
            hold.release();
            tail += frame.len() as u64;
            gateway.has_blocks(&id, tail).await;
        }
        for (after, events) in viewers.join_all().await {
            let mut wanted = expected(&frames, after);
            wanted.push(end(&frames));
            assert_eq!(events, wanted, "after {after} over {:?}", case.transport);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_the_end_there_is_nothing_and_beyond_it_a_conflict() {
    everywhere(async |case| {
        let frames = frames();
        let (gateway, _provider, id) = played(case, &frames).await;
        let tail = blocks(&frames);
        let ask = async |after: u64, by_header: bool| {
            let path = format!("/v1/streams/{id}/events");
            let call = if by_header {
                Call::get(path).header("last-event-id", after.to_string())
            } else {
                Call::get(format!("{path}?after={after}"))
            };
            let accept = if case.transport == Transport::LongPoll { "application/json" } else { "*/*" };
            call.header("accept", accept).send(case.transport.protocol(), gateway.http).await
        };
        for by_header in [false, true] {
            let mut over = ask(tail + 1, by_header).await;
            let body = over.body.whole().await.0;
            match case.transport {
                Transport::LongPoll => {
                    let batch = Batch::parse(&body);
                    assert_eq!((over.status, batch.events.len(), batch.cursor), (200, 0, tail + 1));
                    assert_eq!(batch.end, end(&frames).data);
                }
                _ => assert_eq!((over.status, body.len()), (204, 0)),
            }
            for ahead in [tail + 2, tail + 1000, (1 << 53) - 1] {
                let (status, error) = ask(ahead, by_header).await.error_json().await;
                assert_eq!((status, error["code"].as_str()), (409, Some("cursor_ahead")));
                assert_eq!(error["detail"]["tail"], tail);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_wins_over_the_query_and_an_empty_one_is_none() {
    let frames = frames();
    let case = Case { transport: Transport::SseH1, journal: crate::gateway::Journal::Memory };
    let (gateway, _provider, id) = played(case, &frames).await;
    let tail = blocks(&frames);
    for (header, query, after) in [
        (Some("5"), "?after=2", 5),
        (Some(""), "?after=2", 2),
        (Some(""), "", 0),
        (None, "?from=live", tail),
        (Some("3"), "?from=live", 3),
        (None, "?after=4&from=live", 4),
        (None, "?after=0007", 7),
    ] {
        let mut call = Call::get(format!("/v1/streams/{id}/events{query}"));
        if let Some(header) = header {
            call = call.header("last-event-id", header);
        }
        let mut reply = gateway.send(&call).await;
        let (body, _) = reply.body.whole().await;
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains(&format!("\nid: {after}\nevent: open\n")), "{header:?} {query}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_its_tail_are_the_whole() {
    everywhere(async |case| {
        let frames = frames();
        let hold = Hold::new();
        let half: Vec<Block> = frames[..4].concat();
        let rest: Vec<Block> = frames[4..].concat();
        let bytes = |blocks: &[Block]| blocks.iter().map(|block| &*block.bytes).collect::<String>();
        let script = Script::says(bytes(&half)).wait(&hold).write(bytes(&rest));
        let provider = Provider::with(script).await;
        let gateway = Gateway::before(&provider, case.journal);
        let id = gateway.stream("m").await;
        gateway.has_blocks(&id, half.len() as u64).await;
        let mut viewing = gateway.watch(case.transport, &id, "?snapshot=1").await;
        let snapshot = viewing.until("snapshot").await;
        assert_eq!(snapshot.id, Some(11));
        assert_eq!(
            snapshot.data,
            json!({
                "upto": 11,
                "choices": [{
                    "text": "Hello worldabc", "reasoning": "hm", "refusal": "no", "tool_calls": [], "finish": null,
                }],
                "usage": null,
            })
        );
        hold.release();
        let events = viewing.rest().await;
        assert_eq!(events.last().unwrap(), &end(&frames));
        assert!(events.iter().all(|event| event.id.is_none_or(|id| id > 11)));
        let state = gateway.state(&id).await;
        assert_eq!(state["choices"][0]["text"], "Hello worldabcxx");
        assert_eq!(state["choices"][1]["text"], "yyzz.");
        assert_eq!(crate::fold::text(&events, 0), "xx");
        assert_eq!(crate::fold::text(&events, 1), "yyzz.");
        // Of the ended stream: everything in one event, then the end.
        let events = gateway.watch(case.transport, &id, "?snapshot=1&after=0").await.rest().await;
        assert_eq!((events.len(), &*events[0].name, events[0].id), (2, "snapshot", Some(blocks(&frames))));
        assert_eq!(events[0].data["choices"], state["choices"]);
        assert_eq!(events[0].data["usage"], json!({ "input": 12, "output": 80 }));
        // With a cursor there is none.
        let events = gateway.watch(case.transport, &id, "?snapshot=1&after=1").await.rest().await;
        assert!(events.iter().all(|event| event.name != "snapshot"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_live_begins_at_the_tail() {
    everywhere(async |case| {
        let hold = Hold::new();
        let script = Script::says(text("old").bytes).wait(&hold).write(text("new").bytes).write(DONE);
        let provider = Provider::with(script).await;
        let gateway = Gateway::before(&provider, case.journal);
        let id = gateway.stream("m").await;
        gateway.has_blocks(&id, 1).await;
        let viewing = gateway.watch(case.transport, &id, "?from=live&wait_s=1").await;
        if let Some(open) = &viewing.open {
            assert_eq!((viewing.open_id, &open["after"], &open["tail"]), (Some(1), &json!(1), &json!(1)));
            assert_eq!(open["status"], "running");
        }
        // A long-poll has to be waiting before there is news.
        if case.transport != Transport::LongPoll {
            hold.release();
        }
        let releases = async {
            if case.transport == Transport::LongPoll {
                crate::http::within("a waiting viewer", async {
                    while gateway.cast(&id).viewers() == 0 {
                        tokio::task::yield_now().await;
                    }
                })
                .await;
                hold.release();
            }
        };
        let (events, ()) = tokio::join!(viewing.rest(), releases);
        assert_eq!(crate::fold::text(&events, 0), "new");
        assert_eq!(events.last().unwrap().name, "end");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_waits_for_news_and_not_for_ever() {
    let hold = Hold::new();
    let script = Script::says(text("a").bytes).wait(&hold).write(text("b").bytes).write(DONE);
    let provider = Provider::with(script).await;
    let gateway = Gateway::before(&provider, crate::gateway::Journal::Memory);
    let id = gateway.stream("m").await;
    gateway.has_blocks(&id, 1).await;
    let poll = async |query: &str| -> Value {
        let call = Call::get(format!("/v1/streams/{id}/events?{query}")).header("accept", "application/json");
        let reply = gateway.send(&call).await;
        assert_eq!((reply.status, reply.header("cache-control")), (200, Some("no-store")));
        reply.json().await
    };
    let first = poll("").await;
    let event = json!({ "id": 1, "event": "text", "data": { "from": 1, "text": "a" } });
    assert_eq!(first, json!({ "events": [event], "cursor": 1, "end": null }));
    for wait in ["wait_s=0", "wait_s=1"] {
        let none = poll(&format!("after=1&{wait}")).await;
        assert_eq!(none, json!({ "events": [], "cursor": 1, "end": null }));
    }
    hold.release();
    gateway.has_ended(&id).await;
    let last = poll("after=1").await;
    assert_eq!((&last["cursor"], &last["end"]["reason"]), (&json!(4), &json!("completed")));
    assert_eq!(poll("after=4").await, json!({ "events": [], "cursor": 4, "end": last["end"] }));
}
