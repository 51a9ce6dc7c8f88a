//! Families of providers other than OpenAI's: how they are asked, and how their answers end.

use serde_json::{Value, json};

use crate::fold::text;
use crate::gateway::{Gateway, Journal, config};
use crate::provider::{Ending, Provider, Script};
use crate::viewing::Transport;

/// A script with the content type of its family.
fn lines(body: &str) -> Script {
    Script::new("200 OK", "application/x-ndjson").write(body)
}

/// What a script of one family leads to: text, reason, code, a part of the message, and how many blocks.
async fn check(dialect: &str, script: Script, expected: (&str, &str, Option<&str>, &str, u64)) -> Value {
    let provider = Provider::with(script).await;
    let base_url = provider.base_url();
    let mut config = config(Journal::Memory, base_url.trim_end_matches("/v1"));
    config.providers[0].dialect = serde_json::from_value(dialect.into()).unwrap();
    let gateway = Gateway::start(config);
    let id = gateway.stream("m").await;
    let events = gateway.watch(Transport::SseH1, &id, "").await.rest().await;
    let end = events.last().unwrap().data.clone();
    let message = end["message"].as_str().unwrap_or_default();
    let (said, reason, code, part, blocks) = expected;
    assert_eq!(text(&events, 0), said, "{end}");
    assert_eq!((&end["reason"], &end["code"]), (&json!(reason), &json!(code)), "{end}");
    assert!(message.contains(part), "{end}");
    assert_eq!(end["blocks"], blocks, "{end}");
    let has_error = events.iter().any(|event| event.name == "error");
    assert_eq!(has_error, code == Some("upstream_error"), "only what the provider said in band");
    let call = provider.calls().remove(0);
    json!({ "head": call.head, "body": String::from_utf8(call.body).unwrap(), "end": end })
}

#[tokio::test(flavor = "multi_thread")]
async fn gemini() {
    let a = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\r\n\r\n";
    let stop = "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\r\n\r\n";
    let error = "{\r\n  \"error\": {\r\n    \"code\": 503,\r\n    \"message\": \"busy\"\r\n  }\r\n}\r\n";
    let blocked = "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\r\n\r\n";
    let whole = format!("{a}{stop}");
    let call = check("gemini", Script::says(&whole), ("a", "completed", None, "", 2)).await;
    let head = call["head"].as_str().unwrap();
    assert!(head.starts_with("POST /v1beta/models/m:streamGenerateContent?alt=sse HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\naccept: text/event-stream\r\n"), "{head}");
    assert_eq!(call["body"], r#"{"messages":[1]}"#);
    assert_eq!(call["end"]["finish"], "STOP");

    let call = check("gemini", Script::says(blocked), ("", "completed", None, "", 1)).await;
    assert_eq!(call["end"]["finish"], "SAFETY");
    let check = async |script, expected| drop(Box::pin(check("gemini", script, expected)).await);
    let unfinished = "before it was finished";
    check(Script::says(a), ("a", "failed", Some("upstream_eof"), unfinished, 1)).await;
    let cut = Script::says(&whole).ends(Ending::Cut);
    check(cut, ("a", "failed", Some("upstream_cut"), "", 2)).await;
    // Bare, with and without a blank line behind it.
    for end in ["", "\r\n"] {
        let script = Script::says(format!("{a}{error}{end}"));
        check(script, ("a", "failed", Some("upstream_error"), "busy", 2)).await;
    }
    let half = error.split_at(30).0;
    check(Script::says(format!("{a}{half}")), ("a", "failed", Some("upstream_eof"), unfinished, 2)).await;
    let json = Script::new("200 OK", "application/json").write("[{}]");
    check(json, ("", "failed", Some("not_a_stream"), "application/json", 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ollama() {
    let a = "{\"model\":\"m\",\"message\":{\"content\":\"a\"},\"done\":false}\n";
    let done = "{\"model\":\"m\",\"done\":true,\"done_reason\":\"stop\",\"eval_count\":7}\n";
    let error = "{\"error\":\"no memory\"}\n";
    let whole = format!("{a}{done}");
    let call = check("ollama", lines(&whole), ("a", "completed", None, "", 2)).await;
    let head = call["head"].as_str().unwrap();
    assert!(head.starts_with("POST /api/chat HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\naccept: application/x-ndjson\r\n"), "{head}");
    let body: Value = serde_json::from_str(call["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, json!({ "model": "m", "messages": [1] }));
    assert_eq!((&call["end"]["finish"], &call["end"]["usage"]["output"]), (&json!("stop"), &json!(7)));

    let check = async |script, expected| drop(Box::pin(check("ollama", script, expected)).await);
    check(lines(&whole).ends(Ending::Hang), ("a", "completed", None, "", 2)).await;
    check(lines(&whole.replace('\n', "\r\n")), ("a", "completed", None, "", 2)).await;
    check(lines(&format!("{a}\n{done}\n")), ("a", "completed", None, "", 4)).await;
    // Without a last LF, also as the plain JSON that Ollama sends where it only loads a model.
    check(lines(whole.trim_end()), ("a", "completed", None, "", 2)).await;
    let load = r#"{"model":"m","response":"","done":true,"done_reason":"load"}"#;
    let load = Script::new("200 OK", "application/json; charset=utf-8").write(load);
    check(load, ("", "completed", None, "", 1)).await;
    check(lines(&format!("{a}{error}")), ("a", "failed", Some("upstream_error"), "no memory", 2)).await;
    let bare = lines(error.trim_end());
    check(bare, ("", "failed", Some("upstream_error"), "no memory", 1)).await;
    check(lines(a), ("a", "failed", Some("upstream_eof"), "before it was finished", 1)).await;
    let half = lines(&format!("{a}{}", done.split_at(20).0));
    check(half, ("a", "failed", Some("upstream_eof"), "before it was finished", 2)).await;
    let sse = Script::says("data: {}\n\n");
    check(sse, ("", "failed", Some("not_a_stream"), "text/event-stream", 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropic() {
    let message =
        |kind: &str, members: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\",{members}}}\n\n");
    let a = message("content_block_delta", r#""index":0,"delta":{"type":"text_delta","text":"a"}"#);
    let reason =
        message("message_delta", r#""delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}"#);
    let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"   }\n\n";
    let error = message("error", r#""error":{"type":"overloaded_error","message":"Overloaded"}"#);
    let whole = format!("{a}{reason}{stop}");
    let call = check("anthropic", Script::says(&whole), ("a", "completed", None, "", 3)).await;
    let head = call["head"].as_str().unwrap();
    assert!(head.starts_with("POST /v1/messages HTTP/1.1\r\n"), "{head}");
    assert_eq!((&call["end"]["finish"], &call["end"]["usage"]["output"]), (&json!("end_turn"), &json!(7)));

    let check = async |script, expected| drop(Box::pin(check("anthropic", script, expected)).await);
    check(Script::says(&whole).ends(Ending::Hang), ("a", "completed", None, "", 3)).await;
    check(Script::says(format!("{a}{reason}")), ("a", "completed", None, "", 2)).await;
    let overloaded = Script::says(format!("{a}{reason}{error}{stop}"));
    check(overloaded, ("a", "failed", Some("upstream_error"), "Overloaded", 4)).await;
    check(Script::says(&a), ("a", "failed", Some("upstream_eof"), "before it was finished", 1)).await;
    let cut = Script::says(format!("{a}{reason}")).ends(Ending::Cut);
    check(cut, ("a", "failed", Some("upstream_cut"), "", 2)).await;
}
