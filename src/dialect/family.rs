//! Families of providers: what they are called, where their paths are, how they want to be asked.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Dialect, Framing, anthropic, gemini, ollama, openai_chat, openai_responses, splice};

/// What a provider's family is called in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// OpenAI, and every server that speaks like it.
    Openai,
    Anthropic,
    /// Google's, as the Gemini API and Vertex AI have it.
    Gemini,
    Ollama,
}

/// Before the model in Gemini's paths, the usual one first; and behind it.
const GEMINI_MODELS: [&str; 2] = ["/v1beta/models/", "/v1/models/"];
const GEMINI_STREAM: &str = ":streamGenerateContent";

impl Family {
    /// As the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Ollama => "ollama",
        }
    }

    /// The path behind the base URL that a request takes when it names none. Gemini has the model in it.
    pub fn default_path(self, model: Option<&str>) -> Option<Cow<'static, str>> {
        match self {
            Self::Openai => Some("/chat/completions".into()),
            Self::Anthropic => Some("/v1/messages".into()),
            Self::Gemini => {
                let model = model?;
                let [before, _] = GEMINI_MODELS;
                let path =
                    format!("{before}{}{GEMINI_STREAM}", model.strip_prefix("models/").unwrap_or(model));
                // A model that is none would lead elsewhere.
                self.allows(&path).then(|| path.into())
            }
            Self::Ollama => Some("/api/chat".into()),
        }
    }

    /// The paths behind the base URL whose answers can be read as a stream, for people.
    pub fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Openai => &["/chat/completions", "/completions", "/responses"],
            Self::Anthropic => &["/v1/messages"],
            Self::Gemini => {
                &["/v1beta/models/{model}:streamGenerateContent", "/v1/models/{model}:streamGenerateContent"]
            }
            Self::Ollama => &["/api/chat", "/api/generate"],
        }
    }

    /// Globs of the paths that are handed on as they come, where a provider's configuration names none.
    pub fn proxy_paths(self) -> &'static [&'static str] {
        match self {
            Self::Openai => &["/embeddings", "/moderations", "/responses/*", "/models", "/models/*"],
            Self::Anthropic => &["/v1/messages/count_tokens", "/v1/models", "/v1/models/*"],
            Self::Gemini => &["/v1beta/models", "/v1beta/models/*", "/v1/models", "/v1/models/*"],
            Self::Ollama => {
                &["/api/embed", "/api/embeddings", "/api/show", "/api/tags", "/api/ps", "/api/version"]
            }
        }
    }

    /// Whether a start may name this path.
    pub fn allows(self, path: &str) -> bool {
        match self {
            Self::Gemini => gemini_model(path).is_some(),
            _ => self.paths().contains(&path),
        }
    }

    /// The model that stands in a path.
    pub fn model_in(self, path: &str) -> Option<&str> {
        (self == Self::Gemini).then(|| gemini_model(path)).flatten()
    }

    /// What a URL has behind the path so that the answer is a stream.
    pub fn query(self) -> &'static str {
        match self {
            Self::Gemini => "?alt=sse",
            _ => "",
        }
    }

    /// The header that a key goes in, and what stands before the key there.
    pub fn credential(self) -> (&'static str, &'static str) {
        match self {
            Self::Openai | Self::Ollama => ("authorization", "Bearer "),
            Self::Anthropic => ("x-api-key", ""),
            Self::Gemini => ("x-goog-api-key", ""),
        }
    }

    /// Headers that a request has to have, unless its caller says otherwise.
    pub fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Anthropic => &[("anthropic-version", "2023-06-01")],
            _ => &[],
        }
    }

    /// A reader for the answer to one request to `path`.
    pub fn dialect(self, path: &str) -> Box<dyn Dialect> {
        match (self, path) {
            #[cfg(test)]
            (_, super::planted::PATH) => Box::new(super::planted::Planted),
            (Self::Openai, "/responses") => Box::new(openai_responses::OpenAiResponses::default()),
            // The legacy `/completions` sends the same chunks, with `text` where a chat has `delta.content`.
            (Self::Openai, _) => Box::new(openai_chat::OpenAiChat::new()),
            (Self::Anthropic, _) => Box::new(anthropic::Anthropic::default()),
            (Self::Gemini, _) => Box::new(gemini::Gemini::default()),
            (Self::Ollama, _) => Box::new(ollama::Ollama::default()),
        }
    }

    /// How an answer is divided into blocks.
    pub fn framing(self) -> Framing {
        match self {
            Self::Openai | Self::Anthropic | Self::Gemini => Framing::Sse,
            Self::Ollama => Framing::Ndjson,
        }
    }

    /// Whether a body of this content type can be the stream. Servers that send none are believed.
    pub fn accepts(self, content_type: Option<&str>) -> bool {
        let Some(content_type) = content_type else { return true };
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let is = |wanted: &str| essence.eq_ignore_ascii_case(wanted);
        match self.framing() {
            Framing::Sse => is(self.content_type()),
            // An answer of one line, as to a request that only loads a model, is plain JSON for Ollama.
            Framing::Ndjson => is(self.content_type()) || is("application/ndjson") || is("application/json"),
        }
    }

    /// The content type that an answer should have.
    pub fn content_type(self) -> &'static str {
        match self.framing() {
            Framing::Sse => "text/event-stream",
            Framing::Ndjson => "application/x-ndjson",
        }
    }

    /// The body to send for `request`: the received bytes with streaming, and if asked for usage, switched
    /// on.
    pub fn prepare(self, path: &str, request: &str, ask_usage: bool) -> Result<String, splice::NotAnObject> {
        match (self, path) {
            (Self::Openai, "/responses") | (Self::Anthropic, _) => splice::streaming(request),
            (Self::Openai, _) => splice::openai_chat(request, ask_usage),
            (Self::Ollama, _) => splice::streaming_by_default(request),
            // Streaming is in its path, and so is the model.
            (Self::Gemini, _) => splice::without(request, &["model", "stream"]),
        }
    }
}

fn gemini_model(path: &str) -> Option<&str> {
    let behind = GEMINI_MODELS.iter().find_map(|before| path.strip_prefix(before))?;
    let model = behind.strip_suffix(GEMINI_STREAM)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@;=,~".contains(c);
    (!model.is_empty() && model.chars().all(plain)).then_some(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Family; 4] = [Family::Openai, Family::Anthropic, Family::Gemini, Family::Ollama];

    #[test]
    fn families_are_named_as_the_configuration_writes_them() {
        for family in ALL {
            assert_eq!(serde_json::to_value(family).unwrap(), family.name());
            assert_eq!(serde_json::from_value::<Family>(family.name().into()).unwrap(), family);
        }
        assert!(serde_json::from_str::<Family>("\"OpenAI\"").is_err());
    }

    #[test]
    fn the_default_path_is_one_that_is_allowed() {
        for family in ALL {
            let path = family.default_path(Some("models/gemini-2.5-flash")).unwrap();
            assert!(family.allows(&path), "{path}");
            assert!(!family.allows("/files"));
        }
        for none in [None, Some(""), Some("models/"), Some("a/../b"), Some("a?key=b#"), Some("a%2f")] {
            assert_eq!(Family::Gemini.default_path(none), None, "{none:?}");
        }
        for path in ["/v1beta/models/:streamGenerateContent", "/v1beta/models/a/../b:streamGenerateContent"] {
            assert!(!Family::Gemini.allows(path), "{path}");
        }
        assert_eq!(Family::Gemini.model_in("/v1beta/models/g-1.5:streamGenerateContent"), Some("g-1.5"));
    }

    #[test]
    fn content_types() {
        let check = |content_type, accepted| {
            assert_eq!(Family::Openai.accepts(content_type), accepted, "{content_type:?}");
        };
        check(None, true);
        check(Some("text/event-stream"), true);
        check(Some("text/event-stream; charset=utf-8"), true);
        check(Some("Text/Event-Stream ;charset=UTF-8"), true);
        check(Some(" text/event-stream"), true);
        check(Some("application/json"), false);
        check(Some("text/event-streams"), false);
        check(Some("text/html; x=text/event-stream"), false);
        check(Some(""), false);
        for content_type in ["application/x-ndjson", "application/json; charset=utf-8", "application/ndjson"]
        {
            assert!(Family::Ollama.accepts(Some(content_type)), "{content_type}");
        }
        assert!(!Family::Ollama.accepts(Some("text/event-stream")));
        assert!(!Family::Gemini.accepts(Some("application/json")));
    }

    #[test]
    fn requests_are_prepared() {
        let check = |family: Family, request: &str, expected: &str| {
            let path = family.default_path(Some("m")).unwrap();
            assert_eq!(family.prepare(&path, request, true).unwrap(), expected);
        };
        let gemini = r#"{"contents": [], "generationConfig" : {"stream":1.0}}"#;
        check(Family::Gemini, gemini, gemini);
        check(Family::Gemini, r#"{"model":"m","stream":false,"contents": [] }"#, r#"{"contents": [] }"#);
        check(Family::Ollama, r#"{"model" : "m"}"#, r#"{"model" : "m"}"#);
        check(Family::Ollama, r#"{"model":"m","stream": false}"#, r#"{"model":"m","stream": true}"#);
        assert_eq!((Family::Gemini.query(), Family::Ollama.query()), ("?alt=sse", ""));
    }
}
