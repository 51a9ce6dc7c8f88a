//! A request's body in each dialect, and what they all come down to.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::ask::{Function, Refusal};
use super::dialects::Endpoint;

/// The most choices of one answer, as at OpenAI.
pub(super) const CHOICES_MAX: u64 = 128;

/// What is asked for, in whatever dialect.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) choices: u64,
    /// None if the client wants none of them called.
    pub(super) tools: Vec<Function>,
    /// The client's own limit on tokens.
    pub(super) tokens_max: Option<u64>,
    pub(super) prompt_tokens: u64,
    pub(super) simulate: Map<String, Value>,
}

impl Request {
    pub(super) fn read(endpoint: &Endpoint, bytes: &[u8]) -> Result<Self, Refusal> {
        match endpoint {
            Endpoint::OpenaiChat => parse::<Chat<'_>>(bytes)?.request(),
            Endpoint::OpenaiResponses => parse::<Responses<'_>>(bytes)?.request(),
            Endpoint::Anthropic => parse::<Messages<'_>>(bytes)?.request(),
            Endpoint::Gemini { model, stream } => parse::<Gemini<'_>>(bytes)?.request(model, *stream),
            Endpoint::OllamaChat => parse::<Ollama<'_>>(bytes)?.request(false),
            Endpoint::OllamaGenerate => parse::<Ollama<'_>>(bytes)?.request(true),
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes)
        .map_err(|error| Refusal::bad(format!("We could not parse the JSON body of your request: {error}")))
}

fn needed<T>(name: &'static str, value: Option<T>) -> Result<T, Refusal> {
    value.ok_or_else(|| {
        Refusal::bad(format!("Missing required parameter: '{name}'."))
            .param(name, "missing_required_parameter")
    })
}

/// Raw, because a message may hold what serde_json refuses (lone surrogates).
type Raw<'a> = &'a RawValue;

/// A conversation that is not empty, as a number of tokens.
fn prompt(name: &'static str, messages: Option<Vec<Raw<'_>>>) -> Result<u64, Refusal> {
    let messages = needed(name, messages)?;
    if messages.is_empty() {
        return Err(Refusal::bad(format!("Invalid '{name}': empty array.")).param(name, "empty_array"));
    }
    Ok(messages.into_iter().map(tokens).sum())
}

fn tokens(message: Raw<'_>) -> u64 {
    3 + message.get().len() as u64 / 4
}

fn choices(name: &'static str, choices: Option<u64>) -> Result<u64, Refusal> {
    let choices = choices.unwrap_or(1);
    if !(1..=CHOICES_MAX).contains(&choices) {
        let message = format!("Invalid '{name}': must be from 1 to {CHOICES_MAX}.");
        return Err(Refusal::bad(message).param(name, "invalid_value"));
    }
    Ok(choices)
}

/// OpenAI's chat completions; also how OpenAI and Ollama write tools.
#[derive(Deserialize)]
struct Chat<'a> {
    model: Option<String>,
    #[serde(borrow)]
    messages: Option<Vec<Raw<'a>>>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<u64>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    tools: Option<Vec<Tool>>,
    #[serde(borrow)]
    tool_choice: Option<Raw<'a>>,
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

/// The functions among the tools, unless the client declines to have any called.
fn functions<T>(
    tools: Option<Vec<T>>,
    declined: bool,
    function: impl FnMut(T) -> Option<Function>,
) -> Vec<Function> {
    if declined { Vec::new() } else { tools.unwrap_or_default().into_iter().filter_map(function).collect() }
}

fn is_none(choice: Option<Raw<'_>>) -> bool {
    choice.is_some_and(|choice| choice.get() == "\"none\"")
}

impl Chat<'_> {
    fn request(self) -> Result<Request, Refusal> {
        Ok(Request {
            model: needed("model", self.model)?,
            prompt_tokens: prompt("messages", self.messages)?,
            choices: choices("n", self.n)?,
            stream: self.stream.unwrap_or(false),
            include_usage: self.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
            tools: functions(self.tools, is_none(self.tool_choice), |tool| tool.function),
            tokens_max: self.max_completion_tokens.or(self.max_tokens),
            simulate: self.simulate.unwrap_or_default(),
        })
    }
}

/// OpenAI's responses, whose tools have their function's members beside their type.
#[derive(Deserialize)]
struct Responses<'a> {
    model: Option<String>,
    #[serde(borrow)]
    input: Option<Raw<'a>>,
    stream: Option<bool>,
    max_output_tokens: Option<u64>,
    tools: Option<Vec<Value>>,
    #[serde(borrow)]
    tool_choice: Option<Raw<'a>>,
    simulate: Option<Map<String, Value>>,
}

impl Responses<'_> {
    fn request(self) -> Result<Request, Refusal> {
        let function = |tool: Value| {
            let is_function = tool.get("type").and_then(Value::as_str) == Some("function");
            is_function.then(|| serde_json::from_value(tool).ok()).flatten()
        };
        Ok(Request {
            model: needed("model", self.model)?,
            prompt_tokens: tokens(needed("input", self.input)?),
            choices: 1,
            stream: self.stream.unwrap_or(false),
            tools: functions(self.tools, is_none(self.tool_choice), function),
            tokens_max: self.max_output_tokens,
            simulate: self.simulate.unwrap_or_default(),
            ..Request::default()
        })
    }
}

/// Anthropic's messages.
#[derive(Deserialize)]
struct Messages<'a> {
    model: Option<String>,
    #[serde(borrow)]
    messages: Option<Vec<Raw<'a>>>,
    max_tokens: Option<u64>,
    stream: Option<bool>,
    tools: Option<Vec<AnthropicTool>>,
    tool_choice: Option<AnthropicChoice>,
    simulate: Option<Map<String, Value>>,
}

/// A tool that the provider has itself comes without a schema.
#[derive(Deserialize)]
struct AnthropicTool {
    name: String,
    input_schema: Option<Value>,
}

#[derive(Deserialize)]
struct AnthropicChoice {
    r#type: String,
}

impl Messages<'_> {
    fn request(self) -> Result<Request, Refusal> {
        let declined = self.tool_choice.is_some_and(|choice| choice.r#type == "none");
        let function = |AnthropicTool { name, input_schema }| {
            input_schema.map(|parameters| Function { name, parameters })
        };
        Ok(Request {
            model: needed("model", self.model)?,
            prompt_tokens: prompt("messages", self.messages)?,
            tokens_max: Some(needed("max_tokens", self.max_tokens)?),
            choices: 1,
            stream: self.stream.unwrap_or(false),
            tools: functions(self.tools, declined, function),
            simulate: self.simulate.unwrap_or_default(),
            ..Request::default()
        })
    }
}

/// Gemini's `generateContent`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Gemini<'a> {
    #[serde(borrow)]
    contents: Option<Vec<Raw<'a>>>,
    generation_config: Option<GenerationConfig>,
    tools: Option<Vec<Declarations>>,
    tool_config: Option<ToolConfig>,
    simulate: Option<Map<String, Value>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GenerationConfig {
    max_output_tokens: Option<u64>,
    candidate_count: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Declarations {
    #[serde(default)]
    function_declarations: Vec<Declaration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Declaration {
    name: String,
    parameters: Option<Value>,
    parameters_json_schema: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig {
    function_calling_config: Option<CallingConfig>,
}

#[derive(Deserialize)]
struct CallingConfig {
    mode: Option<String>,
}

impl Gemini<'_> {
    fn request(self, model: &str, stream: bool) -> Result<Request, Refusal> {
        let config = self.generation_config.unwrap_or_default();
        let calling = self.tool_config.and_then(|config| config.function_calling_config);
        let declined = calling.and_then(|config| config.mode).is_some_and(|mode| mode == "NONE");
        let declared = self.tools.map(|tools| {
            tools.into_iter().flat_map(|declarations| declarations.function_declarations).collect::<Vec<_>>()
        });
        let function = |Declaration { name, parameters, parameters_json_schema }| {
            let parameters = parameters.or(parameters_json_schema).unwrap_or_default();
            Some(Function { name, parameters })
        };
        Ok(Request {
            model: model.to_owned(),
            prompt_tokens: prompt("contents", self.contents)?,
            choices: choices("generationConfig.candidateCount", config.candidate_count)?,
            stream,
            tools: functions(declared, declined, function),
            tokens_max: config.max_output_tokens,
            simulate: self.simulate.unwrap_or_default(),
            ..Request::default()
        })
    }
}

/// Ollama's chat, and its generate, which has a prompt in place of messages and no tools.
#[derive(Deserialize)]
struct Ollama<'a> {
    model: Option<String>,
    #[serde(borrow)]
    messages: Option<Vec<Raw<'a>>>,
    #[serde(borrow)]
    prompt: Option<Raw<'a>>,
    stream: Option<bool>,
    options: Option<OllamaOptions>,
    tools: Option<Vec<Tool>>,
    simulate: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct OllamaOptions {
    /// Below 0 is without limit.
    num_predict: Option<i64>,
}

impl Ollama<'_> {
    fn request(self, generate: bool) -> Result<Request, Refusal> {
        let limit = self.options.and_then(|options| options.num_predict);
        Ok(Request {
            model: needed("model", self.model)?,
            prompt_tokens: match generate {
                true => tokens(needed("prompt", self.prompt)?),
                false => prompt("messages", self.messages)?,
            },
            choices: 1,
            stream: self.stream.unwrap_or(true),
            tools: functions(self.tools, generate, |tool| tool.function),
            tokens_max: limit.and_then(|limit| u64::try_from(limit).ok()),
            simulate: self.simulate.unwrap_or_default(),
            ..Request::default()
        })
    }
}
