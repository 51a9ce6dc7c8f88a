//! One stream, followed to its end over as many connections as it takes.

use std::collections::VecDeque;
use std::time::Duration;

use async_stream::stream;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};
use tokio_stream::Stream;

use super::ask::Ask;
use super::backoff::Backoff;
use super::contract::{Contract, Violation};
use super::error::{Error, Lost};
use super::item::{Cut, Event, Item};
use super::sse;
use super::target::Target;
use super::way::{Transport, Ways, Wire};
use super::wire::Message;
use crate::cast::block::Seq;

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
    pub transport: Transport,
}

impl Default for Options {
    fn default() -> Self {
        let heartbeat = Duration::from_secs(5);
        Self {
            after: 0,
            credential: None,
            heartbeat,
            attempts_max: 20,
            http: None,
            transport: Transport::Sse,
        }
    }
}

/// A follower: asks for what is next until there is nothing more.
#[derive(Debug)]
pub struct Follow {
    target: Target,
    options: Options,
    http: reqwest::Client,
    ways: Ways,
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
    wire: Wire,
    since: Instant,
    opened: bool,
}

impl Follow {
    pub fn new(target: Target, options: Options) -> Self {
        let http = match &options.http {
            Some(http) => http.clone(),
            None => sse::client(target.is_loopback()),
        };
        Self {
            ways: Ways::new(options.transport),
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
                State::Reading(connection) => match connection.wire.message(self.options.heartbeat * 2).await
                {
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
        let credential = self.options.credential.as_ref().or(self.target.ticket());
        let ask = Ask { after: self.contract.cursor(), heartbeat: self.options.heartbeat, credential };
        match self.ways.open(&self.http, &self.target, &ask).await? {
            Some(wire) => {
                let connection = Connection { wire, since: Instant::now(), opened: false };
                self.state = State::Reading(Box::new(connection));
            }
            None => {
                self.ready.push_back(Item::Over);
                self.state = State::Done;
            }
        }
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
                let mut open: super::Open = read(&name, &data)?;
                self.contract.open(id, &open)?;
                open.data = data;
                open.transport = connection.wire.name();
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

fn read<T: DeserializeOwned>(name: &str, data: &str) -> Result<T, Violation> {
    serde_json::from_str(data).map_err(|error| Violation::Unreadable(format!("{name}: {error}")))
}
