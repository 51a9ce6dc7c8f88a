use super::item::PARTS_MAX;
use super::items::ITEMS_MAX;
use super::*;

fn check(data: &[&str], expected: &[&str], verdict: &str) {
    let more = r#"{"type":"response.output_text.delta","delta":"more"}"#;
    crate::dialect::shown::check(OpenAiResponses::default(), data, more, expected, verdict);
}

/// Reads events whose type is given without `response.`, and whose other members follow.
fn check_events(data: &[&str], expected: &[&str]) {
    let event = |data: &&str| {
        let (kind, members) = data.split_once(' ').unwrap_or((data, ""));
        let comma = if members.is_empty() { "" } else { "," };
        format!(r#"{{"type":"response.{kind}"{comma}{members}}}"#)
    };
    let data: Vec<_> = data.iter().map(event).collect();
    check(&data.iter().map(String::as_str).collect::<Vec<_>>(), expected, "unfinished");
}

fn completed(response: &str) -> String {
    format!(r#"{{"type":"response.completed","response":{{{response}}}}}"#)
}

const DELTA: &str =
    r#"{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"Hel"}"#;
const CALL: &str =
    r#""output_index":1,"item":{"type":"function_call","id":"fc","call_id":"c","name":"f","arguments":"""#;

#[test]
fn prose() {
    let check = check_events;
    check(&[r#"output_text.delta "delta":"a""#, r#"output_text.delta "delta":"""#], &["text0 a"]);
    check(&[r#"refusal.delta "delta":"a""#], &["refusal0 a"]);
    check(
        &[
            r#"reasoning_text.delta "output_index":0,"content_index":0,"delta":"a""#,
            r#"reasoning_summary_text.delta "output_index":1,"summary_index":0,"delta":"b""#,
            r#"reasoning_summary_text.delta "output_index":1,"summary_index":1,"delta":"c""#,
        ],
        &["reasoning0 a", "reasoning0 b", "reasoning0 c"],
    );
    check(
        &[
            r#"output_text.delta "delta":7"#,
            r#"output_text.delta "delta":null"#,
            r#"output_text.delta "delta":{"text":"x"}"#,
            "output_text.delta",
            r#"audio.delta "delta":"UklGRg==""#,
            r#"new_thing.delta "delta":"x""#,
            r#"output_text.annotation.added "annotation":{"text":"x"}"#,
        ],
        &[],
    );
}

#[test]
fn what_done_has_beyond_the_deltas_is_said_once() {
    let check = check_events;
    let (a, b) = (
        r#"output_text.delta "output_index":0,"delta":"a""#,
        r#"output_text.done "output_index":0,"text":"ab""#,
    );
    check(&[a, b, b], &["text0 a", "text0 b"]);
    check(&[b, a], &["text0 ab", "text0 a"]);
    check(&[a, r#"output_text.done "output_index":0,"text":"a""#], &["text0 a"]);
    check(&[a, r#"output_text.done "output_index":0,"text":"xyz""#], &["text0 a"]);
    check(&[a, r#"output_text.done "output_index":0,"text":"""#], &["text0 a"]);
    // Each part for itself.
    check(
        &[a, r#"output_text.done "output_index":0,"content_index":1,"text":"ab""#],
        &["text0 a", "text0 ab"],
    );
    check(&[r#"refusal.done "refusal":"a""#], &["refusal0 a"]);
    check(&[r#"reasoning_text.done "text":"a""#], &["reasoning0 a"]);
    check(&[r#"reasoning_summary_text.done "summary_index":0,"text":"a""#], &["reasoning0 a"]);
    // Items are known by their place when their ids change, and by their ids when they have no place.
    check(
        &[
            r#"output_text.delta "item_id":"x","output_index":0,"delta":"a""#,
            r#"output_text.delta "item_id":"y","output_index":0,"delta":"b""#,
            r#"output_text.done "item_id":"z","output_index":0,"text":"abc""#,
        ],
        &["text0 a", "text0 b", "text0 c"],
    );
    check(
        &[
            r#"output_item.added "item":{"type":"message","id":"x"}"#,
            r#"output_text.delta "item_id":"x","delta":"a""#,
            r#"output_item.added "item":{"type":"message","id":"y"}"#,
            r#"output_text.delta "item_id":"y","delta":"b""#,
            r#"output_text.done "item_id":"x","text":"ac""#,
            r#"output_text.done "item_id":"y","text":"b""#,
        ],
        &["text0 a", "text0 b", "text0 c"],
    );
    // With neither, it is of what was spoken of last.
    check(
        &[
            r#"output_text.delta "item_id":"x","delta":"a""#,
            r#"output_text.delta "item_id":"y","delta":"b""#,
            r#"output_text.done "item_id":"z","text":"abc""#,
        ],
        &["text0 a", "text0 b", "text0 c"],
    );
}

#[test]
fn items_that_are_done() {
    let message = |content: &str| {
        format!(
            r#"output_item.done "output_index":0,"item":{{"type":"message","id":"m","content":[{content}]}}"#
        )
    };
    let text = r#"{"type":"output_text","text":"ab"}"#;
    let delta = r#"output_text.delta "output_index":0,"item_id":"m","content_index":0,"delta":"a""#;
    let check = check_events;
    check(&[&message(text)], &["text0 ab"]);
    check(&[&message(text), &message(text)], &["text0 ab"]);
    check(&[delta, &message(text)], &["text0 a", "text0 b"]);
    check(
        &[&message(&format!(r#"{text},{text},{{"type":"refusal","refusal":"c"}}"#))],
        &["text0 ab", "text0 ab", "refusal0 c"],
    );
    // Servers differ in how they number parts: one that was never spoken of is none, if there were others.
    check(&[&delta.replace(r#""content_index":0"#, r#""content_index":1"#), &message(text)], &["text0 a"]);
    let empty = delta.replace(r#""delta":"a""#, r#""delta":"""#);
    check(
        &[&empty, &delta.replace(r#""content_index":0"#, r#""content_index":1"#), &message(text)],
        &["text0 a"],
    );
    check(&[&message(r#"{"type":"new_part","text":"x"},7,{"type":"output_text","text":null}"#)], &[]);

    let reasoning = r#"output_item.done "output_index":0,"item":{"type":"reasoning","content":[{"type":"reasoning_text","text":"ab"}],"summary":[{"type":"summary_text","text":"s"}]}"#;
    check(&[reasoning], &["reasoning0 ab"]);
    check(&[&reasoning.replace("ab", "")], &["reasoning0 s"]);
    check(&[r#"reasoning_summary_text.delta "output_index":0,"delta":"x""#, reasoning], &["reasoning0 x"]);
    check(
        &[r#"reasoning_text.delta "output_index":0,"delta":"a""#, reasoning],
        &["reasoning0 a", "reasoning0 b"],
    );
}

#[test]
fn calls() {
    let check = check_events;
    let added = format!("output_item.added {CALL}}}");
    let done = format!("output_item.done {CALL}}}").replace(r#""arguments":"""#, r#""arguments":"{\"a\"""#);
    let delta = r#"function_call_arguments.delta "output_index":1,"item_id":"fc","delta":"{""#;
    let whole = r#"function_call_arguments.done "output_index":1,"item_id":"fc","arguments":"{\"a""#;
    check(
        &[&added, delta, whole, &done],
        &["call0.0 c f ", "call0.0 - - {", "call0.0 - - \"a", "call0.0 - - \""],
    );
    check(&[&added, &done, &done], &["call0.0 c f ", "call0.0 - - {\"a\""]);
    check(&[&done], &["call0.0 c f ", "call0.0 - - {\"a\""]);
    // Announced late.
    check(&[delta, &done], &["call0.0 - - ", "call0.0 - - {", "call0.0 c f ", "call0.0 - - \"a\""]);
    // Two of them, one in the other.
    let other = added.replace("\"fc\"", "\"gc\"").replace("\"c\"", "\"d\"").replace(":1", ":2");
    check(
        &[&added, &other, &delta.replace(":1", ":2").replace("fc", "gc"), delta],
        &["call0.0 c f ", "call0.1 d f ", "call0.1 - - {", "call0.0 - - {"],
    );
    // Of items that are all called the same, the place tells which.
    let (added, other) = (added.replace("\"fc\"", "\"x\""), other.replace("\"gc\"", "\"x\""));
    let delta = delta.replace("fc", "x");
    check(
        &[&added, &other, &delta.replace(":1", ":2"), &delta],
        &["call0.0 c f ", "call0.1 d f ", "call0.1 - - {", "call0.0 - - {"],
    );
}

#[test]
fn calls_of_every_kind() {
    let item = |item: &str, expected: &[&str]| {
        check_events(&[&format!(r#"output_item.done "output_index":0,"item":{{{item}}}"#)], expected);
    };
    item(
        r#""type":"custom_tool_call","call_id":"c","name":"f","input":"a b""#,
        &["call0.0 c f ", "call0.0 - - a b"],
    );
    item(
        r#""type":"mcp_call","id":"m","name":"f","arguments":"{}","output":"x""#,
        &["call0.0 m f ", "call0.0 - - {}"],
    );
    item(
        r#""type":"mcp_approval_request","id":"m","name":"f","arguments":"{}""#,
        &["call0.0 m f ", "call0.0 - - {}"],
    );
    item(
        r#""type":"code_interpreter_call","id":"i","code":"1\n2""#,
        &["call0.0 i code_interpreter ", "call0.0 - - 1\n2"],
    );
    item(
        r#""type":"web_search_call","id":"w","action":{"type": "search"}"#,
        &["call0.0 w web_search ", r#"call0.0 - - {"type": "search"}"#],
    );
    item(
        r#""type":"file_search_call","id":"w","queries":["q"]"#,
        &["call0.0 w file_search ", r#"call0.0 - - ["q"]"#],
    );
    item(
        r#""type":"tool_search_call","call_id":"c","arguments":{"q":1}"#,
        &["call0.0 c tool_search ", r#"call0.0 - - {"q":1}"#],
    );
    item(r#""type":"image_generation_call","id":"i","result":"iVBO""#, &["call0.0 i image_generation "]);
    item(r#""type":"mcp_list_tools","id":"m","tools":[{"name":"x"}]"#, &[]);
    item(r#""type":"compaction","encrypted_content":"x""#, &[]);
    item(r#""type":"message","content":"x""#, &[]);

    for what in
        ["mcp_call_arguments", "custom_tool_call_input", "code_interpreter_call_code", "new_call_thing"]
    {
        check_events(
            &[&format!(r#"{what}.delta "output_index":0,"delta":"a""#)],
            &["call0.0 - - ", "call0.0 - - a"],
        );
    }
    check_events(
        &[r#"mcp_call_arguments.delta "output_index":0,"delta":{"a": 1}"#],
        &["call0.0 - - ", r#"call0.0 - - {"a": 1}"#],
    );
    check_events(&[r#"code_interpreter_call.interpreting "output_index":0"#], &[]);
}

#[test]
fn halves_of_emoji() {
    let half = r#"output_text.delta "output_index":0,"delta":"a\ud83d""#;
    let other = r#"output_text.delta "output_index":0,"delta":"\ude00""#;
    check_events(&[half, other], &["text0 a", "text0 😀"]);
    check_events(&[half, &other.replace(":0", ":1"), other], &["text0 a", "text0 \u{FFFD}", "text0 😀"]);
    check_events(&[half, r#"output_text.done "output_index":0,"text":"a😀""#], &["text0 a", "text0 😀"]);
    check_events(&[half, r#"output_text.done "output_index":0,"text":"a""#], &["text0 a", "text0 \u{FFFD}"]);
    check_events(&[half, r#"output_text.done "output_index":0,"text":"b""#], &["text0 a", "text0 \u{FFFD}"]);
    let half = r#"{"type":"response.code_interpreter_call_code.delta","delta":"\ud83d"}"#;
    let said = ["call0.0 - - ", "call0.0 - - \u{FFFD}"];
    check(&[half, "[DONE]"], &said, "terminal");
    check(&[half, &completed("")], &[said[0], said[1], "finish0 stop"], "terminal");
    check(&[half, r#"{"error":"x"}"#], &[said[0], said[1], "error -: x"], "failed x");
}

#[test]
fn ends() {
    check(&[], &[], "unfinished");
    check(&["[DONE]"], &[], "terminal");
    check(&[DELTA, &completed("")], &["text0 Hel", "finish0 stop"], "terminal");
    check(&[DELTA, r#"{"type":"response.done","response":{}}"#], &["text0 Hel", "finish0 stop"], "terminal");
    check(&["event: response.completed\ndata: {\"response\":{}}\n\n"], &["finish0 stop"], "terminal");
    check(
        &[r#"{"type":"response.completed"}"#, r#"{"type":"response.completed","response":7}"#],
        &[],
        "unfinished",
    );
    let incomplete = r#""status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}"#;
    check(&[&completed(incomplete)], &["finish0 max_output_tokens"], "terminal");
    check(
        &[&completed(incomplete).replace("response.completed", "response.incomplete")],
        &["finish0 max_output_tokens"],
        "terminal",
    );
    check(&[r#"{"type":"response.incomplete","response":{}}"#], &["finish0 incomplete"], "terminal");
    check(&[r#"{"type":"response.in_progress","response":{"status":"completed"}}"#], &[], "unfinished");
}

#[test]
fn a_call_that_its_caller_has_to_answer_is_what_it_finishes_for() {
    let added = format!(r#"{{"type":"response.output_item.added",{CALL}}}}}"#);
    check(&[&added, &completed("")], &["call0.0 c f ", "finish0 tool_calls"], "terminal");
    let ran = r#"{"type":"response.output_item.added","item":{"type":"web_search_call","id":"w"}}"#;
    check(&[ran, &completed("")], &["call0.0 w web_search ", "finish0 stop"], "terminal");
}

#[test]
fn what_only_the_whole_response_has() {
    let message = r#"{"type":"message","id":"m","content":[{"type":"output_text","text":"Hello"}]}"#;
    let call = r#"{"type":"function_call","id":"fc","call_id":"c","name":"f","arguments":"{}"}"#;
    let reasoning = r#"{"type":"reasoning","summary":[{"type":"summary_text","text":"s"}]}"#;
    let output = |items: &[&str]| completed(&format!(r#""output":[{}]"#, items.join(",")));
    check(
        &[&output(&[reasoning, message, call])],
        &["reasoning0 s", "text0 Hello", "call0.0 c f ", "call0.0 - - {}", "finish0 tool_calls"],
        "terminal",
    );
    check(&[DELTA, &output(&[message])], &["text0 Hel", "text0 lo", "finish0 stop"], "terminal");
    // By its id, wherever it stands.
    check(
        &[DELTA, &output(&[reasoning, message])],
        &["text0 Hel", "reasoning0 s", "text0 lo", "finish0 stop"],
        "terminal",
    );
    // A place where something else was said is not its own.
    let place = DELTA.replace(":0,\"content", ":1,\"content");
    check(
        &[&place, &output(&[&message.replace("\"m\"", "\"n\""), reasoning])],
        &["text0 Hel", "reasoning0 s", "finish0 stop"],
        "terminal",
    );
    // Neither by id nor by place: it was said already.
    let renamed = message.replace("\"m\"", "\"n\"");
    check(&[&DELTA.replace(":0", ":5"), &output(&[&renamed])], &["text0 Hel", "finish0 stop"], "terminal");
}

#[test]
fn meta_and_usage() {
    let created = r#"{"type":"response.created","response":{"id":"resp_1","model":"m","usage":null}}"#;
    check(&[created, created], &["meta m resp_1"], "unfinished");
    check(
        &[created, &completed(r#""id":"resp_2","usage":{"input_tokens":3,"output_tokens":5}"#)],
        &["meta m resp_1", "finish0 stop", "usage Some(3) Some(5)"],
        "terminal",
    );
    check(&[r#"{"type":"response.queued","response":{"id":"","model":7}}"#], &[], "unfinished");
    check(&[r#"{"type":"response.queued","response":{"usage":{"input_tokens":-1}}}"#], &[], "unfinished");
}

#[test]
fn errors() {
    let check = |data: &str, code: &str, message: &str| {
        check(&[data], &[&format!("error {code}: {message}")], &format!("failed {message}"));
    };
    check(
        r#"{"type":"error","code":"server_error","message":"m","param":null,"sequence_number":3}"#,
        "server_error",
        "m",
    );
    check(r#"{"type":"error","code":null,"message":"m"}"#, "-", "m");
    check(r#"{"type":"error","error":{"type":"t","code":"c","message":"m"}}"#, "c", "m");
    check("event: error\ndata: {\"message\":\"m\"}\n\n", "-", "m");
    check("event: error\ndata: boom\n\n", "-", "boom");
    check(r#"{"error":{"message":"m","code":502}}"#, "502", "m");
    let failed =
        |rest: &str| format!(r#"{{"type":"response.failed","response":{{"status":"failed"{rest}}}}}"#);
    check(&failed(r#","error":{"code":"server_error","message":"m"}"#), "server_error", "m");
    check(&failed(""), "-", fault::NO_MESSAGE);
    check(&completed(r#""status":"failed","error":{"message":"m"}"#), "-", "m");
    let cancelled = "the provider says that the response was cancelled";
    check(&completed(r#""status":"cancelled""#), "cancelled", cancelled);
    check(r#"{"type":"response.cancelled","response":{}}"#, "cancelled", cancelled);
}

#[test]
fn what_a_failed_response_used_comes_before_its_error() {
    let failed =
        r#"{"type":"response.failed","response":{"usage":{"input_tokens":3},"error":{"message":"m"}}}"#;
    check(&[failed, failed], &["usage Some(3) None", "error -: m"], "failed m");
}

#[test]
fn the_type_counts_and_the_name_of_the_event_stands_in_for_it() {
    let check = |block: &str, expected: &[&str]| check(&[block], expected, "unfinished");
    check(&format!("event: error\ndata: {DELTA}\n\n"), &["text0 Hel"]);
    check(&format!("data: {DELTA}\nevent: response.output_text.delta\n\n"), &["text0 Hel"]);
    check("event: response.output_text.delta\ndata: {\"delta\":\"a\"}\n\n", &["text0 a"]);
    check(r#"{"delta":"a"}"#, &[]);
}

#[test]
fn what_is_not_understood_yields_nothing() {
    let odd = [
        ": OPENROUTER PROCESSING\n\n",
        "null",
        "[]",
        "",
        "7",
        r#"{"type":7}"#,
        r#"{"type":"response.output_text.delta""#,
        r#"{"type":"keepalive","sequence_number":3}"#,
        r#"{"type":"response.output_item.added","item":null}"#,
        r#"{"type":"response.output_item.done","item":[]}"#,
        r#"{"type":"response.content_part.added","part":{"type":"output_text","text":"x"}}"#,
    ];
    check(&odd, &[], "unfinished");
}

#[test]
fn what_is_remembered_is_limited() {
    let (mut dialect, mut events) = (OpenAiResponses::default(), Vec::new());
    let mut read = |index: usize, part: usize| {
        let block = format!(
            "data: {{\"type\":\"response.output_text.delta\",\"output_index\":{index},\"content_index\":{part},\"delta\":\"a\"}}\n\n"
        );
        dialect.read(block.as_bytes(), &mut events);
    };
    (0..ITEMS_MAX + 10).for_each(|index| read(index, 0));
    (1..PARTS_MAX + 10).for_each(|part| read(0, part));
    assert_eq!(events.len(), ITEMS_MAX + PARTS_MAX - 1);
}
