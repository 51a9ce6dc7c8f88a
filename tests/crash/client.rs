//! Plain requests, one connection each, so that nothing of an earlier life of the gateway is used again.

use std::net::SocketAddr;

use reqwest::{Client as Http, Method, RequestBuilder, Response};
use serde_json::Value;

use crate::gateway::{KEY, PATIENCE};

#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: Http,
    base: String,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: http::HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Whether the body ended as it should.
    pub(crate) complete: bool,
}

impl Answer {
    pub(crate) async fn of(mut response: Response) -> Self {
        let (status, head) = (response.status().as_u16(), response.headers().clone());
        let (mut body, mut complete) = (Vec::new(), true);
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(_) => {
                    complete = false;
                    break;
                }
            }
        }
        Self { status, head, body, complete }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The answer, which has to have this status.
    #[track_caller]
    pub(crate) fn want(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

impl Client {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Http::builder().no_proxy().pool_max_idle_per_host(0).http1_only().build();
        Self { http: http.unwrap(), base: format!("http://{addr}") }
    }

    /// A request with the key of the tests.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(KEY)
    }

    /// A request of a viewer, which has nothing but a ticket.
    pub(crate) fn watch(&self, path: &str, ticket: &str) -> RequestBuilder {
        let and = if path.contains('?') { '&' } else { '?' };
        self.http.get(format!("{}{path}{and}ticket={ticket}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Result<Answer> {
        let response = self.request(Method::GET, path).timeout(PATIENCE).send().await?;
        Ok(Answer::of(response).await)
    }

    pub(crate) async fn delete(&self, path: &str) -> reqwest::Result<Answer> {
        let response = self.request(Method::DELETE, path).timeout(PATIENCE).send().await?;
        Ok(Answer::of(response).await)
    }

    /// Starts a stream.
    pub(crate) async fn start(&self, envelope: &Value, key: Option<&str>) -> reqwest::Result<Answer> {
        let mut request = self.request(Method::POST, "/v1/streams").json(envelope).timeout(PATIENCE);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        Ok(Answer::of(request.send().await?).await)
    }

    /// The end of a stream, once it has one.
    pub(crate) async fn end(&self, id: &str) -> Value {
        let events = self.get(&format!("/v1/streams/{id}/events?from=live")).await.unwrap().want(200);
        let events = crate::viewer::events(&events.body);
        let end = events.iter().find(|event| event.name == "end");
        serde_json::from_str(&end.unwrap_or_else(|| panic!("no end in {events:?}")).data).unwrap()
    }

    /// `GET /v1/streams`, all of it.
    pub(crate) async fn list(&self) -> reqwest::Result<Vec<Value>> {
        let (mut streams, mut page) = (Vec::new(), String::new());
        loop {
            let answer = self.get(&format!("/v1/streams?limit=1000{page}")).await?.want(200).json();
            streams.extend(answer["streams"].as_array().unwrap().iter().cloned());
            match answer["next"].as_str() {
                Some(next) => page = format!("&page={next}"),
                None => return Ok(streams),
            }
        }
    }
}
