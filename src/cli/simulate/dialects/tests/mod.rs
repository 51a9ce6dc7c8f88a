//! Every dialect against a reader of its own, which accepts nothing but that dialect: the text is the script's, and
//! each fault is what it is elsewhere.

mod ears;

use serde_json::{Value, json};

use self::ears::{events, scripted, streamed, whole};
use super::super::options::Options;
use super::super::wire::{Act, Wire};
use super::*;

fn endpoints() -> [Endpoint; 6] {
    [
        Endpoint::OpenaiChat,
        Endpoint::OpenaiResponses,
        Endpoint::Anthropic,
        Endpoint::Gemini { model: "m".to_owned(), stream: true },
        Endpoint::OllamaChat,
        Endpoint::OllamaGenerate,
    ]
}

/// A streamed request with a tool, as the dialect has it.
fn ask(endpoint: &Endpoint, simulate: &str) -> Ask {
    let simulate: Value = serde_json::from_str(&format!(r#"{{"seed":3,"tokens":6,{simulate}}}"#)).unwrap();
    let schema = json!({"type": "object", "properties": {"days": {"type": "INTEGER"}}});
    let function = json!({"type": "function", "function": {"name": "f", "parameters": schema}});
    let mut body = match endpoint {
        Endpoint::OpenaiChat => json!({
            "messages": [1], "tools": [function], "stream_options": {"include_usage": true},
        }),
        Endpoint::OpenaiResponses => {
            json!({"input": "Hi", "tools": [{"type": "function", "name": "f", "parameters": schema}]})
        }
        Endpoint::Anthropic => json!({
            "messages": [1], "max_tokens": 1000, "tools": [{"name": "f", "input_schema": schema}],
        }),
        Endpoint::Gemini { .. } => json!({
            "contents": [1], "tools": [{"functionDeclarations": [{"name": "f", "parameters": schema}]}],
        }),
        Endpoint::OllamaChat => json!({"messages": [1], "tools": [function]}),
        Endpoint::OllamaGenerate => json!({"prompt": "Hi"}),
    };
    body["model"] = "m".into();
    body["stream"] = true.into();
    body["simulate"] = simulate;
    Ask::read(endpoint.clone(), body.to_string().as_bytes(), &Options::default()).unwrap()
}

fn bytes(acts: &[Act]) -> Vec<u8> {
    let of = |act: &Act| if let Act::Write(bytes) = act { bytes.to_vec() } else { Vec::new() };
    acts.iter().flat_map(of).collect()
}

fn acts(endpoint: &Endpoint, simulate: &str) -> Vec<Act> {
    Wire::new(&ask(endpoint, simulate)).collect()
}

fn body(endpoint: &Endpoint, simulate: &str) -> String {
    String::from_utf8(bytes(&acts(endpoint, simulate))).unwrap()
}

#[test]
fn every_dialect_says_the_script_streamed_and_whole() {
    for endpoint in endpoints() {
        let calls = if endpoint == Endpoint::OllamaGenerate { 0 } else { 2 };
        for simulate in [
            format!(r#""reasoning":3,"emoji_halves":true,"tool_calls":{calls}"#),
            format!(r#""tokens":0,"tool_calls":{calls}"#),
            r#""rate":0"#.to_owned(),
            r#""tokens":0"#.to_owned(),
        ] {
            let ask = ask(&endpoint, &simulate);
            let wanted = scripted(&ask);
            let answer = endpoint.writer(&ask).whole(Script::new(&ask)).unwrap();
            let answer: Value = serde_json::from_str(&answer).unwrap();
            let body = body(&endpoint, &simulate);
            assert_eq!(streamed(&endpoint, &body), wanted, "{endpoint:?} {simulate}: {body}");
            assert_eq!(whole(&endpoint, &answer), wanted, "{endpoint:?} {simulate}: {answer}");
            assert!(wanted.calls.iter().all(|(_, arguments)| arguments["days"].is_u64()), "{wanted:?}");
        }
    }
}

#[test]
fn a_finish_is_told_in_each_dialects_words() {
    let chat = ["\"stop\"", "\"length\"", "\"tool_calls\"", "\"stop\""];
    let responses = ["\"completed\"", "\"max_output_tokens\"", "\"completed\"", "\"refusal\""];
    let anthropic = ["\"end_turn\"", "\"max_tokens\"", "\"tool_use\"", "\"refusal\""];
    let gemini = ["\"STOP\"", "\"MAX_TOKENS\"", "\"STOP\"", "\"SAFETY\""];
    let ollama = ["\"stop\"", "\"length\"", "\"stop\"", "\"stop\""];
    for (endpoint, words) in endpoints().iter().zip([chat, responses, anthropic, gemini, ollama]) {
        for (simulate, word) in
            [r#""rate":0"#, r#""rate":0"#, r#""tool_calls":1"#, r#""refusal":true"#].into_iter().zip(words)
        {
            let mut ask = ask(endpoint, simulate);
            ask.length = word.to_lowercase().contains("max_") || word == "\"length\"";
            let last = String::from_utf8(bytes(&Wire::new(&ask).collect::<Vec<_>>())).unwrap();
            let tail: Vec<_> =
                events(endpoint, &last).into_iter().rev().take(3).map(|(_, data)| data).collect();
            assert!(tail.iter().any(|data| data.contains(word)), "{endpoint:?} {word}: {tail:?}");
        }
    }
}

#[test]
fn a_stream_ends_where_it_is_told_to_in_every_dialect() {
    for endpoint in endpoints() {
        let plain = body(&endpoint, r#""rate":0"#);
        let all = events(&endpoint, &plain);
        for (fault, act) in
            [("cut_after", Some(Act::Cut)), ("eof_after", None), ("stall_after", Some(Act::StallForever))]
        {
            for after in [0, 1, 4, all.len()] {
                let acts = acts(&endpoint, &format!(r#""{fault}":{after}"#));
                let written = String::from_utf8(bytes(&acts)).unwrap();
                assert!(plain.starts_with(&written));
                assert_eq!(events(&endpoint, &written)[..], all[..after], "{endpoint:?} {fault} {after}");
                if let Some(act) = &act {
                    assert_eq!(acts.last(), Some(act), "{endpoint:?} {fault} {after}");
                }
            }
        }
        let open = events(&endpoint, &body(&endpoint, r#""no_done":true"#));
        assert_eq!(open[..], all[..all.len() - 1], "{endpoint:?}");
    }
}

#[test]
fn an_error_in_mid_stream_has_the_dialects_shape() {
    for endpoint in endpoints() {
        let plain = events(&endpoint, &body(&endpoint, r#""rate":0"#));
        let (behind, finished) = match endpoint {
            Endpoint::OpenaiChat => (1, plain.len() - 2),
            Endpoint::OpenaiResponses => (1, plain.len() - 1),
            Endpoint::Anthropic => (0, plain.len() - 1),
            _ => (0, plain.len()),
        };
        for (simulate, after) in [(r#""error_after":4"#, 4), (r#""error_at_finish":true"#, finished)] {
            let failed = events(&endpoint, &body(&endpoint, simulate));
            assert_eq!(failed[..after], plain[..after], "{endpoint:?}");
            assert_eq!(failed.len(), after + 1 + behind, "{endpoint:?}");
            let (name, data) = &failed[after];
            let json: Value = serde_json::from_str(data).unwrap();
            let (wanted, message) = match endpoint {
                Endpoint::OpenaiChat => (None, &json["error"]["message"]),
                Endpoint::OpenaiResponses => (Some("error"), &json["message"]),
                Endpoint::Anthropic => (Some("error"), &json["error"]["message"]),
                Endpoint::Gemini { .. } => (None, &json["error"]["message"]),
                Endpoint::OllamaChat | Endpoint::OllamaGenerate => (None, &json["error"]),
            };
            assert_eq!((name.as_deref(), message), (wanted, &json!(FAILURE)), "{endpoint:?}");
        }
    }
}

#[test]
fn faults_of_the_bytes_leave_the_text_as_it_is() {
    for endpoint in endpoints() {
        let plain = body(&endpoint, r#""rate":0"#);
        let wanted = streamed(&endpoint, &plain);
        let huge = body(&endpoint, r#""huge_line":70000"#);
        assert_eq!(huge.lines().map(str::len).max(), Some(70_000), "{endpoint:?}");
        assert_eq!(streamed(&endpoint, &huge), wanted, "{endpoint:?}");

        let garbled = bytes(&acts(&endpoint, r#""garbage_after":4"#));
        assert!(String::from_utf8(garbled.clone()).is_err());
        let common = garbled.iter().rev().zip(plain.bytes().rev()).take_while(|(a, b)| **a == *b).count();
        let before = plain.len() - common;
        assert!(garbled.starts_with(&plain.as_bytes()[..before]), "{endpoint:?}: only inserted");

        for (line_end, end) in [("lf", "\n"), ("crlf", "\r\n"), ("cr", "\r")] {
            let other = body(&endpoint, &format!(r#""line_end":"{line_end}""#));
            assert_eq!(other, plain.replace(endpoint.line_end(), end), "{endpoint:?}");
        }
        assert_eq!(body(&endpoint, r#""bom":true"#), format!("\u{feff}{plain}"));
        let comments = body(&endpoint, r#""comments":3"#);
        let comment = if endpoint.is_ndjson() { "\n\n" } else { ": keep-alive" };
        assert_eq!(comments.matches(comment).count(), events(&endpoint, &plain).len() / 3, "{endpoint:?}");
    }
}

#[test]
fn a_response_goes_on_behind_the_event_that_the_client_has() {
    let endpoint = Endpoint::OpenaiResponses;
    let ask = ask(&endpoint, r#""tool_calls":1,"huge_line":900,"cut_after":9"#);
    let whole = body(&endpoint, r#""tool_calls":1,"huge_line":900"#);
    let rest: Vec<Act> = Wire::new(&ask.again(true, Some(8))).collect();
    let rest = String::from_utf8(bytes(&rest)).unwrap();
    assert_eq!(events(&endpoint, &rest)[..], events(&endpoint, &whole)[9..]);
}

#[test]
fn a_response_that_would_not_fit_into_its_last_event_is_refused() {
    let body = r#"{"model":"m;tokens=1000;token_bytes=100000","input":"Hi","stream":true}"#;
    let refusal = Ask::read(Endpoint::OpenaiResponses, body.as_bytes(), &Options::default()).unwrap_err();
    assert!(refusal.message.contains("over"), "{}", refusal.message);
}
