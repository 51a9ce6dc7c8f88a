//! The stream as Server-Sent Events.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Response, StatusCode, redirect};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use tokio::time::timeout;

use super::ask::Ask;
use super::error::{Error, Lost};
use super::target::Target;
use super::wire::{Message, Parser};
use crate::outbound::{self, causes};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How much of an error body is read, and for how long.
const ERROR_BYTES_MAX: usize = 16 * 1024;
const ERROR_WITHIN: Duration = Duration::from_secs(5);

/// A response that goes on for as long as the stream does.
#[derive(Debug)]
pub(super) struct Body {
    response: Response,
    parser: Parser,
}

impl Body {
    /// Asks for the stream; `None` when there is nothing behind the cursor, and will never be.
    pub(super) async fn open(
        http: &reqwest::Client,
        target: &Target,
        ask: &Ask<'_>,
    ) -> Result<Option<Self>, Lost> {
        let mut url = target.url().clone();
        url.set_path(&format!("{}/events", url.path()));
        url.set_query(Some(&format!("heartbeat_ms={}", ask.heartbeat.as_millis())));
        let mut request = http.get(url).header(ACCEPT, "text/event-stream");
        if ask.after > 0 {
            request = request.header("last-event-id", ask.after);
        }
        if let Some(credential) = ask.credential {
            request = request.bearer_auth(credential.expose_secret());
        }
        let response = match timeout(ask.heartbeat * 2, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(Lost::cut(causes(&error.without_url()))),
            Err(_) => return Err(Lost::cut("no answer in time")),
        };
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NO_CONTENT => return Ok(None),
            _ => return Err(refused(response).await),
        }
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !content_type.is_some_and(|value| value.starts_with("text/event-stream")) {
            let message = format!("what answers is no stream of events but {:?}", content_type.unwrap_or(""));
            return Err(Error::Foreign(message).into());
        }
        Ok(Some(Self { response, parser: Parser::new() }))
    }

    /// The next message. Heartbeats are bytes: only true silence is a cut.
    pub(super) async fn message(&mut self, silence: Duration) -> Result<Message, Lost> {
        loop {
            if let Some(message) = self.parser.next().map_err(|error| Error::Foreign(error.to_string()))? {
                return Ok(message);
            }
            match timeout(silence, self.response.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    self.parser.push(chunk).map_err(|error| Error::Foreign(error.to_string()))?;
                }
                Ok(Ok(None)) => return Err(Lost::cut("the connection was closed before the end")),
                Ok(Err(error)) => return Err(Lost::cut(causes(&error.without_url()))),
                Err(_) => return Err(Lost::cut(format!("not a byte for {} s", silence.as_secs_f32()))),
            }
        }
    }
}

/// A client for streams, which go to no proxy where they go nowhere else.
pub(super) fn client(loopback: bool) -> reqwest::Client {
    outbound::client(|| {
        let builder = reqwest::Client::builder()
            .http1_only()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_WITHIN);
        if loopback { builder.no_proxy() } else { builder }
    })
}

/// What an answer without a stream means: come back, or give up.
async fn refused(mut response: Response) -> Lost {
    #[derive(Deserialize)]
    struct Body {
        error: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        code: String,
        message: String,
    }
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = Vec::new();
    let _ = timeout(ERROR_WITHIN, async {
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > ERROR_BYTES_MAX {
                return;
            }
        }
    })
    .await;
    let (code, message) = match serde_json::from_slice(&body) {
        Ok(Body { error: Inner { code, message } }) => (code, message),
        Err(_) => ("unknown".into(), "what answers does not speak as a tokencast gateway does".into()),
    };
    let passing = status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if passing {
        let at_earliest = retry_after.map(|s: u64| Duration::from_secs(s.min(30)));
        return Lost::Cut(format!("{code}: {message}"), at_earliest);
    }
    Lost::GiveUp(Error::Refused { code, message })
}
