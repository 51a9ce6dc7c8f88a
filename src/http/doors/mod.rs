//! The front doors: calls as providers' own SDKs make them, with only the base URL changed. A streaming call starts a
//! stream and is answered with its raw view; everything else goes to the provider and back as it is.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod again;
mod ai_messages;
pub(super) mod ai_sdk;
mod answer;
pub(super) mod bill;
mod call;
mod fault;
mod models;
mod passing;
mod proxy;
mod responses;

use axum::Router;
use axum::routing::{get, post};
use http::HeaderMap;

pub(super) use self::again::Again;
pub(super) use self::responses::Deleted;
use super::App;
use crate::dialect::splice::top_level;

/// Whose SDK calls, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Chat,
    Completions,
    Responses,
    Messages,
    Gemini,
    OllamaChat,
    OllamaGenerate,
}

impl Door {
    /// What the provider behind it has to speak.
    fn dialect(self) -> &'static str {
        match self {
            Self::Chat | Self::Completions | Self::Responses => "openai",
            Self::Messages => "anthropic",
            Self::Gemini => "gemini",
            Self::OllamaChat | Self::OllamaGenerate => "ollama",
        }
    }

    /// The path behind the provider's base URL: OpenAI's has `/v1` in it already.
    fn path(self, path: &str) -> String {
        let path = if self.dialect() == "openai" { path.strip_prefix("/v1").unwrap_or(path) } else { path };
        path.to_owned()
    }

    /// Whether the answer is asked for as a stream.
    fn is_streaming(self, path: &str, query: &str, request: &str) -> bool {
        let asked = top_level(request, "stream");
        match self {
            Self::Gemini => {
                path.ends_with(":streamGenerateContent") && query.split('&').any(|pair| pair == "alt=sse")
            }
            Self::OllamaChat | Self::OllamaGenerate => asked.as_deref() != Some("false"),
            _ => asked.as_deref() == Some("true"),
        }
    }

    /// Whose SDK asks, where several have the same path.
    fn of(headers: &HeaderMap) -> Self {
        let has = |name| headers.contains_key(name);
        match () {
            () if has("anthropic-version") => Self::Messages,
            () if has("x-goog-api-key") || has("x-goog-api-client") => Self::Gemini,
            () => Self::Chat,
        }
    }

    /// What may be said between two blocks while the provider is silent.
    fn heartbeat(self) -> Option<&'static [u8]> {
        match self {
            // Without the blank line that would make an event of it for some.
            Self::Chat | Self::Completions | Self::Responses => Some(b": hb\n"),
            Self::Messages => Some(b"event: ping\ndata: {\"type\": \"ping\"}\n\n"),
            Self::Gemini | Self::OllamaChat | Self::OllamaGenerate => None,
        }
    }
}

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/chat/completions", post(call::chat))
        .route("/v1/completions", post(call::completions))
        .route("/v1/responses", post(call::responses))
        .route("/v1/responses/{id}", get(responses::retrieve).delete(responses::delete))
        .route("/v1/responses/{id}/cancel", post(responses::cancel))
        .route("/v1/messages", post(call::messages))
        .route("/v1beta/models/{call}", get(proxy::listed).post(call::gemini))
        .route("/v1/models/{call}", get(proxy::listed).post(call::gemini))
        .route("/api/chat", post(ai_sdk::start))
        .route("/api/chat/{chat}/stream", get(ai_sdk::resume).delete(ai_sdk::stop))
        .route("/api/generate", post(call::ollama_generate))
        .route("/v1/models", get(models::list))
        .fallback(proxy::listed)
}
