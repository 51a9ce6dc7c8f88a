//! What the AI SDK's transports send, and what they get: its chunks, from the beginning or from any of them.

use http::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::gateway::{Gateway, Journal, config, over_http};
use crate::http::{Call, Over, Reply};
use crate::provider::{Ending, Hold, Provider, Script};
use crate::says::{DONE, Say, chunk, text};

const LAST: &str = "data: [DONE]\n\n";

fn asks(body: &Value) -> Call {
    Call::new(Method::POST, "/api/chat").with_body(body.to_string())
}

fn user(text: &str) -> Value {
    json!({ "id": "u1", "role": "user", "parts": [{ "type": "text", "text": text }] })
}

fn chat(id: &str, model: &str) -> Call {
    let body = json!({ "id": id, "trigger": "submit-message", "messages": [user("hi")], "model": model });
    asks(&body).header("content-type", "application/json")
}

/// Chunks as a client parses them, without what it drops.
fn chunks(bytes: &[u8]) -> Vec<Value> {
    let said = std::str::from_utf8(bytes).unwrap().strip_suffix(LAST).expect("the last line");
    let events = said.split("\n\n").filter(|event| !event.is_empty() && !event.starts_with(':'));
    events.map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap()).collect()
}

async fn whole(reply: &mut Reply) -> Vec<Value> {
    assert_eq!(reply.status, 200);
    let (bytes, over) = reply.body.whole().await;
    assert_eq!(over, Over::Clean);
    chunks(&bytes)
}

fn types(chunks: &[Value]) -> Vec<&str> {
    let types = chunks.iter().map(|chunk| chunk["type"].as_str().unwrap());
    types.filter(|kind| *kind != "data-tokencast").collect()
}

fn answer() -> String {
    let said = [
        chunk(&[Say::Meta, Say::Reasoning(0, "hm")]),
        text("Hel"),
        text("lo"),
        chunk(&[Say::Tool(0, 0, Some(("c0", "f")), "{\"a\":")]),
        chunk(&[Say::Tool(0, 1, Some(("c1", "g")), "{")]),
        chunk(&[Say::Tool(0, 0, None, "1}")]),
        chunk(&[Say::Tool(0, 1, None, "}")]),
        text("!"),
        chunk(&[Say::Finish(0, "tool_calls")]),
        chunk(&[Say::Usage(1, 2)]),
    ];
    said.map(|block| block.bytes).concat() + DONE
}

/// Sends a call and hangs up when the answer has these bytes.
async fn hang_up(gateway: &Gateway, call: &Call, after: &str) -> String {
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(&call.bytes(gateway.http)).await.unwrap();
    let mut reply = Reply::read(stream).await.expect("an answer");
    let id = reply.header("x-workflow-run-id").expect("an id").to_owned();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(after) {
        seen.extend_from_slice(&reply.body.chunk().await.expect("more"));
    }
    id
}

fn stream_of(chat: &str) -> Call {
    Call::get(format!("/api/chat/{chat}/stream"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_starts_a_stream_that_is_the_same_for_everybody() {
    // A frame for each block: chunks are where frames are.
    let provider = Provider::with(Script::sse().write_in(answer().as_bytes(), &[40, 300])).await;
    over_http(async |protocol, journal| {
        let gateway = Gateway::before(&provider, journal);
        let mut reply = chat("c", "m").send(protocol, gateway.http).await;
        let id = reply.header("x-workflow-run-id").expect("an id").to_owned();
        assert_eq!(reply.header("tokencast-stream-id"), Some(&*id));
        assert_eq!(reply.header("content-type"), Some("text/event-stream"));
        assert_eq!(reply.header("x-vercel-ai-ui-message-stream"), Some("v1"));
        assert_eq!(reply.header("x-accel-buffering"), Some("no"));
        let live = whole(&mut reply).await;
        assert_eq!(live[0], json!({ "type": "start", "messageId": format!("msg-{id}") }));
        let wanted = "start start-step reasoning-start reasoning-delta reasoning-end text-start";
        assert!(types(&live).join(" ").starts_with(wanted), "{live:?}");
        let usage = json!({ "usage": { "inputTokens": 1, "outputTokens": 2, "totalTokens": 3 } });
        let finish = json!({ "type": "finish", "finishReason": "tool-calls", "messageMetadata": usage });
        assert_eq!(live.last(), Some(&finish));
        let available = json!({ "type": "tool-input-available", "toolCallId": "c0", "toolName": "f", "input": { "a": 1 } });
        assert!(live.contains(&available), "{live:?}");
        let cursors = live.iter().filter(|chunk| chunk["type"] == "data-tokencast");
        let cursors: Vec<_> = cursors.map(|chunk| (&chunk["data"]["id"], chunk["data"]["cursor"].as_u64())).collect();
        assert!(cursors.windows(2).all(|pair| pair[0].1 < pair[1].1), "{cursors:?}");
        assert!(cursors.iter().all(|(of, _)| **of == *id));

        gateway.has_ended(&id).await;
        for path in [format!("/v1/streams/{id}/ui"), format!("/api/chat/{id}/stream?startIndex=0")] {
            let mut again = Call::get(path).send(protocol, gateway.http).await;
            assert_eq!(whole(&mut again).await, live);
        }
        assert_eq!(gateway.state(&id).await["metadata"], json!({ "chat": "c" }));
        let sent: Value = serde_json::from_slice(&provider.calls().pop().unwrap().body).unwrap();
        assert_eq!(sent["messages"], json!([{ "role": "user", "content": "hi" }]));
        assert_eq!((&sent["stream"], &sent["model"]), (&json!(true), &json!("m")));
        assert_eq!(sent["stream_options"], json!({ "include_usage": true }));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_tells_where_the_view_is() {
    let provider = Provider::with(Script::says(text("a").bytes).write(DONE)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let started = gateway.start_stream(&json!({ "request": { "model": "m" }, "id": "mine" })).await;
    assert_eq!(started["urls"]["ui"], format!("http://{}/v1/streams/mine/ui", gateway.http));
    let mut reply = gateway.send(&Call::get("/v1/streams/mine/ui")).await;
    assert_eq!(whole(&mut reply).await[0]["messageId"], "msg-mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_chat_is_resumed_by_its_id_and_a_caller_that_hangs_up_stops_nothing() {
    let hold = Hold::new();
    let script = Script::says(text("Hello").bytes).wait(&hold).write(text(" world").bytes).write(DONE);
    let provider = Provider::with(script).await;
    let gateway = Gateway::before(&provider, Journal::Sqlite);
    assert_eq!(gateway.send(&stream_of("c")).await.status, 204, "nothing was said yet");
    let id = hang_up(&gateway, &chat("c", "m"), "Hello").await;
    assert_eq!(gateway.send(&stream_of("other")).await.status, 204);
    let mut resumed = [gateway.send(&stream_of("c")).await, gateway.send(&stream_of("c")).await];
    assert_eq!(resumed[0].header("tokencast-stream-id"), Some(&*id));
    hold.release();
    let one = whole(&mut resumed[0]).await;
    assert_eq!(one, whole(&mut resumed[1]).await);
    let said: String = one.iter().filter_map(|chunk| chunk["delta"].as_str()).collect();
    assert_eq!(said, "Hello world");
    gateway.has_ended(&id).await;
    assert_eq!(gateway.send(&stream_of("c")).await.status, 204, "it is over");
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_an_app_has_started_itself_is_found_by_its_metadata() {
    let hold = Hold::new();
    let provider = Provider::with(Script::says(text("a").bytes).wait(&hold).write(DONE)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let start = |id: &str| json!({ "id": id, "request": { "model": "m" }, "metadata": { "chat": "c", "of": "mine" } });
    for id in ["first", "second"] {
        gateway.start_stream(&start(id)).await;
    }
    assert_eq!(gateway.send(&stream_of("c")).await.header("tokencast-stream-id"), Some("second"));
    assert_eq!(gateway.send(&stream_of("mine")).await.status, 204);
    hold.release();
    hold.release();
    for id in ["first", "second"] {
        gateway.has_ended(id).await;
    }
    assert_eq!(gateway.send(&stream_of("c")).await.status, 204);
    // By whoever was last.
    let id = hang_up(&gateway, &chat("c", "m"), "data-tokencast").await;
    assert_eq!(gateway.send(&stream_of("c")).await.header("tokencast-stream-id"), Some(&*id));
    gateway.start_stream(&start("third")).await;
    assert_eq!(gateway.send(&stream_of("c")).await.header("tokencast-stream-id"), Some("third"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_for_everybody() {
    let hold = Hold::new();
    let provider = Provider::with(Script::says(text("Hello").bytes).wait(&hold)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let mut caller = gateway.send(&chat("c", "m")).await;
    let mut other = gateway.send(&stream_of("c")).await;
    let id = caller.header("x-workflow-run-id").unwrap().to_owned();
    gateway.has_blocks(&id, 1).await;
    let stop = Call::new(Method::DELETE, "/api/chat/c/stream");
    assert_eq!(gateway.send(&stop).await.status, 204);
    let said = whole(&mut caller).await;
    assert_eq!(said, whole(&mut other).await);
    let wanted =
        ["start", "start-step", "text-start", "text-delta", "text-end", "abort", "finish-step", "finish"];
    assert_eq!(types(&said), wanted);
    provider.until("a hang-up", |calls| calls[0].by_client).await;
    assert_eq!(gateway.send(&stop).await.status, 204, "there is nothing to stop any more");
    assert_eq!(gateway.send(&stream_of("c")).await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_complete_ends_with_an_error_that_says_why() {
    let provider = Provider::start().await;
    provider.plays("cut", Script::says(text("Hello").bytes).ends(Ending::Cut));
    provider.plays(
        "refused",
        Script::new("401 Unauthorized", "application/json").write(r#"{"error":{"message":"no such key"}}"#),
    );
    let gateway = Gateway::before(&provider, Journal::Memory);
    for (model, wanted) in [("cut", "text-end error"), ("refused", "start-step error")] {
        let mut reply = gateway.send(&chat("c", model)).await;
        let id = reply.header("x-workflow-run-id").unwrap().to_owned();
        let said = whole(&mut reply).await;
        assert!(types(&said).join(" ").ends_with(wanted), "{said:?}");
        let why = said.last().unwrap()["errorText"].as_str().unwrap();
        assert!(why.len() > 10, "{why}");
        assert!(model == "cut" || why.contains("no such key"), "{why}");
        // Whoever asks for what is behind it is told again, and does not come for ever.
        let beyond = Call::get(format!("/api/chat/{id}/stream?startIndex=500"));
        assert_eq!(whole(&mut gateway.send(&beyond).await).await, said[said.len() - 1..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_at_any_of_its_chunks() {
    let script =
        answer().split_inclusive("\n\n").fold(Script::sse(), |script, block| script.write(block).pause(40));
    let provider = Provider::with(script).await;
    let gateway = Gateway::before(&provider, Journal::Sqlite);
    let mut reply = gateway.send(&chat("c", "m")).await;
    let id = reply.header("x-workflow-run-id").unwrap().to_owned();
    let all = whole(&mut reply).await;
    gateway.has_ended(&id).await;
    let at = async |index: i64| {
        let mut reply = gateway.send(&Call::get(format!("/v1/streams/{id}/ui?startIndex={index}"))).await;
        let tail = reply.header("x-workflow-stream-tail-index").map(|tail| tail.parse::<i64>().unwrap());
        (whole(&mut reply).await, tail)
    };
    for index in 0..all.len() {
        assert_eq!(at(index as i64).await, (all[index..].to_vec(), None), "{index}");
    }
    assert_eq!(at(all.len() as i64).await, (all[all.len() - 1..].to_vec(), None));
    for last in 1..=all.len() as i64 + 1 {
        let (said, tail) = at(-last).await;
        let begin = all.len() - said.len();
        assert_eq!(said, all[begin..], "{last}");
        assert!(begin as i64 <= (all.len() as i64 - last).max(0), "at or before it");
        // What a client takes for its place.
        assert_eq!((tail.unwrap() + 1 - last).max(0), begin as i64, "{last}");
        // Everything that goes on there begins there.
        let of = |chunk: &Value| {
            let id = chunk.get("toolCallId").or_else(|| chunk.get("id"))?;
            Some(id.as_str().unwrap().to_owned())
        };
        let mut begun = Vec::new();
        for chunk in &said {
            match (of(chunk), chunk["type"].as_str().unwrap()) {
                (Some(id), kind) if kind.ends_with("-start") => begun.push(id),
                (Some(id), kind) => assert!(begun.contains(&id), "{last}: {kind} of {id}"),
                (None, _) => {}
            }
        }
    }
    // Also of one that runs.
    let hold = Hold::new();
    provider.plays("slow", Script::says(text("a").bytes).wait(&hold).write(text("b").bytes).write(DONE));
    let id = hang_up(&gateway, &chat("c", "slow"), "data-tokencast").await;
    let mut reply = gateway.send(&Call::get(format!("/api/chat/{id}/stream?startIndex=-2"))).await;
    hold.release();
    assert_eq!(types(&whole(&mut reply).await)[..3], ["text-start", "text-delta", "text-delta"]);

    let refused = async |path: &str| gateway.send(&Call::get(path)).await.error().await;
    assert_eq!(refused("/api/chat/unknown/stream?startIndex=0").await, (404, "not_found".into()));
    assert_eq!(refused("/api/chat/c/stream?startIndex=0").await, (404, "not_found".into()));
    let odd = format!("/v1/streams/{id}/ui?startIndex=one");
    assert_eq!(refused(&odd).await, (400, "invalid_parameter".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_tools_result_goes_on_with_its_message() {
    let provider = Provider::with(Script::says(text("a").bytes).write(DONE)).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let called = json!({ "id": "a1", "role": "assistant", "parts": [
        { "type": "tool-f", "toolCallId": "c0", "state": "output-available", "input": { "a": 1 }, "output": 7 },
    ] });
    // As `WorkflowChatTransport` sends it: without a trigger, and with no content type of its own.
    let call = asks(&json!({ "id": "c", "messages": [user("hi"), called], "model": "m" }));
    let mut reply = gateway.send(&call).await;
    let id = reply.header("x-workflow-run-id").unwrap().to_owned();
    let said = whole(&mut reply).await;
    assert_eq!(said[0]["messageId"], "a1");
    let mut again = gateway.send(&Call::get(format!("/v1/streams/{id}/ui"))).await;
    assert_eq!(whole(&mut again).await, said);
    let sent: Value = serde_json::from_slice(&provider.calls().pop().unwrap().body).unwrap();
    assert_eq!(sent["messages"][2], json!({ "role": "tool", "tool_call_id": "c0", "content": "7" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_goes_to_a_provider_of_any_family() {
    for (family, path, asked, script) in [
        (
            "gemini",
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] }),
            Script::says(
                r#"data: {"candidates":[{"content":{"parts":[{"text":"Hello"}]},"finishReason":"STOP"}]}

"#,
            ),
        ),
        (
            "ollama",
            "/api/chat",
            json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "stream": true }),
            Script::new("200 OK", "application/x-ndjson")
                .write("{\"message\":{\"content\":\"Hello\"},\"done\":true,\"done_reason\":\"stop\"}\n"),
        ),
    ] {
        let provider = Provider::with(script).await;
        let mut config = config(Journal::Memory, &provider.base_url());
        let root = provider.base_url().trim_end_matches("/v1").to_owned();
        let only = json!({ "name": family, "dialect": family, "base_url": root, "models": ["*"] });
        config.providers = vec![serde_json::from_value(only).unwrap()];
        config.ai_sdk.provider = Some(family.into());
        let gateway = Gateway::start(config);
        let mut reply = gateway.send(&chat("c", "m")).await;
        assert_eq!(reply.status, 200, "{family}");
        let chunks = whole(&mut reply).await;
        let said: String = chunks.iter().filter_map(|chunk| chunk["delta"].as_str()).collect();
        assert_eq!(said, "Hello", "{family}");
        assert_eq!(chunks.last().unwrap()["type"], "finish", "{family}");
        let called = provider.calls().pop().unwrap();
        assert!(called.head.starts_with(&format!("POST {path} ")), "{family}: {}", called.head);
        assert_eq!(serde_json::from_slice::<Value>(&called.body).unwrap(), asked, "{family}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_says_who_answers() {
    let provider = Provider::with(Script::says(text("a").bytes).write(DONE)).await;
    let mut config = config(Journal::Memory, &provider.base_url());
    let root = provider.base_url().trim_end_matches("/v1").to_owned();
    for family in ["anthropic", "ollama"] {
        let more = json!({ "name": family, "dialect": family, "base_url": root, "models": ["*"] });
        config.providers.push(serde_json::from_value(more).unwrap());
    }
    config.ai_sdk.provider = Some("anthropic".into());
    config.ai_sdk.model = Some("m".into());
    config.ai_sdk.model_from_body = false;
    let gateway = Gateway::start(config);
    let said = json!({ "id": "c", "messages": [user("hi")], "trigger": "submit-message" });
    assert_eq!(gateway.send(&asks(&said)).await.status, 200);
    let called = provider.until("the call", |calls| !calls.is_empty()).await.pop().unwrap();
    assert!(called.head.starts_with("POST /v1/messages "), "{}", called.head);
    let sent: Value = serde_json::from_slice(&called.body).unwrap();
    assert_eq!((&sent["model"], &sent["max_tokens"]), (&json!("m"), &json!(4096)));
    let refused = async |call: &Call| gateway.send(call).await.error().await;
    assert_eq!(refused(&chat("c", "another")).await, (400, "invalid_field".into()));
    let odd = asks(&json!({ "trigger": "submit-message", "messages": "hi" }));
    assert_eq!(refused(&odd).await, (400, "invalid_field".into()));
    let nothing = asks(&json!({ "trigger": "submit-message", "messages": [] }));
    assert_eq!(refused(&nothing).await, (400, "invalid_field".into()));
    // The same path, and another SDK.
    let ollama = asks(&json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] }));
    gateway.send(&ollama).await;
    assert!(provider.calls().pop().unwrap().head.starts_with("POST /api/chat "));
    let mut bare = crate::gateway::config(Journal::Memory, &provider.base_url());
    bare.providers.clear();
    let bare = Gateway::start(bare);
    assert_eq!(bare.send(&chat("c", "m")).await.error().await, (400, "unknown_model".into()));
    assert_eq!(bare.send(&asks(&said)).await.error().await, (400, "unknown_model".into()));
}
