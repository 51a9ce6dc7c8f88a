//! Which paths there are.

use http::request::Parts;
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use url::form_urlencoded;

use super::ask::Refusal;
use super::dialects::Endpoint;

/// What a request is for.
#[derive(Debug, PartialEq)]
pub(super) enum Route {
    Completion(Endpoint),
    /// One of OpenAI's responses once more, or what follows an event of it.
    Stored {
        id: String,
        stream: bool,
        starting_after: Option<u64>,
    },
    Models,
    Embeddings,
}

const PATHS: &str = "POST /v1/chat/completions, /v1/responses, /v1/messages, \
    /v1beta/models/{model}:generateContent, /v1beta/models/{model}:streamGenerateContent?alt=sse, /api/chat, \
    /api/generate, /v1/embeddings and GET /v1/models, /v1/responses/{id}, /v1beta/models, /api/tags";

impl Route {
    pub(super) fn of(head: &Parts) -> Result<Self, Refusal> {
        let (method, path) = (&head.method, head.uri.path());
        let Some((wanted, route)) = find(path, head.uri.query().unwrap_or_default()) else {
            let message = format!("Invalid URL ({method} {path}). There are {PATHS}.");
            return Err(Refusal::new(StatusCode::NOT_FOUND, message));
        };
        if *method != wanted {
            let message = format!("Not allowed to {method} on {path}.");
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message));
        }
        Ok(route)
    }
}

fn find(path: &str, query: &str) -> Option<(Method, Route)> {
    let completion = |endpoint| Some((Method::POST, Route::Completion(endpoint)));
    match path {
        "/v1/chat/completions" => completion(Endpoint::OpenaiChat),
        "/v1/responses" => completion(Endpoint::OpenaiResponses),
        "/v1/messages" => completion(Endpoint::Anthropic),
        "/api/chat" => completion(Endpoint::OllamaChat),
        "/api/generate" => completion(Endpoint::OllamaGenerate),
        "/v1/models" | "/v1beta/models" | "/api/tags" => Some((Method::GET, Route::Models)),
        "/v1/embeddings" => Some((Method::POST, Route::Embeddings)),
        _ => {
            let member = |wanted| {
                let mut members = form_urlencoded::parse(query.as_bytes());
                members.find_map(|(name, value)| (name == wanted).then_some(value))
            };
            if let Some(id) = path.strip_prefix("/v1/responses/") {
                let stream = member("stream").is_some_and(|value| value == "true");
                let starting_after = member("starting_after").and_then(|value| value.parse().ok());
                return Some((Method::GET, Route::Stored { id: id.to_owned(), stream, starting_after }));
            }
            // The Gemini API has both versions.
            let behind = path.strip_prefix("/v1beta/models/").or_else(|| path.strip_prefix("/v1/models/"))?;
            let (model, verb) = behind.rsplit_once(':')?;
            let stream = match verb {
                "generateContent" => false,
                // Without alt=sse a stream is a JSON array, which nobody who reads streams asks for.
                "streamGenerateContent" if member("alt").is_some_and(|value| value == "sse") => true,
                _ => return None,
            };
            let model = percent_decode_str(model).decode_utf8_lossy().into_owned();
            completion(Endpoint::Gemini { model, stream })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, uri: &str) -> Result<Route, StatusCode> {
        let request = http::Request::builder().method(method).uri(uri).body(()).unwrap();
        Route::of(&request.into_parts().0).map_err(|refusal| refusal.status)
    }

    #[test]
    fn the_path_says_what_is_wanted() {
        let gemini = |stream| Route::Completion(Endpoint::Gemini { model: "m;bom=true".to_owned(), stream });
        for (uri, route) in [
            ("/v1beta/models/m;bom=true:generateContent", gemini(false)),
            ("/v1/models/m;bom=true:generateContent", gemini(false)),
            ("/v1beta/models/m%3Bbom%3Dtrue:streamGenerateContent?key=k&alt=sse", gemini(true)),
            ("/v1/responses", Route::Completion(Endpoint::OpenaiResponses)),
            ("/v1/embeddings", Route::Embeddings),
        ] {
            assert_eq!(of("POST", uri), Ok(route), "{uri}");
            assert_eq!(of("GET", uri), Err(StatusCode::METHOD_NOT_ALLOWED), "{uri}");
        }
        let stored = |stream, starting_after| Route::Stored { id: "r".to_owned(), stream, starting_after };
        assert_eq!(of("GET", "/v1/responses/r"), Ok(stored(false, None)));
        assert_eq!(of("GET", "/v1/responses/r?stream=true&starting_after=7"), Ok(stored(true, Some(7))));
        for uri in
            ["/", "/v1beta/models/m:streamGenerateContent", "/v1beta/models/m:countTokens", "/api/show"]
        {
            assert_eq!(of("POST", uri), Err(StatusCode::NOT_FOUND), "{uri}");
        }
    }
}
