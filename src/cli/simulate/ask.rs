//! A chat completion request, read and checked, or the reason why not.

use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::options::{Options, TOKENS_MAX};

/// The most choices of one answer, as at OpenAI.
pub(super) const CHOICES_MAX: u64 = 128;

/// What one request wants.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) choices: u64,
    pub(super) tools: Vec<Function>,
    /// Whether the client's own limit on tokens cuts the text short.
    pub(super) length: bool,
    pub(super) prompt_tokens: u64,
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

/// An HTTP error in OpenAI's shape.
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

    fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    fn param(self, param: &'static str, code: &'static str) -> Self {
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

/// Only what matters here; raw values, because a message may hold what serde_json refuses (lone surrogates).
#[derive(Deserialize)]
struct Body<'a> {
    model: Option<String>,
    #[serde(borrow)]
    messages: Option<Vec<&'a RawValue>>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<u64>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    tools: Option<Vec<Tool>>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    simulate: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Tool {
    function: Option<Function>,
}

impl Ask {
    pub(super) fn read(bytes: &[u8], defaults: &Options) -> Result<Self, Refusal> {
        let body: Body<'_> = serde_json::from_slice(bytes).map_err(|error| {
            Refusal::bad(format!("We could not parse the JSON body of your request: {error}"))
        })?;
        let missing = |name: &'static str| {
            Refusal::bad(format!("Missing required parameter: '{name}'."))
                .param(name, "missing_required_parameter")
        };
        let model = body.model.ok_or_else(|| missing("model"))?;
        let messages = body.messages.ok_or_else(|| missing("messages"))?;
        if messages.is_empty() {
            return Err(Refusal::bad("Invalid 'messages': empty array.").param("messages", "empty_array"));
        }
        let choices = body.n.unwrap_or(1);
        if !(1..=CHOICES_MAX).contains(&choices) {
            let message = format!("Invalid 'n': must be from 1 to {CHOICES_MAX}.");
            return Err(Refusal::bad(message).param("n", "invalid_value"));
        }

        let overrides = body.simulate.unwrap_or_default();
        let mut options = defaults
            .with(&overrides)
            .map_err(|message| Refusal::bad(message).param("simulate", "invalid_value"))?;
        let declined = body.tool_choice.is_some_and(|choice| choice.get() == "\"none\"");
        let tools: Vec<Function> = if declined {
            Vec::new()
        } else {
            body.tools.unwrap_or_default().into_iter().filter_map(|tool| tool.function).collect()
        };
        if tools.is_empty() && options.tool_calls > 0 {
            if overrides.contains_key("tool_calls") {
                let message = "simulate.tool_calls needs a function in 'tools', and no tool_choice 'none'.";
                return Err(Refusal::bad(message).param("tools", "missing_required_parameter"));
            }
            options.tool_calls = 0;
        }

        let limit = body.max_completion_tokens.or(body.max_tokens).unwrap_or(TOKENS_MAX);
        let length = limit < options.tokens;
        options.tokens = options.tokens.min(limit);
        Ok(Self {
            model,
            stream: body.stream.unwrap_or(false),
            include_usage: body.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
            choices,
            tools,
            length,
            prompt_tokens: messages.iter().map(|message| 3 + message.get().len() as u64 / 4).sum(),
            seed: options.seed.unwrap_or_else(|| fnv1a(bytes)),
            options,
        })
    }
}

/// The standard library's hashers promise no stable result, and equal requests shall get equal answers in every build.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Ask, Refusal> {
        Ask::read(json.as_bytes(), &Options::default())
    }

    #[test]
    fn a_minimal_request_is_enough() {
        let ask =
            read(r#"{"model":"any","messages":[{"role":"user","content":"\ud83d"}],"user":"x"}"#).unwrap();
        assert_eq!((ask.model.as_str(), ask.stream, ask.choices, ask.length), ("any", false, 1, false));
        assert_eq!(ask.options, Options::default());
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
