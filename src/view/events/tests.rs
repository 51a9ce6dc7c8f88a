//! The exact bytes of the native view; that they are the right events is shown against the model in `cast::tests`.

use super::*;
use crate::cast::end::Why;

fn frame(rendering: &dyn Rendering, from: Seq, events: &[(Seq, Event)]) -> String {
    let mut out = Vec::new();
    rendering.frame(&Part { from, events }, &mut Thread::default(), &mut out);
    String::from_utf8(out).unwrap()
}

fn prose(choice: u32, kind: Prose, text: &str) -> Event {
    Event::Prose { choice, kind, text: text.into() }
}

fn call(id: Option<&str>, name: Option<&str>, arguments: &str) -> Event {
    let own = |text: Option<&str>| text.map(str::to_owned);
    Event::ToolCall { choice: 0, index: 1, id: own(id), name: own(name), arguments: arguments.into() }
}

#[test]
fn events_are_written_like_this() {
    let check = |event: Event, name: &str, data: &str| {
        let (events, data) = ([(9, event)], format!("{{\"from\":3,{data}}}"));
        assert_eq!(frame(&Sse, 3, &events), format!("id: 9\nevent: {name}\ndata: {data}\n\n"));
        let poll = format!(",{{\"id\":9,\"event\":\"{name}\",\"data\":{data}}}");
        assert_eq!(frame(&Poll, 3, &events), poll);
    };
    check(prose(0, Prose::Text, "a\n\"é"), "text", r#""text":"a\n\"é""#);
    check(prose(2, Prose::Reasoning, ""), "reasoning", r#""choice":2,"text":"""#);
    check(prose(0, Prose::Refusal, "no"), "refusal", r#""text":"no""#);
    check(call(Some("c"), Some("f"), "{"), "tool_call", r#""index":1,"id":"c","name":"f","arguments":"{""#);
    check(call(None, None, "{"), "tool_call", r#""index":1,"arguments":"{""#);
    let (model, upstream_id) = (Some("m".to_owned()), None);
    check(Event::Meta { model, upstream_id }, "meta", r#""model":"m","upstream_id":null"#);
    check(Event::Usage(Usage { input: Some(1), output: None }), "usage", r#""input":1,"output":null"#);
    check(Event::Finish { choice: 1, reason: "stop".into() }, "finish", r#""choice":1,"reason":"stop""#);
    check(Event::Error { code: None, message: "no".into() }, "error", r#""code":null,"message":"no""#);
}

#[test]
fn an_id_waits_for_the_rest_of_its_block() {
    let (one, two) = (|| prose(0, Prose::Text, "a"), || prose(0, Prose::Reasoning, "b"));
    // Events with their blocks, and the ids and froms that they are told with.
    let check = |events: &[(Seq, Event)], want: &[(Option<Seq>, Seq)]| {
        let told: Vec<serde_json::Value> =
            serde_json::from_str(&format!("[{}]", &frame(&Poll, 1, events)[1..])).unwrap();
        let told: Vec<_> = told
            .iter()
            .map(|event| (event["id"].as_u64(), event["data"]["from"].as_u64().unwrap()))
            .collect();
        assert_eq!(told, want);
    };
    check(&[(1, one()), (2, one()), (4, one())], &[(Some(4), 1)]);
    check(&[(1, one()), (2, two()), (3, one())], &[(Some(1), 1), (Some(2), 2), (Some(3), 3)]);
    check(&[(1, one()), (1, two()), (3, two())], &[(None, 1), (Some(3), 1)]);
    check(&[(2, one()), (2, two()), (2, one())], &[(None, 1), (None, 1), (Some(2), 1)]);
    assert_eq!(frame(&Sse, 1, &[]), "", "blocks without events say nothing");
}

#[test]
fn what_stands_around_the_events() {
    let open = Open { stream: "s", after: 3, tail: 5, status: "running", started_at: "now".into() };
    let wire = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert_eq!(
        wire(open.sse(640)),
        "retry: 640\nid: 3\nevent: open\n\
         data: {\"stream\":\"s\",\"after\":3,\"tail\":5,\"status\":\"running\",\"started_at\":\"now\"}\n\n"
    );
    let bye = Bye { code: "draining", retry_ms: 1000 };
    assert_eq!(wire(bye.sse()), "event: bye\ndata: {\"code\":\"draining\",\"retry_ms\":1000}\n\n");
    let end = End {
        why: Why::UpstreamCut,
        message: Some("m".into()),
        finish: None,
        usage: None,
        blocks: 7,
        bytes: 70,
        hash: "h".into(),
        at_ms: 1,
    };
    let data = "{\"reason\":\"failed\",\"code\":\"upstream_cut\",\"message\":\"m\",\"finish\":null,\
                \"usage\":null,\"blocks\":7,\"bytes\":70,\"hash\":\"h\"}";
    let rendered = |rendering: &dyn Rendering| {
        let mut out = Vec::new();
        rendering.end(&end, &mut Thread::default(), &mut out);
        wire(out)
    };
    assert_eq!(rendered(&Sse), format!("id: 8\nevent: end\ndata: {data}\n\n"));
    assert_eq!(rendered(&Poll), data);
}
