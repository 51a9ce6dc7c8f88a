//! Over which transport: WebTransport where it is there, and SSE, which always is. A cursor means the same on both.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::timeout;
use tracing::debug;
use url::Url;

use super::ask::{Ask, Place};
use super::error::Lost;
use super::session::Session;
use super::sse::Body;
use super::target::Target;
use super::wire::Message;

/// How long to look for WebTransport before the stream is followed over SSE.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// What a follower may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// WebTransport, and SSE once that fails.
    Auto,
    #[default]
    Sse,
    WebTransport,
}

/// Which ways are left.
#[derive(Debug)]
pub(super) struct Ways {
    transport: Transport,
    /// It did not come about: from now on there is SSE.
    has_failed: bool,
}

/// A connection on which messages come.
#[derive(Debug)]
pub(super) enum Wire {
    Sse(Box<Body>),
    WebTransport(Box<Session>),
}

impl Wire {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Sse(_) => "sse",
            Self::WebTransport(_) => "webtransport",
        }
    }

    /// The next message; silence for so long is a cut.
    pub(super) async fn message(&mut self, silence: Duration) -> Result<Message, Lost> {
        match self {
            Self::Sse(body) => body.message(silence).await,
            Self::WebTransport(session) => session.message(silence).await,
        }
    }
}

impl Ways {
    pub(super) fn new(transport: Transport) -> Self {
        Self { transport, has_failed: false }
    }

    /// Connects on the best way that is left; `None` when there is nothing behind the cursor, and will never be.
    pub(super) async fn open(
        &mut self,
        http: &reqwest::Client,
        target: &Target,
        ask: &Ask<'_>,
    ) -> Result<Option<Wire>, Lost> {
        let over_sse =
            async || Ok(Body::open(http, target, ask).await?.map(|body| Wire::Sse(Box::new(body))));
        let over_webtransport = async || {
            let place = look(http, target).await?;
            Ok(Some(Wire::WebTransport(Box::new(Session::open(&place, ask).await?))))
        };
        match self.transport {
            Transport::Sse => over_sse().await,
            Transport::WebTransport => over_webtransport().await,
            Transport::Auto if self.has_failed => over_sse().await,
            Transport::Auto => {
                let opened = timeout(LOOK_WITHIN, over_webtransport()).await;
                match opened.unwrap_or_else(|_| Err(Lost::cut("no session in time"))) {
                    Err(Lost::Cut(why, _)) => {
                        debug!(why, "no WebTransport: on with SSE");
                        self.has_failed = true;
                        over_sse().await
                    }
                    opened => opened,
                }
            }
        }
    }
}

/// Asks the gateway where its WebTransport is. Who does not answer over HTTP may be there all the same.
async fn look(http: &reqwest::Client, target: &Target) -> Result<Place, Lost> {
    #[derive(Deserialize)]
    struct Said {
        url: Option<Url>,
        certificate_hashes: Vec<Hash>,
    }
    #[derive(Deserialize)]
    struct Hash {
        value: String,
    }
    let own = target.url();
    let (before, stream) = own.path().rsplit_once("/v1/streams/").expect("a target is a stream's URL");
    let mut asked = own.clone();
    asked.set_path(&format!("{before}/v1/webtransport"));
    let said: Said = match http.get(asked).send().await.and_then(reqwest::Response::error_for_status) {
        Ok(response) => {
            let said = response.json().await;
            said.map_err(|_| Lost::cut("what answers does not say where its WebTransport is"))?
        }
        Err(_) if own.scheme() == "https" => {
            return Ok(Place { url: own.clone(), hashes: Vec::new() });
        }
        Err(error) => return Err(Lost::cut(crate::outbound::causes(&error.without_url()))),
    };
    let mut url = said.url.ok_or_else(|| Lost::cut("the gateway has no WebTransport"))?;
    let base = url.path().trim_end_matches("/v1/session").to_owned();
    url.set_path(&format!("{base}/v1/streams/{stream}"));
    let hashes = said.certificate_hashes.iter().map(|hash| unhex(&hash.value));
    let hashes =
        hashes.collect::<Option<_>>().ok_or_else(|| Lost::cut("a certificate hash is no SHA-256"))?;
    Ok(Place { url, hashes })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    bytes.try_into().ok()
}
