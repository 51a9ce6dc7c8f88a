//! An error that a provider says in band, as a code and a sentence.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::json::{self, Leaf, Text, shape};

/// Said for an error that says nothing.
pub(super) const NO_MESSAGE: &str = "the provider gave no message";

shape! {
    Fault {
        status: Leaf<'a> = b"status",
        code: Leaf<'a> = b"code",
        kind: Leaf<'a> = b"type",
        message: Leaf<'a> = b"message",
    }
}

/// What a member `error` says: a sentence, or an object that has one. It is no error if JavaScript would call it false.
pub(super) fn read(error: Leaf<'_>) -> Option<(Option<String>, String)> {
    let error = error.map(|error| error.get()).filter(|error| !matches!(*error, "false" | "0" | "\"\""));
    error.map(of)
}

/// What an error says that is all of `text`, which need not be JSON. The code is its `status` where that is a word,
/// else its `code`, else its `type` where that says more than that this is an error.
pub(super) fn of(text: &str) -> (Option<String>, String) {
    let fault = json::object::<Fault<'_>>(text).unwrap_or_default();
    let number = || fault.code.filter(|code| json::number::<i64>(Some(code)).is_some());
    let kind = fault.kind.filter(|kind| !Text::of(Some(kind)).is_some_and(|kind| kind.is("error")));
    let code = json::string(fault.status).or_else(|| number().map(|code| code.get().to_owned()));
    let code = code.or_else(|| json::string(fault.code)).or_else(|| json::string(kind));
    let bare = || json::string(serde_json::from_str(text).ok());
    let message = json::string(fault.message).or_else(bare).unwrap_or_else(|| text.to_owned());
    (code, if matches!(&*message, "" | "{}") { NO_MESSAGE.to_owned() } else { message })
}

#[cfg(test)]
mod tests {
    use super::*;

    shape! {
        Line {
            error: Leaf<'a> = b"error",
        }
    }

    #[test]
    fn errors() {
        let check = |error: &str, expected: Option<(Option<&str>, &str)>| {
            let line = format!(r#"{{"error":{error}}}"#);
            let said = read(json::object::<Line<'_>>(&line).unwrap().error);
            let said = said.as_ref().map(|(code, message)| (code.as_deref(), &**message));
            assert_eq!(said, expected, "{error}");
        };
        for none in ["null", "false", "0", "\"\""] {
            check(none, None);
        }
        check("\"m\"", Some((None, "m")));
        check("\"\\ud83d\\n\"", Some((None, "\u{FFFD}\n")));
        check("true", Some((None, "true")));
        check("{}", Some((None, NO_MESSAGE)));
        check("[1, 2]", Some((None, "[1, 2]")));
        check(
            r#"{"code":503,"message":"m","status":"UNAVAILABLE","details":[]}"#,
            Some((Some("UNAVAILABLE"), "m")),
        );
        check(r#"{"code":503,"message":"m","status":""}"#, Some((Some("503"), "m")));
        check(r#"{"code":"c","message":"m","type":"t"}"#, Some((Some("c"), "m")));
        check(r#"{"code":null,"message":"m","type":"t"}"#, Some((Some("t"), "m")));
        check(r#"{"code":502,"message":"m","type":"t"}"#, Some((Some("502"), "m")));
        check(r#"{"message":"m","type":"error"}"#, Some((None, "m")));
        check(r#"{"code":1e999,"message":""}"#, Some((None, r#"{"code":1e999,"message":""}"#)));
    }
}
