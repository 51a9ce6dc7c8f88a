//! A request for an answer, read and checked, or the reason why not.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::dialects::{Endpoint, WHOLE_BYTES_MAX};
use super::options::{Options, TOKENS_MAX};
use super::request::Request;

/// What one request wants.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) endpoint: Endpoint,
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) choices: u64,
    pub(super) tools: Vec<Function>,
    /// Whether the client's own limit on tokens cuts the text short.
    pub(super) length: bool,
    pub(super) prompt_tokens: u64,
    /// Of the responses: the number of the last event that the client has.
    pub(super) starting_after: Option<u64>,
    /// The simulator's options with the request's on top.
    pub(super) options: Options,
    pub(super) seed: u64,
}

/// A function that the client offers as a tool.
#[derive(Debug, Deserialize)]
pub(super) struct Function {
    pub(super) name: String,
    /// JSON Schema of the arguments.
    #[serde(default)]
    pub(super) parameters: Value,
}

/// An HTTP error, before it has a shape. `param` and `code` are for those who say them.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
    pub(super) param: Option<&'static str>,
    pub(super) code: Option<&'static str>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: None }
    }

    pub(super) fn too_large() -> Self {
        Self::bad(format!("This answer is over {WHOLE_BYTES_MAX} bytes; ask for a stream instead."))
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn param(self, param: &'static str, code: &'static str) -> Self {
        Self { param: Some(param), code: Some(code), ..self }
    }

    /// OpenAI's `error.type` for the status.
    pub(super) fn kind(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }
}

impl Ask {
    pub(super) fn read(endpoint: Endpoint, bytes: &[u8], defaults: &Options) -> Result<Self, Refusal> {
        let Request { model, stream, include_usage, choices, tools, tokens_max, prompt_tokens, simulate } =
            Request::read(&endpoint, bytes)?;
        let mut overrides = steered(&model);
        overrides.extend(simulate);
        let mut options = defaults
            .with(&overrides)
            .map_err(|message| Refusal::bad(message).param("simulate", "invalid_value"))?;
        if tools.is_empty() && options.tool_calls > 0 {
            if overrides.contains_key("tool_calls") {
                let message = "simulate.tool_calls needs a function in 'tools', and no tool_choice 'none'.";
                return Err(Refusal::bad(message).param("tools", "missing_required_parameter"));
            }
            options.tool_calls = 0;
        }

        let limit = tokens_max.unwrap_or(TOKENS_MAX);
        let length = limit < options.tokens;
        options.tokens = options.tokens.min(limit);
        if endpoint.repeats_itself() && options.text_bytes() > WHOLE_BYTES_MAX as u64 {
            let message = format!("This answer is over {WHOLE_BYTES_MAX} bytes; ask for fewer tokens.");
            return Err(Refusal::bad(message));
        }
        Ok(Self {
            endpoint,
            model,
            stream,
            include_usage,
            choices,
            tools,
            length,
            prompt_tokens,
            starting_after: None,
            seed: options.seed.unwrap_or_else(|| fnv1a(bytes)),
            options,
        })
    }

    /// Another request for the same answer, without the faults that the first one asked for.
    pub(super) fn again(self, stream: bool, starting_after: Option<u64>) -> Self {
        Self { stream, starting_after, options: self.options.faultless(), ..self }
    }
}

/// What a model's name says behind its first semicolon, as in `simulated;tokens=50;bom`, for clients that cannot
/// add a member to the body.
fn steered(model: &str) -> Map<String, Value> {
    let read = |member: &str| {
        let (name, value) = member.split_once('=').unwrap_or((member, "true"));
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        (name.to_owned(), value)
    };
    model.split(';').skip(1).filter(|member| !member.is_empty()).map(read).collect()
}

/// The standard library's hashers promise no stable result, and equal requests shall get equal answers in every build.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::super::options::LineEnd;
    use super::*;

    fn read(json: &str) -> Result<Ask, Refusal> {
        Ask::read(Endpoint::OpenaiChat, json.as_bytes(), &Options::default())
    }

    #[test]
    fn a_minimal_request_is_enough() {
        let ask =
            read(r#"{"model":"any","messages":[{"role":"user","content":"\ud83d"}],"user":"x"}"#).unwrap();
        assert_eq!((ask.model.as_str(), ask.stream, ask.choices, ask.length), ("any", false, 1, false));
        assert_eq!(ask.options, Options::default());
    }

    #[test]
    fn a_models_name_can_steer_and_the_body_has_the_last_word() {
        let ask = read(
            r#"{"model":"m;tokens=5;rate=0.5;bom;line_end=crlf;","messages":[1],"simulate":{"tokens":7}}"#,
        );
        let wanted =
            Options { tokens: 7, rate: 0.5, bom: true, line_end: LineEnd::Crlf, ..Options::default() };
        assert_eq!(ask.unwrap().options, wanted);
        let refusal = read(r#"{"model":"m;tokns=5","messages":[1]}"#).unwrap_err();
        assert!(refusal.message.starts_with("simulate.tokns is unknown"), "{}", refusal.message);
    }

    #[test]
    fn the_clients_limit_cuts_the_text() {
        let ask = read(r#"{"model":"m","messages":[1],"max_tokens":5}"#).unwrap();
        assert_eq!((ask.options.tokens, ask.length), (5, true));
    }

    #[test]
    fn the_seed_comes_from_the_body_unless_given() {
        let plain = r#"{"model":"m","messages":[1]}"#;
        assert_eq!(read(plain).unwrap().seed, read(plain).unwrap().seed);
        assert_ne!(read(plain).unwrap().seed, read(r#"{"model":"m","messages":[2]}"#).unwrap().seed);
        assert_eq!(read(r#"{"model":"m","messages":[1],"simulate":{"seed":9}}"#).unwrap().seed, 9);
    }

    #[test]
    fn a_bad_request_is_told_what_is_wrong() {
        for (json, part) in [
            ("", "could not parse"),
            ("[]", "could not parse"),
            (r#"{"messages":[1]}"#, "'model'"),
            (r#"{"model":"m"}"#, "'messages'"),
            (r#"{"model":"m","messages":[]}"#, "empty array"),
            (r#"{"model":"m","messages":[1],"n":0}"#, "'n'"),
            (r#"{"model":"m","messages":[1],"stream":"yes"}"#, "boolean"),
            (r#"{"model":"m","messages":[1],"simulate":{"nope":1}}"#, "simulate.nope is unknown"),
            (r#"{"model":"m","messages":[1],"simulate":{"tool_calls":1}}"#, "'tools'"),
        ] {
            let refusal = read(json).unwrap_err();
            assert!(refusal.message.contains(part), "{json}: {}", refusal.message);
            assert_eq!((refusal.status, refusal.kind()), (StatusCode::BAD_REQUEST, "invalid_request_error"));
        }
    }
}
