//! A request goes to the provider byte for byte, but for a splice or two: what switches streaming on. To
//! parse the request and write it anew would change key order, big integers, escapes and duplicate keys.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::ops::Range;

use super::json;

/// The request is no JSON object.
#[derive(Debug, thiserror::Error)]
#[error("the request must be a JSON object: {0}")]
pub struct NotAnObject(#[from] serde_json::Error);

/// `request` with `"stream":true` and, if `ask_usage`, with `"include_usage":true` unless it says itself what
/// it wants.
pub fn openai_chat(request: &str, ask_usage: bool) -> Result<String, NotAnObject> {
    let mut splice = Splice::new(request);
    let (mut stream, mut options) = (false, !ask_usage);
    let members = json::members(request)?;
    for (key, value) in &members {
        match &**key {
            // A key given twice is valid JSON, and providers differ in which of them they take.
            b"stream" => {
                splice.replace(value, "true");
                stream = true;
            }
            b"stream_options" if ask_usage => {
                include_usage(value, &mut splice);
                options = true;
            }
            _ => {}
        }
    }
    let missing = match (stream, options) {
        (true, true) => "",
        (false, true) => r#""stream":true"#,
        (true, false) => r#""stream_options":{"include_usage":true}"#,
        (false, false) => r#""stream":true,"stream_options":{"include_usage":true}"#,
    };
    splice.insert(request, missing, members.is_empty());
    Ok(splice.finish())
}

/// `request` with `"stream":true`.
pub fn streaming(request: &str) -> Result<String, NotAnObject> {
    openai_chat(request, false)
}

/// `request` with `"stream":true` where it speaks of streaming, and as it is where it does not: for providers that
/// stream unless they are told otherwise.
pub fn streaming_by_default(request: &str) -> Result<String, NotAnObject> {
    let mut splice = Splice::new(request);
    for (_, value) in json::members(request)?.iter().filter(|(key, _)| **key == *b"stream") {
        splice.replace(value, "true");
    }
    Ok(splice.finish())
}

/// `request` without these members, and without a comma each.
pub fn without(request: &str, names: &[&str]) -> Result<String, NotAnObject> {
    let mut splice = Splice::new(request);
    let members = json::members(request)?;
    let is_wanted = |key: &[u8]| names.iter().all(|name| key != name.as_bytes());
    // A member goes with what stands between it and the one before; those in front of all that stay go with what
    // stands behind them.
    let brace = request.find('{').unwrap_or_default();
    let (mut before, mut any_stays) = (brace.saturating_add(1), false);
    for (key, value) in &members {
        let end = splice.offset(value).saturating_add(value.len());
        let behind = request.get(end..).unwrap_or_default().trim_ascii_start();
        let next = behind.strip_prefix(',').map_or(end, |rest| request.len().saturating_sub(rest.len()));
        let stays = is_wanted(key);
        any_stays |= stays;
        let after = if any_stays { end } else { next };
        if !stays {
            splice.edits.push((before..after, String::new()));
        }
        before = after;
    }
    Ok(splice.finish())
}

fn include_usage(options: &str, splice: &mut Splice<'_>) {
    if options == "null" {
        return splice.replace(options, r#"{"include_usage":true}"#);
    }
    // Anything but an object is a mistake that the provider can explain better.
    let Ok(members) = json::members(options) else { return };
    if members.iter().all(|(key, _)| **key != *b"include_usage") {
        splice.insert(options, r#""include_usage":true"#, members.is_empty());
    }
}

/// The value that `request` has at its top level under `key`, as it stands there.
pub fn top_level(request: &str, key: &str) -> Option<String> {
    let members = json::members(request).ok()?;
    let (_, value) = members.iter().rev().find(|(name, _)| **name == *key.as_bytes())?;
    Some((*value).to_owned())
}

/// The string that `request` has at its top level under `key`. Of a key given twice the last counts, as
/// almost every parser has it.
pub fn top_level_string(request: &str, key: &str) -> Option<String> {
    let members = json::members(request).ok()?;
    let (_, value) = members.iter().rev().find(|(name, _)| **name == *key.as_bytes())?;
    let value = serde_json::from_str(value).ok()?;
    json::string(Some(value))
}

/// Replacements in a text, none of which overlap.
#[derive(Debug)]
struct Splice<'a> {
    text: &'a str,
    edits: Vec<(Range<usize>, String)>,
}

impl<'a> Splice<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, edits: Vec::new() }
    }

    /// Puts `new` in the place of `part`, which is a slice of the text.
    fn replace(&mut self, part: &str, new: &str) {
        let start = self.offset(part);
        self.edits.push((start..start.saturating_add(part.len()), new.to_owned()));
    }

    /// Puts `members` in front of those of `object`, which is a slice of the text.
    fn insert(&mut self, object: &str, members: &str, empty: bool) {
        if members.is_empty() {
            return;
        }
        let brace = object.find('{').unwrap_or_default();
        let start = self.offset(object).saturating_add(brace).saturating_add(1);
        let comma = if empty { "" } else { "," };
        self.edits.push((start..start, format!("{members}{comma}")));
    }

    fn offset(&self, part: &str) -> usize {
        let offset = part.as_ptr().addr().wrapping_sub(self.text.as_ptr().addr());
        debug_assert!(self.text.get(offset..).is_some_and(|rest| rest.starts_with(part)));
        offset
    }

    fn finish(mut self) -> String {
        self.edits.sort_by_key(|(range, _)| range.start);
        let mut spliced = String::with_capacity(self.text.len().saturating_add(64));
        let mut done = 0;
        for (range, new) in &self.edits {
            spliced.push_str(self.text.get(done..range.start).unwrap_or_default());
            spliced.push_str(new);
            done = range.end;
        }
        spliced.push_str(self.text.get(done..).unwrap_or_default());
        spliced
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn streaming_is_switched_on() {
        let check = |request: &str, expected: &str| {
            assert_eq!(openai_chat(request, false).unwrap(), expected, "{request}");
        };
        check("{}", r#"{"stream":true}"#);
        check(" \n{ } ", " \n{\"stream\":true } ");
        check(r#"{"a":1}"#, r#"{"stream":true,"a":1}"#);
        check("\t{\r\n  \"a\" : 1\r\n}\n", "\t{\"stream\":true,\r\n  \"a\" : 1\r\n}\n");
        check(r#"{"stream":true}"#, r#"{"stream":true}"#);
        check(r#"{"a":1, "stream" : false , "b":2}"#, r#"{"a":1, "stream" : true , "b":2}"#);
        check(r#"{"stream":null}"#, r#"{"stream":true}"#);
        check(r#"{"stream":{"stream":[1]},"b":"}"}"#, r#"{"stream":true,"b":"}"}"#);
        check(r#"{"stream":"no","x":1,"stream":0}"#, r#"{"stream":true,"x":1,"stream":true}"#);
        check(r#"{"str\u0065am":false}"#, r#"{"str\u0065am":true}"#);
        check(r#"{"a":{"stream":false}}"#, r#"{"stream":true,"a":{"stream":false}}"#);
        check(r#"{"a":"\"stream\":false"}"#, r#"{"stream":true,"a":"\"stream\":false"}"#);
        // What a parser would have changed.
        let odd = r#""z":1,"a":123456789012345678901234567890,"b":1.0e2,"c":"\/\u2028\ud83d é","d":1,"d":2"#;
        check(&format!("{{{odd}}}"), &format!("{{\"stream\":true,{odd}}}"));
        // Usage that was not asked for is left as it is.
        check(r#"{"stream_options":null}"#, r#"{"stream":true,"stream_options":null}"#);
    }

    #[test]
    fn usage_is_asked_for() {
        let check = |request: &str, expected: &str| {
            assert_eq!(openai_chat(request, true).unwrap(), expected, "{request}");
        };
        check("{}", r#"{"stream":true,"stream_options":{"include_usage":true}}"#);
        check(r#"{"a":1}"#, r#"{"stream":true,"stream_options":{"include_usage":true},"a":1}"#);
        check(r#"{"stream":false}"#, r#"{"stream_options":{"include_usage":true},"stream":true}"#);
        check(
            r#"{"stream_options": null ,"stream":1}"#,
            r#"{"stream_options": {"include_usage":true} ,"stream":true}"#,
        );
        check(
            r#"{"stream":true,"stream_options":{}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        );
        check(
            r#"{"stream":true,"stream_options":{ "x":{"include_usage":1}}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true, "x":{"include_usage":1}}}"#,
        );
        for stated in
            ["{\"include_usage\":false}", "{\"x\":1,\"include\\u005fusage\":null}", "[]", "\"x\"", "7"]
        {
            let request = format!(r#"{{"stream":true,"stream_options":{stated}}}"#);
            check(&request, &request);
        }
    }

    #[test]
    fn streaming_is_left_on() {
        let check =
            |request: &str, expected: &str| assert_eq!(streaming_by_default(request).unwrap(), expected);
        check(r#"{ "model":"m" }"#, r#"{ "model":"m" }"#);
        check(r#"{"a":{"stream":false}, "stream" : false}"#, r#"{"a":{"stream":false}, "stream" : true}"#);
        check(r#"{"stream":null,"str\u0065am":0}"#, r#"{"stream":true,"str\u0065am":true}"#);
        assert!(streaming_by_default("[]").is_err());
    }

    #[test]
    fn members_are_left_out() {
        let check =
            |request: &str, expected: &str| assert_eq!(without(request, &["model", "b"]).unwrap(), expected);
        check(r#"{ "a" : 1.0e2 }"#, r#"{ "a" : 1.0e2 }"#);
        check(r#"{"model":"x","a" : 1.0e2, "c\"":"\/"}"#, r#"{"a" : 1.0e2, "c\"":"\/"}"#);
        check(
            r#"{"a" : [1, 2] , "model":"x", "b" : {"b":1} , "\ud83d":"b","b":1 }"#,
            r#"{"a" : [1, 2] , "\ud83d":"b" }"#,
        );
        check(" { \"mod\\u0065l\" : \"}\" , \"b\":1,\n\"a\":1}\n", " {\n\"a\":1}\n");
        check(r#"{"b":1,"model":2}"#, "{}");
        check(r#"{ "b" : 1 }"#, "{ }");
        check("{}", "{}");
        assert!(without("[]", &[]).is_err());
    }

    #[test]
    fn only_objects_can_be_spliced() {
        for request in ["", "null", "[]", "[{}]", "\"{}\"", "{", "{}{}", "{\"a\":}", "{\"a\":1,}", "{'a':1}"]
        {
            assert!(openai_chat(request, true).is_err(), "{request}");
            assert_eq!(top_level_string(request, "a"), None, "{request}");
        }
    }

    #[test]
    fn top_level_strings() {
        let check = |request: &str, expected: Option<&str>| {
            assert_eq!(top_level_string(request, "model").as_deref(), expected, "{request}");
        };
        check(r#"{"model":"gpt-x"}"#, Some("gpt-x"));
        check(r#"{"a":{"model":"no"}, "mod\u0065l" : "g\u0070t\/x" }"#, Some("gpt/x"));
        check(r#"{"model":"a","model":"b"}"#, Some("b"));
        check(r#"{"model":"a","model":1}"#, None);
        check(r#"{"model":""}"#, None);
        check(r#"{"model":null}"#, None);
        check("{}", None);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z\"{}\\\\é]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            let key =
                prop_oneof!["[a-z\"{]{0,3}", Just("stream".to_owned()), Just("include_usage".to_owned())];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key, inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        /// Parsed, the result is the request with two members set.
        #[test]
        fn a_splice_sets_members(
            members in prop::collection::btree_map(
                prop_oneof!["[a-z\"]{0,3}", Just("stream".to_owned()), Just("stream_options".to_owned())],
                value(),
                0..5,
            ),
            pretty: bool,
            ask_usage: bool,
        ) {
            let mut expected = json!(members);
            let request = if pretty { format!("{expected:#}") } else { expected.to_string() };
            expected["stream"] = true.into();
            if ask_usage {
                match &mut expected["stream_options"] {
                    options @ Value::Null => *options = json!({"include_usage": true}),
                    Value::Object(options) => drop(options.entry("include_usage").or_insert(true.into())),
                    _ => {}
                }
            }
            let spliced = openai_chat(&request, ask_usage).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&spliced).unwrap(), expected);
        }

        /// Parsed, the result is the request without them.
        #[test]
        fn members_can_be_left_out(
            members in prop::collection::btree_map(
                prop_oneof!["[a-c\"]{0,2}", Just("stream".to_owned()), Just("model".to_owned())],
                value(),
                0..6,
            ),
            pretty: bool,
        ) {
            let mut expected = json!(members);
            let request = if pretty { format!("{expected:#}") } else { expected.to_string() };
            let object = expected.as_object_mut().unwrap();
            object.retain(|key, _| key != "stream" && key != "a");
            let spliced = without(&request, &["stream", "a"]).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&spliced).unwrap(), expected);
        }

        #[test]
        fn any_text_is_survived(request in "[\\[{}\\]\":,a0 ]{0,16}") {
            let _ = openai_chat(&request, true);
            let _ = without(&request, &["a"]);
        }
    }
}
