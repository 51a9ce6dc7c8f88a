//! The front doors: what an SDK sends with only its base URL changed, and what it gets back.

use serde_json::{Value, json};
use tokencast::auth::key::{self, Digest};
use tokencast::auth::scope::Scopes;
use tokencast::config::Config;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::gateway::{Gateway, Journal, config, over_http};
use crate::http::{Call, Over, Protocol, Reply, within};
use crate::provider::{Ending, Hold, Provider, Script};
use crate::says::{DONE, Say, chunk, text};

const CHAT: &str = "/v1/chat/completions";

fn asks(path: &str, body: &Value) -> Call {
    Call::new(http::Method::POST, path).header("content-type", "application/json").with_body(body.to_string())
}

fn chat(model: &str) -> Call {
    asks(CHAT, &json!({ "model": model, "stream": true, "messages": [{ "role": "user", "content": "hi" }] }))
}

/// A gateway with a provider of each family, all of them scripted by the same one.
fn every_family(provider: &Provider) -> Config {
    let mut config = config(Journal::Sqlite, &provider.base_url());
    let root = provider.base_url().trim_end_matches("/v1").to_owned();
    for family in ["anthropic", "gemini", "ollama"] {
        let more = json!({ "name": family, "dialect": family, "base_url": root, "models": ["m"] });
        config.providers.push(serde_json::from_value(more).unwrap());
    }
    config.providers[0].models = vec!["m".into(), "slow".into(), "cut".into(), "refused".into()];
    config
}

const DOORS: [(&str, &str, &str); 6] = [
    (CHAT, "openai", "text/event-stream"),
    ("/v1/responses", "openai", "text/event-stream"),
    ("/v1/messages", "anthropic", "text/event-stream"),
    ("/v1beta/models/m:streamGenerateContent?alt=sse", "gemini", "text/event-stream"),
    ("/api/chat", "ollama", "application/x-ndjson"),
    ("/api/generate", "ollama", "application/x-ndjson"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_streaming_call_is_a_stream_and_answered_byte_for_byte() {
    let body = [chunk(&[Say::Meta, Say::Text(0, "Hello")]).bytes, text(" world").bytes, DONE.into()].concat();
    let script = Script::sse()
        .header("content-type", "text/event-stream; charset=utf-8")
        .header("x-request-id", "of the provider")
        .header("set-cookie", "a=b")
        .write_in(body.as_bytes(), &[7, 100, 1]);
    let provider = Provider::with(script).await;
    over_http(async |protocol, journal| {
        let gateway = Gateway::before(&provider, journal);
        let mut reply = chat("m").send(protocol, gateway.http).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
        assert_eq!(reply.header("x-request-id"), Some("of the provider"));
        assert_eq!(reply.header("set-cookie"), None, "it would be set for another name");
        let id = reply.header("tokencast-stream-id").expect("an id").to_owned();
        assert_eq!(reply.header("location"), Some(&*format!("/v1/streams/{id}")));
        assert_eq!(reply.body.whole().await, (body.clone().into_bytes(), Over::Clean));
        assert_eq!(gateway.state(&id).await["choices"][0]["text"], "Hello world");
        let sent = provider.calls().pop().unwrap();
        let sent: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(sent.get("stream_options"), None, "nobody has asked for usage");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_stream_goes_there_and_back() {
    let script =
        Script::new("200 OK", "application/json").header("x-request-id", "r").write(r#"{"object": "chat"}"#);
    let provider = Provider::with(script).await;
    let gateway = Gateway::start(every_family(&provider));
    for (path, ..) in DOORS {
        let path = path.replace(":streamGenerateContent?alt=sse", ":generateContent");
        let mut reply = gateway.send(&asks(&path, &json!({ "model": "m", "stream": false }))).await;
        assert_eq!((reply.status, reply.header("x-request-id")), (200, Some("r")), "{path}");
        assert_eq!(reply.header("tokencast-stream-id"), None);
        assert_eq!(reply.body.whole().await, (br#"{"object": "chat"}"#.to_vec(), Over::Clean));
        let sent = provider.calls().pop().unwrap();
        assert!(sent.head.starts_with(&format!("POST {path} ")), "{path}: {}", sent.head);
    }
    // Listed paths, and no others.
    let embed = json!({ "model": "m", "input": "x" });
    assert_eq!(gateway.send(&asks("/v1/embeddings", &embed)).await.status, 200);
    assert_eq!(gateway.send(&asks("/api/embed", &embed)).await.status, 200);
    assert_eq!(gateway.send(&asks("/v1/messages/count_tokens", &embed)).await.status, 200);
    assert!(provider.calls().pop().unwrap().head.starts_with("POST /v1/messages/count_tokens "));
    for path in [
        "/v1/files",
        "/v1/fine_tuning/jobs",
        "/v1/responses/../files",
        "/v1/models/%2e%2e/files",
        "/v1/models/.%2E/%2e./admin",
        "/v1/models/a%2f..%2f..",
        "/v1/models//files",
        "/v1beta/models/%252e%252e",
        "/v1beta/models/%2e%2e/%2e%2e/admin:streamGenerateContent?alt=sse",
        "/api/pull",
        "/elsewhere",
    ] {
        assert_eq!(gateway.send(&asks(path, &embed)).await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_door_has_its_own_shape_of_an_error() {
    let provider = Provider::start().await;
    let gateway = Gateway::start(every_family(&provider));
    let shape = |body: &Value| match (&body["error"], &body["type"]) {
        (Value::String(message), _) => ("ollama", message.clone()),
        (error, Value::String(kind)) if kind == "error" => {
            assert_eq!(error["type"], "not_found_error");
            ("anthropic", error["message"].as_str().unwrap().to_owned())
        }
        (error, _) if error["status"].is_string() => {
            assert_eq!((&error["code"], &error["status"]), (&json!(404), &json!("NOT_FOUND")));
            ("gemini", error["message"].as_str().unwrap().to_owned())
        }
        (error, _) => {
            assert_eq!((&error["code"], &error["param"]), (&json!("unknown_model"), &Value::Null));
            ("openai", error["message"].as_str().unwrap().to_owned())
        }
    };
    for (path, dialect, _) in DOORS {
        let path = path.replace("/m:", "/unknown:");
        let reply = gateway.send(&asks(&path, &json!({ "model": "unknown", "stream": true }))).await;
        assert_eq!(reply.status, 404, "{path}");
        let (found, message) = shape(&reply.json().await);
        assert_eq!(found, dialect, "{path}");
        assert!(message.contains("unknown"), "{message}");
        let bad = gateway.send(&Call::new(http::Method::POST, path.clone()).with_body("no JSON")).await;
        assert_eq!(bad.status, 400, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_refuses_is_handed_on() {
    let refusal = r#"{"error":{"message":"slow down","type":"rate_limit","code":null}}"#;
    let script =
        Script::new("429 Too Many Requests", "application/json").header("retry-after", "7").write(refusal);
    let provider = Provider::with(script).await;
    provider.plays("html", Script::new("200 OK", "text/html").write("<html>"));
    provider.plays("nothing", Script::nothing().ends(Ending::Cut));
    let gateway = Gateway::before(&provider, Journal::Memory);
    let mut reply = gateway.send(&chat("m")).await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("7")));
    assert_eq!(reply.body.whole().await, (refusal.as_bytes().to_vec(), Over::Clean));
    for model in ["html", "nothing"] {
        let (status, error) = gateway.send(&chat(model)).await.error_json().await;
        assert_eq!(status, 502, "{model}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_complete_says_so_and_breaks_off() {
    let provider = Provider::start().await;
    let begun = text("Hello").bytes;
    provider.plays("m", Script::says(&begun).ends(Ending::Cut));
    provider.plays("half", Script::says(format!("{begun}data: {{\"cho")).ends(Ending::Cut));
    over_http(async |protocol, journal| {
        let gateway = Gateway::before(&provider, journal);
        for (model, close) in [("m", ""), ("half", "")] {
            let mut reply = chat(model).send(protocol, gateway.http).await;
            let (bytes, over) = reply.body.whole().await;
            assert_eq!(over, Over::Broken);
            let said = String::from_utf8(bytes).unwrap();
            let last =
                said.strip_prefix(&*begun).and_then(|rest| rest.strip_prefix(close)).expect("all of it");
            let error: Value = serde_json::from_str(last.trim().strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(error["error"]["code"], "upstream_cut", "{error}");
        }
    })
    .await;
}

/// Reads until the body has these bytes, and hangs up.
async fn hang_up(gateway: &Gateway, call: &Call, after: &str) -> String {
    let mut stream = TcpStream::connect(gateway.http).await.unwrap();
    stream.write_all(&call.bytes(gateway.http)).await.unwrap();
    let mut reply = Reply::read(stream).await.expect("an answer");
    let id = reply.header("tokencast-stream-id").expect("an id").to_owned();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(after) {
        seen.extend_from_slice(&reply.body.chunk().await.expect("more"));
    }
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up_stops_nothing_and_its_retry_gets_the_same_stream() {
    let hold = Hold::new();
    let script = Script::says(text("Hello").bytes).wait(&hold).write(text(" world").bytes).write(DONE);
    let provider = Provider::with(script).await;
    let gateway = Gateway::before(&provider, Journal::Memory);
    let again = |count: &str| chat("m").header("x-stainless-retry-count", count);
    let id = hang_up(&gateway, &again("0"), "Hello").await;
    let cast = gateway.cast(&id);
    within("nobody to watch", async {
        while cast.viewers() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Another call is another call, whatever it counts.
    let other = asks(CHAT, &json!({ "model": "m", "stream": true, "messages": [] }));
    let other = hang_up(&gateway, &other.header("x-stainless-retry-count", "1"), "Hello").await;
    assert_ne!(other, id);

    let mut same = again("1").send(Protocol::H1, gateway.http).await;
    assert_eq!(same.header("tokencast-stream-id"), Some(&*id));
    // It was claimed: whoever comes now begins anew.
    let fresh = hang_up(&gateway, &again("1"), "Hello").await;
    assert!(fresh != id && fresh != other);
    for _ in 0..3 {
        hold.release();
    }
    let (bytes, over) = same.body.whole().await;
    assert_eq!(over, Over::Clean);
    assert!(String::from_utf8(bytes).unwrap().ends_with(&format!("{}{DONE}", text(" world").bytes)));
    assert_eq!(provider.calls().len(), 3);
    gateway.has_ended(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_key_is_where_an_sdk_puts_its_own_and_goes_to_nobody() {
    let provider = Provider::with(Script::says(text("a").bytes).write(DONE)).await;
    let mut config = every_family(&provider);
    config.auth.keys = vec![key::Config {
        name: "k".into(),
        sha256: Digest::of("ours"),
        tenant: "t".into(),
        scopes: Scopes::ALL,
    }];
    let gateway = Gateway::start(config);
    for (name, value) in [
        ("authorization", "Bearer ours"),
        ("x-api-key", "ours"),
        ("x-goog-api-key", "ours"),
        ("api-key", "ours"),
    ] {
        assert_eq!(gateway.send(&chat("m")).await.status, 401);
        assert_eq!(gateway.send(&chat("m").header(name, "other")).await.status, 401);
        assert_eq!(gateway.send(&chat("m").header(name, value)).await.status, 200, "{name}");
        assert!(!provider.calls().pop().unwrap().head.contains("ours"));
    }
    let by_query =
        asks("/v1beta/models/m:streamGenerateContent?alt=sse&key=ours", &json!({ "contents": [] }));
    assert_ne!(gateway.send(&by_query).await.status, 401);
    assert!(!provider.calls().pop().unwrap().head.contains("ours"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_is_one_call_at_a_door_too() {
    let provider = Provider::with(Script::says(text("a").bytes).write(DONE)).await;
    let gateway = Gateway::before(&provider, Journal::Sqlite);
    let call = chat("m").header("idempotency-key", "once");
    let first = gateway.send(&call).await.header("tokencast-stream-id").unwrap().to_owned();
    gateway.has_ended(&first).await;
    let mut again = gateway.send(&call).await;
    assert_eq!(again.header("tokencast-stream-id"), Some(&*first));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.body.whole().await.1, Over::Clean);
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_models_of_all_providers_are_one_list() {
    let provider = Provider::start().await;
    let mut config = every_family(&provider);
    // Nobody there: what the configuration names is known all the same.
    for provider in &mut config.providers {
        provider.base_url = "http://127.0.0.1:9".parse().unwrap();
    }
    let gateway = Gateway::start(config);
    let listed = gateway.send(&Call::get("/v1/models")).await.json().await;
    assert_eq!(listed["object"], "list");
    let names: Vec<&str> =
        listed["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["m", "slow", "cut", "refused"]);
}

const PROVIDERS_KEY: &str = "sk-of-the-provider";

fn with_keys(config: &mut Config) {
    config.auth.keys = [("ours", "t"), ("theirs", "u")]
        .map(|(key, tenant)| key::Config {
            name: key.into(),
            sha256: Digest::of(key),
            tenant: tenant.into(),
            scopes: Scopes::ALL,
        })
        .into();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_of_ours_reaches_a_provider_wherever_it_stands() {
    let provider = Provider::with(Script::new("200 OK", "application/json").write("{}")).await;
    let mut config = every_family(&provider);
    with_keys(&mut config);
    for provider in &mut config.providers {
        provider.credentials = tokencast::upstream::provider::Credentials::Caller;
    }
    let gateway = Gateway::start(config);
    let plain = |path: &str| asks(path, &json!({ "model": "m" })).header("tokencast-key", "ours");
    for (name, value) in
        [("authorization", "Bearer theirs"), ("authorization", "Bearer ours"), ("x-api-key", "ours")]
    {
        let refused = gateway.send(&plain(CHAT).header(name, value)).await;
        assert_eq!(refused.status, 401, "{name}: {value}: it has no key of the provider's");
    }
    assert!(provider.calls().is_empty());
    assert_eq!(gateway.send(&plain(CHAT).header("authorization", "Bearer sk-caller")).await.status, 200);
    assert!(provider.calls()[0].head.contains("authorization: Bearer sk-caller"));
    let by_query = "/v1beta/models/m:generateContent?key=AIza&tick%65t=a.b.c&k%65y=ours&x=1";
    assert_eq!(gateway.send(&plain(by_query)).await.status, 200);
    let head = &provider.calls()[1].head;
    assert!(head.starts_with("POST /v1beta/models/m:generateContent?x=1 "), "{head}");
    assert!(head.contains("x-goog-api-key: AIza") && !head.contains("ours"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_says_of_its_key_and_for_its_own_name_stays_here() {
    let escaped: String = PROVIDERS_KEY.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let said = format!(r#"{{"error":{{"message":"bad key Bearer {PROVIDERS_KEY}, {escaped}"}}}}"#);
    let script = Script::new("401 Unauthorized", "application/json")
        .header("x-echo", &format!("Bearer {PROVIDERS_KEY}"))
        .header("access-control-allow-origin", "*")
        .header("tokencast-ticket", "theirs")
        .write(&said);
    let provider = Provider::with(script).await;
    let mut config = every_family(&provider);
    config.providers[0].api_key_env = Some("KEY".into());
    let gateway = Gateway::start_with(&config, &[("KEY", PROVIDERS_KEY)]);
    for (path, is_streaming) in [(CHAT, false), (CHAT, true), ("/v1/embeddings", false)] {
        let mut reply = gateway.send(&asks(path, &json!({ "model": "m", "stream": is_streaming }))).await;
        assert_eq!(reply.status, 401);
        assert!(!format!("{:?}", reply.headers).contains(PROVIDERS_KEY));
        assert_eq!((reply.header("access-control-allow-origin"), reply.header("x-echo")), (None, None));
        assert_ne!(reply.header("tokencast-ticket"), Some("theirs"));
        let (body, _) = reply.body.whole().await;
        let body = serde_json::from_slice::<Value>(&body).unwrap().to_string();
        assert!(!body.contains(PROVIDERS_KEY) && body.contains("[redacted]"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_no_sdk_could_read_is_an_error_that_it_can() {
    let provider = Provider::start().await;
    provider.plays("m", Script::new("200 OK", "text/html").write("<html>"));
    provider.plays("empty", Script::new("200 OK", "application/json"));
    provider.plays("stream", Script::says(text("a").bytes).write(DONE));
    provider.plays("error", Script::new("200 OK", "application/json").write(r#"{"error":{"message":"no"}}"#));
    provider.plays(
        "elsewhere",
        Script::new("307 Temporary Redirect", "text/plain").header("location", "http://127.0.0.1:9/"),
    );
    let gateway = Gateway::before(&provider, Journal::Memory);
    for model in ["m", "empty", "stream", "error", "elsewhere"] {
        let reply = gateway.send(&asks(CHAT, &json!({ "model": model }))).await;
        assert_eq!(reply.header("location"), None);
        assert_eq!(reply.error().await, (502, "unreadable_answer".into()), "{model}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_of_one_tenant_is_nobodys_for_another() {
    let created = json!({ "type": "response.created", "sequence_number": 0, "response": { "id": "resp_1" } });
    let script = Script::says(format!("event: response.created\ndata: {created}\n\n")).ends(Ending::Hang);
    let provider = Provider::with(script).await;
    let mut config = every_family(&provider);
    with_keys(&mut config);
    let gateway = Gateway::start(config);
    let start = asks("/v1/responses", &json!({ "model": "m", "stream": true, "input": "x" })).bearer("ours");
    let mut reply = gateway.send(&start).await;
    assert_eq!(reply.status, 200);
    reply.body.chunk().await.expect("an event");
    let at = |method: http::Method, behind: &str| Call::new(method, format!("/v1/responses/resp_1{behind}"));
    let calls = provider.calls().len();
    for (method, behind) in [
        (http::Method::GET, ""),
        (http::Method::DELETE, ""),
        (http::Method::POST, "/cancel"),
        (http::Method::GET, "/input_items"),
    ] {
        let refused = gateway.send(&at(method.clone(), behind).bearer("theirs")).await;
        assert_eq!(refused.error().await, (404, "not_found".into()), "{method} {behind}");
    }
    assert_eq!(provider.calls().len(), calls, "the provider was asked");
    let known = gateway.send(&at(http::Method::GET, "").bearer("ours")).await.json().await;
    assert_eq!(known["id"], "resp_1");
    let cancelled = gateway.send(&at(http::Method::POST, "/cancel").bearer("ours")).await.json().await;
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(
        gateway.send(&at(http::Method::DELETE, "").bearer("ours")).await.json().await["deleted"],
        true
    );
    assert_eq!(gateway.send(&at(http::Method::GET, "").bearer("ours")).await.error().await.0, 404);
}
