//! One stream, followed to its end over as many connections as it takes.

use std::collections::VecDeque;
use std::time::Duration;

use async_stream::stream;
use reqwest::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Response, StatusCode, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::Stream;

use super::backoff::Backoff;
use super::contract::{Contract, Violation};
use super::error::Error;
use super::item::{Cut, Event, Item};
use super::target::Target;
use super::wire::{Message, Parser};
use crate::cast::block::Seq;
use crate::outbound::{self, causes};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How much of an error body is read, and for how long.
const ERROR_BYTES_MAX: usize = 16 * 1024;
const ERROR_WITHIN: Duration = Duration::from_secs(5);
/// What events of one block may hold before its id comes.
const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How to follow.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cursor from which to begin; 0 is the beginning.
    pub after: Seq,
    /// A key or a ticket; else the target's ticket.
    pub credential: Option<SecretString>,
    /// The heartbeat that the server is asked for, 500 ms to 30 s. Twice as much silence is a cut.
    pub heartbeat: Duration,
    /// Attempts in a row that may bring nothing.
    pub attempts_max: u32,
    /// To share a client among many followers.
    pub http: Option<reqwest::Client>,
}

impl Default for Options {
    fn default() -> Self {
        let heartbeat = Duration::from_secs(5);
        Self { after: 0, credential: None, heartbeat, attempts_max: 20, http: None }
    }
}

/// A follower: asks for what is next until there is nothing more.
#[derive(Debug)]
pub struct Follow {
    target: Target,
    options: Options,
    http: reqwest::Client,
    state: State,
    contract: Contract,
    backoff: Backoff,
    /// Events whose id has not come yet.
    held: Vec<Event>,
    held_bytes: usize,
    ready: VecDeque<Item>,
}

#[derive(Debug)]
enum State {
    /// Connects after this pause.
    Pausing(Duration),
    Reading(Box<Connection>),
    Done,
}

#[derive(Debug)]
struct Connection {
    response: Response,
    parser: Parser,
    since: Instant,
    opened: bool,
}

/// Why a connection gives nothing more.
enum Lost {
    /// Coming back may help; at the earliest after so long.
    Cut(String, Option<Duration>),
    GiveUp(Error),
}

impl<V: Into<Error>> From<V> for Lost {
    fn from(error: V) -> Self {
        Self::GiveUp(error.into())
    }
}

impl Follow {
    pub fn new(target: Target, options: Options) -> Self {
        let http = match &options.http {
            Some(http) => http.clone(),
            None => client(target.is_loopback()),
        };
        Self {
            contract: Contract::new(options.after),
            backoff: Backoff::new(),
            held: Vec::new(),
            held_bytes: 0,
            ready: VecDeque::new(),
            state: State::Pausing(Duration::ZERO),
            target,
            options,
            http,
        }
    }

    /// The last id, behind which the stream goes on.
    pub fn cursor(&self) -> Seq {
        self.contract.cursor()
    }

    /// The next item; `None` after the last. Must not be dropped half way: see [`Self::into_stream`].
    pub async fn next(&mut self) -> Result<Option<Item>, Error> {
        let next = self.advance().await;
        if next.is_err() {
            self.state = State::Done;
        }
        next
    }

    /// The same as a stream, whose next item can be waited for beside other things.
    pub fn into_stream(mut self) -> impl Stream<Item = Result<Item, Error>> {
        stream! {
            while let Some(item) = self.next().await.transpose() {
                yield item;
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<Item>, Error> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            let lost = match &mut self.state {
                State::Done => return Ok(None),
                State::Pausing(pause) => {
                    sleep(std::mem::take(pause)).await;
                    self.connect().await.err()
                }
                State::Reading(connection) => match connection.message(self.options.heartbeat * 2).await {
                    Ok(message) => self.take(message).err().map(Lost::from),
                    Err(lost) => Some(lost),
                },
            };
            match lost {
                None => {}
                Some(Lost::GiveUp(error)) => return Err(error),
                Some(Lost::Cut(why, at_earliest)) => self.cut(why, at_earliest)?,
            }
        }
    }

    async fn connect(&mut self) -> Result<(), Lost> {
        let mut url = self.target.url().clone();
        url.set_path(&format!("{}/events", url.path()));
        url.set_query(Some(&format!("heartbeat_ms={}", self.options.heartbeat.as_millis())));
        let mut request = self.http.get(url).header(ACCEPT, "text/event-stream");
        if self.cursor() > 0 {
            request = request.header("last-event-id", self.cursor());
        }
        if let Some(credential) = self.options.credential.as_ref().or(self.target.ticket()) {
            request = request.bearer_auth(credential.expose_secret());
        }
        let response = match timeout(self.options.heartbeat * 2, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(Lost::Cut(causes(&error.without_url()), None)),
            Err(_) => return Err(Lost::Cut("no answer in time".into(), None)),
        };
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NO_CONTENT => {
                self.ready.push_back(Item::Over);
                self.state = State::Done;
                return Ok(());
            }
            _ => return Err(refused(response).await),
        }
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !content_type.is_some_and(|value| value.starts_with("text/event-stream")) {
            let message = format!("what answers is no stream of events but {:?}", content_type.unwrap_or(""));
            return Err(Lost::GiveUp(Error::Foreign(message)));
        }
        let (parser, since) = (Parser::new(), Instant::now());
        self.state = State::Reading(Box::new(Connection { response, parser, since, opened: false }));
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), Error> {
        let Message { name, id, data, retry } = message;
        if let Some(retry) = retry {
            self.backoff.hear(retry);
        }
        let State::Reading(connection) = &mut self.state else { return Ok(()) };
        if !std::mem::replace(&mut connection.opened, true) && name != "open" {
            return Err(Violation::NoOpen.into());
        }
        match name.as_str() {
            "open" => {
                let mut open = read(&name, &data)?;
                self.contract.open(id, &open)?;
                open.data = data;
                self.ready.push_back(Item::Open(open));
            }
            "end" => {
                let mut end: super::End = read(&name, &data)?;
                self.contract.end(id, &end)?;
                end.data = data;
                self.ready.push_back(Item::End(end));
                self.state = State::Done;
            }
            "bye" => {
                let mut bye: super::Bye = read(&name, &data)?;
                bye.data = data;
                self.backoff.hear(Duration::from_millis(bye.retry_ms));
                self.leave(&bye.code, None)?;
                self.ready.push_back(Item::Bye(bye));
            }
            _ => {
                let event = Event::read(name, id, data).map_err(Violation::Unreadable)?;
                self.contract.event(&event)?;
                self.backoff.succeeded();
                self.held_bytes += event.data.len();
                if self.held_bytes > HELD_BYTES_MAX {
                    return Err(Violation::Unreadable("too much comes without an id".into()).into());
                }
                self.held.push(event);
                if id.is_some() {
                    self.held_bytes = 0;
                    self.ready.extend(self.held.drain(..).map(Item::Event));
                }
            }
        }
        Ok(())
    }

    fn cut(&mut self, why: String, at_earliest: Option<Duration>) -> Result<(), Error> {
        if let State::Reading(connection) = &self.state
            && connection.since.elapsed() > self.options.heartbeat * 2
        {
            // It has lived on heartbeats: that is no server that cuts everybody at once.
            self.backoff.succeeded();
        }
        let pause = self.leave(&why, at_earliest)?;
        self.ready.push_back(Item::Cut(Cut { why, pause }));
        Ok(())
    }

    /// Gives the connection up for a new one after a pause. What came after the last id comes again.
    fn leave(&mut self, why: &str, at_earliest: Option<Duration>) -> Result<Duration, Error> {
        self.held.clear();
        self.held_bytes = 0;
        let pause = self.backoff.pause().max(at_earliest.unwrap_or_default());
        let attempts = self.backoff.failures();
        if attempts >= self.options.attempts_max {
            return Err(Error::Unreachable { attempts, last: why.into() });
        }
        self.state = State::Pausing(pause);
        Ok(pause)
    }
}

impl Connection {
    /// The next message. Heartbeats are bytes: only true silence is a cut.
    async fn message(&mut self, silence: Duration) -> Result<Message, Lost> {
        let cut = |why: String| Lost::Cut(why, None);
        loop {
            if let Some(message) = self.parser.next().map_err(|error| Error::Foreign(error.to_string()))? {
                return Ok(message);
            }
            match timeout(silence, self.response.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    self.parser.push(chunk).map_err(|error| Error::Foreign(error.to_string()))?;
                }
                Ok(Ok(None)) => return Err(cut("the connection was closed before the end".into())),
                Ok(Err(error)) => return Err(cut(causes(&error.without_url()))),
                Err(_) => return Err(cut(format!("not a byte for {} s", silence.as_secs_f32()))),
            }
        }
    }
}

fn client(loopback: bool) -> reqwest::Client {
    outbound::client(|| {
        let builder = reqwest::Client::builder()
            .http1_only()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_WITHIN);
        if loopback { builder.no_proxy() } else { builder }
    })
}

fn read<T: DeserializeOwned>(name: &str, data: &str) -> Result<T, Violation> {
    serde_json::from_str(data).map_err(|error| Violation::Unreadable(format!("{name}: {error}")))
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
        return Lost::Cut(format!("{} {code}: {message}", status.as_u16()), at_earliest);
    }
    Lost::GiveUp(Error::Refused { status: status.as_u16(), code, message })
}
