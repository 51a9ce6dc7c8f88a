use super::*;

fn check(data: &[&str], expected: &[&str], verdict: &str) {
    let more = r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"more"}}"#;
    crate::dialect::shown::check(Anthropic::default(), data, more, expected, verdict);
}

/// Reads deltas, each given as block index and delta.
fn check_deltas(deltas: &[(u32, &str)], expected: &[&str]) {
    let event = |(index, delta): &(u32, &str)| {
        format!(r#"{{"type":"content_block_delta","index":{index},"delta":{delta}}}"#)
    };
    let data: Vec<_> = deltas.iter().map(event).collect();
    check(&data.iter().map(String::as_str).collect::<Vec<_>>(), expected, "unfinished");
}

const STOP: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null}}"#;
const END: &str = r#"{"type":"message_stop"          }"#;

#[test]
fn deltas() {
    let check = check_deltas;
    check(
        &[(0, r#"{"type":"text_delta","text":"a"}"#), (0, r#"{"type":"text_delta","text":""}"#)],
        &["text0 a"],
    );
    check(
        &[(0, r#"{"type":"thinking_delta","thinking":"a"}"#), (1, r#"{"type":"text_delta","text":"b"}"#)],
        &["reasoning0 a", "text0 b"],
    );
    // The block's index is not that of a call, and the type says which member counts.
    check(
        &[
            (4, r#"{"type":"input_json_delta","partial_json":"","text":"x"}"#),
            (7, r#"{"type":"input_json_delta","partial_json":"{"}"#),
            (4, r#"{"type":"input_json_delta","partial_json":"\"a"}"#),
        ],
        &["call0.0 - - ", "call0.1 - - ", "call0.1 - - {", "call0.0 - - \"a"],
    );
    check(
        &[
            (0, r#"{"type":"signature_delta","signature":"EqRk"}"#),
            (0, r#"{"type":"citations_delta","citation":{"cited_text":"x"}}"#),
            (0, r#"{"type":"compaction_delta","content":"x"}"#),
            (0, r#"{"type":"new_delta","text":"x"}"#),
            (0, r#"{"text":"x"}"#),
            (0, r#"{"type":"text_delta","text":7}"#),
            (0, r#"{"type":"text_delta","text":null}"#),
            (0, "null"),
            (0, "[]"),
        ],
        &[],
    );
}

#[test]
fn calls() {
    let call = |rest: &str| {
        format!(r#"{{"type":"content_block_start","index":1,"content_block":{{"type":"tool_use"{rest}}}}}"#)
    };
    let delta = r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"[1]"}}"#;
    let stop = r#"{"type":"content_block_stop","index":1}"#;
    let check = |data: &[&str], expected: &[&str]| check(data, expected, "unfinished");
    let place_holder = call(r#","id":"t","name":"f","input":{}"#);
    check(&[&place_holder, delta, stop], &["call0.0 t f ", "call0.0 - - [1]"]);
    // It is none if nothing else comes.
    check(&[&place_holder, stop, stop], &["call0.0 t f ", "call0.0 - - {}"]);
    check(&[&place_holder], &["call0.0 t f "]);
    // Servers that know everything at the start.
    let whole = call(r#","id":"t","name":"f","input":{"a": [1e999]}"#);
    check(&[&whole, stop], &[r#"call0.0 t f {"a": [1e999]}"#]);
    check(&[&whole, delta, stop], &[r#"call0.0 t f {"a": [1e999]}"#]);
    check(&[&call(r#","input":"""#), delta, stop], &["call0.0 - - ", "call0.0 - - [1]"]);
    check(&[&call(""), stop], &["call0.0 - - "]);
    for kind in ["server_tool_use", "mcp_tool_use"] {
        check(&[&place_holder.replace("tool_use", kind), delta], &["call0.0 t f ", "call0.0 - - [1]"]);
    }
    check(&[&place_holder.replace("tool_use", "web_search_tool_result"), stop], &[]);
}

#[test]
fn starts() {
    let start =
        |block: &str| format!(r#"{{"type":"content_block_start","index":0,"content_block":{block}}}"#);
    let check = |block: &str, expected: &[&str]| check(&[&start(block)], expected, "unfinished");
    check(r#"{"type":"text","text":""}"#, &[]);
    check(r#"{"type":"text","text":"a"}"#, &["text0 a"]);
    check(r#"{"type":"thinking","thinking":"a","signature":""}"#, &["reasoning0 a"]);
    check(r#"{"type":"redacted_thinking","data":"x"}"#, &[]);
    check(r#"{"type":"fallback","text":"x"}"#, &[]);
    check(r#"{"text":"x"}"#, &[]);
    check("null", &[]);
}

#[test]
fn halves_of_emoji() {
    check_deltas(
        &[
            (0, r#"{"type":"text_delta","text":"a\ud83d"}"#),
            (1, r#"{"type":"input_json_delta","partial_json":"\ud83d"}"#),
            (2, r#"{"type":"text_delta","text":"\ude00"}"#),
            (0, r#"{"type":"text_delta","text":"\ude00"}"#),
            (1, r#"{"type":"input_json_delta","partial_json":"\ude00"}"#),
        ],
        &["text0 a", "call0.0 - - ", "text0 \u{FFFD}", "text0 😀", "call0.0 - - 😀"],
    );
    let half = r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"\ud83d"}}"#;
    for stop in [r#"{"type":"content_block_stop","index":0}"#, r#"{"type":"content_block_stop","index":1}"#] {
        let expected: &[&str] = if stop.contains('0') { &["text0 \u{FFFD}"] } else { &[] };
        check(&[half, stop], expected, "unfinished");
    }
    check(&[half, STOP], &["text0 \u{FFFD}", "finish0 end_turn"], "finished");
    check(&[half, END], &["text0 \u{FFFD}"], "terminal");
    check(&[half, "[DONE]"], &["text0 \u{FFFD}"], "terminal");
    check(
        &[half, r#"{"type":"error"}"#],
        &["text0 \u{FFFD}", r#"error -: {"type":"error"}"#],
        "failed {\"type\":\"error\"}",
    );
}

#[test]
fn ends() {
    check(&[], &[], "unfinished");
    check(&[STOP], &["finish0 end_turn"], "finished");
    check(&[STOP, &STOP.replace("end_turn", "max_tokens")], &["finish0 end_turn"], "finished");
    check(&[STOP, END], &["finish0 end_turn"], "terminal");
    check(&[END], &[], "terminal");
    check(&["event: message_stop\ndata: {}\n\n"], &[], "terminal");
    check(&[r#"{"type":"message_delta","delta":{"stop_reason":null}}"#], &[], "unfinished");
    check(&["[DONE]"], &[], "terminal");
}

#[test]
fn meta_and_usage() {
    let check = |data: &[&str], expected: &[&str]| check(data, expected, "unfinished");
    let start = r#"{"type":"message_start","message":{"id":"msg_1","model":"m","usage":{"input_tokens":9,"output_tokens":1}}}"#;
    let delta = |usage: &str| format!(r#"{{"type":"message_delta","delta":{{}},"usage":{usage}}}"#);
    check(&[start, start], &["meta m msg_1", "usage Some(9) Some(1)"]);
    check(&[r#"{"type":"message_start","message":{"model":"m"}}"#], &["meta m -"]);
    check(&[r#"{"type":"message_start","message":{"id":""}}"#, r#"{"type":"message_start"}"#], &[]);
    check(
        &[start, &delta(r#"{"output_tokens":7}"#), &delta(r#"{"output_tokens":7}"#)],
        &["meta m msg_1", "usage Some(9) Some(1)", "usage Some(9) Some(7)"],
    );
    check(
        &[start, &delta(r#"{"input_tokens":12,"output_tokens":7}"#)],
        &["meta m msg_1", "usage Some(9) Some(1)", "usage Some(12) Some(7)"],
    );
    check(&[&delta("{}"), &delta("null"), &delta(r#"{"output_tokens":-1}"#)], &[]);
}

#[test]
fn errors() {
    let check = |data: &str, code: &str, message: &str| {
        check(&[data], &[&format!("error {code}: {message}")], &format!("failed {message}"));
    };
    check(r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#, "overloaded_error", "m");
    check("event: error\ndata: {\"error\":{\"message\":\"m\"}}\n\n", "-", "m");
    check("event: ping\ndata: {\"type\":\"error\",\"error\":{\"message\":\"m\"}}\n\n", "-", "m");
    check(r#"{"error":{"type":"api_error","message":"m"}}"#, "api_error", "m");
    check(r#"{"type":"error","message":"m"}"#, "-", "m");
    check("event: error\ndata: boom\n\n", "-", "boom");
    check(r#"{"type":"error","error":{}}"#, "-", fault::NO_MESSAGE);
}

#[test]
fn the_type_counts_and_the_name_of_the_event_stands_in_for_it() {
    let delta = r#"{"index":0,"delta":{"type":"text_delta","text":"a"}}"#;
    let typed = delta.replacen('{', r#"{"type":"content_block_delta","#, 1);
    let check = |block: &str, expected: &[&str]| check(&[block], expected, "unfinished");
    check(&format!("event: content_block_delta\ndata: {delta}\n\n"), &["text0 a"]);
    check(&format!("event: error\ndata: {typed}\n\n"), &["text0 a"]);
    check(&format!("event: message_stop\ndata: {typed}\n\n"), &["text0 a"]);
    check(&format!("data: {typed}\nevent: content_block_delta\n\n"), &["text0 a"]);
    check(&format!("event: ping\ndata: {delta}\n\n"), &[]);
    check(delta, &[]);
    check("event: error\ndata: {\"type\":\"ping\"}\n\n", &[]);
}

#[test]
fn what_is_not_understood_yields_nothing() {
    let odd = [
        ": c\n\n",
        "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        r#"{"type":"new_event","text":"x"}"#,
        r#"{"type":7}"#,
        "null",
        "[]",
        "",
        r#"{"type":"content_block_delta""#,
        r#"{"type":"content_block_delta","index":-1,"delta":{"type":"text_delta","text":"x"}}"#,
        r#"{"type":"content_block_start","index":"x","content_block":{"type":"text","text":"x"}}"#,
        r#"{"type":"content_block_stop"}"#,
        r#"{"type":"message_delta","delta":7,"usage":"x"}"#,
    ];
    check(&odd, &[], "unfinished");
}

#[test]
fn what_is_remembered_is_limited() {
    let (mut dialect, mut events) = (Anthropic::default(), Vec::new());
    for index in 0..BLOCKS_MAX + 100 {
        let delta = r#"{"type":"input_json_delta","partial_json":"a"}"#;
        let block =
            format!("data: {{\"type\":\"content_block_delta\",\"index\":{index},\"delta\":{delta}}}\n\n");
        dialect.read(block.as_bytes(), &mut events);
    }
    assert_eq!(dialect.blocks.len(), BLOCKS_MAX);
    assert_eq!(events.len(), 2 * BLOCKS_MAX);
}
