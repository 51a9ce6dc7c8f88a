#![allow(clippy::indexing_slicing)]

use super::*;
use crate::dialect::shown::shown;

/// Reads `data`, each a message's data or a whole block, and compares events and verdict. Whatever the verdict is final
/// for yields nothing more.
fn check(data: &[&str], expected: &[&str], verdict: &str) {
    for eol in ["\r\n", "\n"] {
        let mut dialect = Gemini::default();
        let mut events = Vec::new();
        for data in data {
            let block = if data.ends_with("\n\n") { (*data).to_owned() } else { format!("data: {data}\n\n") };
            dialect.read(block.replace('\n', eol).as_bytes(), &mut events);
        }
        let (events_shown, read) = shown(&events, &dialect.verdict());
        assert_eq!(events_shown, expected, "{data:?}");
        assert_eq!(read, verdict, "{data:?}");
        let count = events.len();
        dialect.read(b"data: {\"candidates\":[{}],\"error\":\"more\"}\r\n\r\n", &mut events);
        dialect.read_rest(b"{\"error\":\"more\"}\r\n", &mut events);
        assert_eq!(events.len() == count, read.starts_with("failed"), "{data:?}");
    }
}

/// Reads parts of candidate 0, each list in a chunk.
fn check_parts(parts: &[&str], expected: &[&str]) {
    let data: Vec<_> = parts
        .iter()
        .map(|parts| format!(r#"{{"candidates":[{{"content":{{"parts":{parts}}}}}]}}"#))
        .collect();
    check(&data.iter().map(String::as_str).collect::<Vec<_>>(), expected, "unfinished");
}

/// Reads calls of candidate 0, each in a chunk.
fn check_calls(calls: &[&str], expected: &[&str]) {
    let parts: Vec<_> = calls.iter().map(|call| format!(r#"[{{"functionCall":{call}}}]"#)).collect();
    check_parts(&parts.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn prose() {
    let check = check_parts;
    check(&[r#"[{"text":"Hel"}]"#, r#"[{"text":"lo"},{"text":"!"}]"#], &["text0 Hel", "text0 lo", "text0 !"]);
    check(
        &[r#"[{"thought":true,"text":"Hm"},{"text":"a"}]"#, r#"[{"text":"b","thought":false}]"#],
        &["reasoning0 Hm", "text0 a", "text0 b"],
    );
    check(&[r#"[{"text":"","thoughtSignature":"s"}]"#, "[]", "null", "{}", "7", r#"[7,null,"x",[]]"#], &[]);
    check(&[r#"[{"text":null},{"text":7},{"text":["x"]}]"#], &[]);
    check(&[r#"[{"text":"\u00e9\n\"","thoughtSignature":"s"}]"#], &["text0 é\n\""]);
}

#[test]
fn parts_of_other_kinds_are_not_read() {
    check_parts(
        &[
            r#"[{"executableCode":{"language":"PYTHON","code":"1"}},{"text":"a"}]"#,
            r#"[{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1\n"}}]"#,
            r#"[{"inlineData":{"mimeType":"image/png","data":"AA=="}},{"toolCall":{"id":"t"}}]"#,
        ],
        &["text0 a"],
    );
}

#[test]
fn calls_come_whole() {
    let check = check_calls;
    check(
        &[
            r#"{"name":"f","args":{"b": 1.0e2,"a":"\u2028\/\ud83d"},"id":"i"}"#,
            r#"{"name":"f","args":{}}"#,
            r#"{"name":"g"}"#,
            r#"{"name":"h","args":"{\"a\":1}"}"#,
            r#"{"args":[1]}"#,
            "{}",
            "7",
        ],
        &[
            r#"call0.0 i f {"b": 1.0e2,"a":"\u2028\/\ud83d"}"#,
            "call0.1 - f {}",
            "call0.2 - g ",
            r#"call0.3 - h {"a":1}"#,
            "call0.4 - - [1]",
        ],
    );
    check_parts(
        &[r#"[{"text":"a"},{"functionCall":{"name":"f","args":{}}},{"functionCall":{"name":"f"}}]"#],
        &["text0 a", "call0.0 - f {}", "call0.1 - f "],
    );
}

#[test]
fn calls_are_streamed() {
    let check = check_calls;
    check(
        &[
            r#"{"name":"f","id":"i","willContinue":true}"#,
            r#"{"partialArgs":[{"jsonPath":"$.where","stringValue":"Par","willContinue":true}],"willContinue":true}"#,
            r#"{"partialArgs":[{"jsonPath":"$.where","stringValue":"is"}],"willContinue":true}"#,
            r#"{"partialArgs":[{"jsonPath":"$.days","numberValue":2}],"willContinue":true}"#,
            "{}",
            "{}",
        ],
        &[
            "call0.0 i f ",
            r#"call0.0 - - {"where":"Par"#,
            "call0.0 - - is",
            r#"call0.0 - - ","days":2"#,
            "call0.0 - - }",
        ],
    );
    // All in one, without an end, the id again or late, and the next one.
    check(
        &[
            r#"{"name":"f","partialArgs":[{"jsonPath":"$.a","boolValue":true}]}"#,
            r#"{"name":"g","args":{},"partialArgs":[{"jsonPath":"$.a","stringValue":"x","willContinue":true}]}"#,
            r#"{"id":"i","partialArgs":[{"jsonPath":"$.a","stringValue":"y","willContinue":true}]}"#,
            r#"{"id":"i","name":"g","partialArgs":[{"jsonPath":"$.a","stringValue":"z"}],"willContinue":true}"#,
            r#"{"name":"h","args":{"a":1}}"#,
            r#"{"name":"k","willContinue":true}"#,
            "{}",
        ],
        &[
            r#"call0.0 - f {"a":true}"#,
            r#"call0.1 - g {"a":"x"#,
            "call0.1 i - y",
            "call0.1 - - z",
            r#"call0.1 - - "}"#,
            r#"call0.2 - h {"a":1}"#,
            "call0.3 - k ",
        ],
    );
    // A candidate that finishes finishes its call.
    let streamed = r#"{"functionCall":{"name":"f","partialArgs":[{"jsonPath":"$.a","stringValue":"x"}],"willContinue":true}}"#;
    let streamed = format!(r#"{{"candidates":[{{"content":{{"parts":[{streamed}]}}}}]}}"#);
    super::tests::check(
        &[&streamed, r#"{"candidates":[{"finishReason":"STOP"}]}"#],
        &[r#"call0.0 - f {"a":"x"#, r#"call0.0 - - "}"#, "finish0 STOP"],
        "finished",
    );
}

#[test]
fn candidates() {
    check(
        &[
            r#"{"candidates":[{"index":1,"content":{"parts":[{"text":"b"}]}},{"content":{"parts":[{"text":"a"}]}}]}"#,
            r#"{"candidates":[{"index":1,"finishReason":"STOP"}]}"#,
        ],
        &["text1 b", "text0 a", "finish1 STOP"],
        "unfinished",
    );
    for index in ["-1", "99999999999", "\"x\"", "{}"] {
        let data = format!(r#"{{"candidates":[{{"index":{index},"finishReason":"STOP"}}]}}"#);
        check(&[&data], &[], "unfinished");
    }
    check(&[r#"{"candidates":[{"index":null,"finishReason":"STOP"}]}"#], &["finish0 STOP"], "finished");
}

#[test]
fn ends() {
    let stop = r#"{"candidates":[{"content":{"role":"model"},"finishReason":"STOP","index":0}]}"#;
    check(&[], &[], "unfinished");
    check(&[stop], &["finish0 STOP"], "finished");
    check(&[stop, &stop.replace("STOP", "SAFETY")], &["finish0 STOP"], "finished");
    check(&[stop, "[DONE]"], &["finish0 STOP"], "finished");
    for none in ["null", "\"\"", "7", "\"FINISH_REASON_UNSPECIFIED\""] {
        check(&[&stop.replace("\"STOP\"", none)], &[], "unfinished");
    }
    let more = r#"{"candidates":[{"index":1,"content":{"parts":[{"text":"a"}]}}]}"#;
    check(&[stop, more], &["finish0 STOP", "text1 a"], "unfinished");
}

#[test]
fn a_prompt_that_is_blocked_is_an_answer() {
    check(
        &[r#"{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":4},
            "modelVersion":"m","responseId":"r"}"#
            .replace('\n', "")
            .as_str()],
        &["meta m r", "finish0 PROHIBITED_CONTENT", "usage Some(4) None"],
        "finished",
    );
    let blocked = r#"{"promptFeedback":{"blockReason":"SAFETY","blockReasonMessage":"No."}}"#;
    check(&[blocked, blocked], &["refusal0 No.", "finish0 SAFETY"], "finished");
    check(&[r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#, blocked], &["text0 a"], "unfinished");
    for feedback in ["null", "{}", r#"{"blockReason":"BLOCK_REASON_UNSPECIFIED"}"#, r#"{"safetyRatings":[]}"#]
    {
        check(&[&format!(r#"{{"promptFeedback":{feedback}}}"#)], &[], "unfinished");
    }
}

#[test]
fn meta() {
    check(
        &[
            r#"{"candidates":[],"responseId":"","modelVersion":""}"#,
            r#"{"responseId":"r","modelVersion":"m"}"#,
            r#"{"responseId":"s","modelVersion":"n"}"#,
        ],
        &["meta m r"],
        "unfinished",
    );
    check(&[r#"{"responseId":7,"modelVersion":"m"}"#], &["meta m -"], "unfinished");
}

#[test]
fn usage_is_input_and_output() {
    let check = |usages: &[&str], expected: &[&str]| {
        let data: Vec<_> = usages.iter().map(|usage| format!(r#"{{"usageMetadata":{usage}}}"#)).collect();
        super::tests::check(&data.iter().map(String::as_str).collect::<Vec<_>>(), expected, "unfinished");
    };
    check(
        &[
            r#"{"promptTokenCount":3,"totalTokenCount":3}"#,
            r#"{"promptTokenCount":3,"totalTokenCount":3,"promptTokensDetails":[]}"#,
            r#"{"promptTokenCount":3,"thoughtsTokenCount":10,"totalTokenCount":13}"#,
            r#"{"promptTokenCount":3,"thoughtsTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":18}"#,
            r#"{"promptTokenCount":3,"toolUsePromptTokenCount":100,"candidatesTokenCount":5}"#,
            r#"{"candidatesTokenCount":6}"#,
        ],
        &[
            "usage Some(3) None",
            "usage Some(3) Some(10)",
            "usage Some(3) Some(15)",
            "usage Some(103) Some(5)",
            "usage Some(103) Some(6)",
        ],
    );
    check(&["null", "{}", "7", r#"{"promptTokenCount":-1,"candidatesTokenCount":1e999}"#], &[]);
    check(
        &[r#"{"promptTokenCount":18446744073709551615,"toolUsePromptTokenCount":1}"#],
        &["usage Some(18446744073709551615) None"],
    );
}

#[test]
fn errors() {
    let text = r#"{"candidates":[{"content":{"parts":[{"text":"a\ud83d"}]}}]}"#;
    let error = r#"{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}"#;
    let expected = ["text0 a", "text0 \u{FFFD}", "error UNAVAILABLE: m"];
    check(&[text, error], &expected, "failed m");
    check(&[text, &format!("{error}\n\n")], &expected, "failed m");
    let pretty = "{\n  \"error\": {\n    \"code\": 503,\n    \"message\": \"m\",\n    \"status\": \"UNAVAILABLE\"\n  }\n}\n\n";
    check(&[text, pretty], &expected, "failed m");
    check(&[&format!("\u{FEFF}{pretty}")], &expected[2..], "failed m");
    check(&[&format!("\u{FEFF}data: {error}\n\n")], &expected[2..], "failed m");
    check(
        &[
            r#"{"candidates":[{"finishReason":"STOP"}],"error":{"code":500},"usageMetadata":{"promptTokenCount":1}}"#,
        ],
        &["finish0 STOP", "usage Some(1) None", r#"error 500: {"code":500}"#],
        r#"failed {"code":500}"#,
    );
    check(
        &[r#"{"error":null}"#, r#"{"error":{}x}"#, "{\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n"],
        &[],
        "unfinished",
    );
}

#[test]
fn a_bare_error_needs_no_blank_line() {
    let check = |rest: &str, expected: &[&str]| {
        let (mut dialect, mut events) = (Gemini::default(), Vec::new());
        dialect.read_rest(rest.as_bytes(), &mut events);
        assert_eq!(shown(&events, &dialect.verdict()).0, expected, "{rest:?}");
    };
    check("{\r\n \"error\": {\r\n  \"message\": \"m\"\r\n }\r\n}\r\n", &["error -: m"]);
    check("{\"error\":\"m\"}", &["error -: m"]);
    check("\n\n{\"error\":\"m\"}", &["error -: m"]);
    check("{\"error\":\"m\"", &[]);
    check("data: {\"error\":\"m\"}\r\n", &[]);
    check("", &[]);
}

#[test]
fn halves_of_emoji() {
    let check = check_parts;
    check(&[r#"[{"text":"a\ud83d"}]"#, r#"[{"text":"\ude00"}]"#], &["text0 a", "text0 😀"]);
    check(
        &[r#"[{"text":"\ud83d"},{"text":"\ude00","thought":true}]"#, r#"[{"text":"b"}]"#],
        &["reasoning0 \u{FFFD}", "text0 \u{FFFD}b"],
    );
    super::tests::check(
        &[r#"{"candidates":[{"content":{"parts":[{"text":"\ud83d"}]},"finishReason":"MAX_TOKENS"}]}"#],
        &["text0 \u{FFFD}", "finish0 MAX_TOKENS"],
        "finished",
    );
}

#[test]
fn what_is_not_understood_yields_nothing() {
    check(
        &[
            ": hb\n\n",
            "event: ping\ndata: {}\n\n",
            "",
            "null",
            "[{\"error\":\"x\"}]",
            "[{\"error\":\"x\"}]\n\n",
            "{\"candidates\":[{\"finishReason\":\"STOP\"}]",
            "{\"candidates\":{\"finishReason\":\"STOP\"}}",
            "{\"candidates\":[null,7,\"x\",[]]}",
        ],
        &[],
        "unfinished",
    );
}

#[test]
fn what_is_remembered_is_limited() {
    let (mut dialect, mut events) = (Gemini::default(), Vec::new());
    for index in 0..1_000 {
        let call = r#"{"functionCall":{"name":"f","willContinue":true}}"#;
        for index in [index, 0] {
            let block = format!(
                "data: {{\"candidates\":[{{\"index\":{index},\"content\":{{\"parts\":[{call}]}}}}]}}\r\n\r\n"
            );
            dialect.read(block.as_bytes(), &mut events);
        }
    }
    assert_eq!(dialect.candidates.len(), CANDIDATES_MAX);
    assert_eq!(events.len(), 256 + CANDIDATES_MAX - 1);
}
