//! Everything that can happen to one session. One task writes all of its streams.

mod aside;
mod hearing;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;
use wtransport::Connection;

use self::aside::{Aside, Word};
use super::answers::Answers;
use super::codes::Code;
use super::control::Reply;
use super::gap::Gap;
use super::inbound;
use super::subscription::{Event, Subscription};
use crate::auth::Credential;
use crate::edge::Edge;
use crate::edge::query::Query;
use crate::seldom::Seldom;
use crate::tasks::Tasks;
use crate::viewer::retry_ms;

/// Subscriptions of one session at a time.
const SUBSCRIPTIONS_MAX: usize = 64;
/// Numbers of subscriptions are below this.
const NUMBER_END: u32 = 1 << 31;
/// Until a session that follows many has said hello.
const HELLO_WITHIN: Duration = Duration::from_secs(3);
/// How long a session that may follow many may follow nothing.
const IDLE_WITHIN: Duration = Duration::from_secs(30);
/// How long a client may take to close a session in which everything was said.
const LINGER: Duration = Duration::from_secs(5);
/// How long the last words may take to be said, and to arrive at a client that is far away or has stood still.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);
const ARRIVES_WITHIN: Duration = Duration::from_secs(3);
/// How long a client that has heard them may take to close by itself.
const CLOSES_WITHIN: Duration = Duration::from_secs(1);
const HELLO_FIRST: &str = "say hello first, within 3 s";

/// What all sessions of an endpoint share.
#[derive(Debug, Clone)]
pub(super) struct Around {
    pub(super) edge: Edge,
    /// How long a client may take nothing.
    pub(super) stalled: Duration,
    pub(super) tasks: Tasks,
    /// Cancelled when sessions end as soon as they have nothing more to say.
    pub(super) stop: CancellationToken,
}

/// What a CONNECT asked for.
#[derive(Debug)]
pub(super) struct Want {
    /// The one stream that the session is about.
    pub(super) stream: Option<String>,
    pub(super) query: Query,
    pub(super) credential: Credential,
}

/// One session.
pub(super) struct Session {
    connection: Connection,
    around: Around,
    credential: Credential,
    subscriptions: BTreeMap<u32, Subscription>,
    /// Who may write first, so that it is not always the same one.
    turn: u32,
    answers: Option<Answers>,
    greeted: bool,
    /// The subscription that nobody had to ask for.
    implicit: Option<u32>,
    /// When the session is closed, or given up, unless it follows something.
    ends_at: Option<Instant>,
    /// When those who have been told to leave and take nothing are left behind.
    leaves_by: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
    gap: Gap,
}

/// What a session does next.
enum Next {
    Happened(u32, Event),
    /// Something has taken too long.
    Late,
    /// There is room again for answers to what the client says.
    Hears,
}

impl Session {
    pub(super) fn new(connection: Connection, around: Around, want: Want) -> Self {
        let Want { stream, query, credential } = want;
        let mut session = Self {
            connection,
            around,
            credential,
            subscriptions: BTreeMap::new(),
            turn: 0,
            answers: None,
            greeted: false,
            implicit: stream.is_some().then_some(0),
            ends_at: None,
            leaves_by: None,
            alarm: Box::pin(sleep_until(Instant::now())),
            gap: Gap::new(),
        };
        match stream {
            Some(stream) => session.follow_one(stream, &query),
            None => session.ends_at = Some(Instant::now() + HELLO_WITHIN),
        }
        session
    }

    pub(super) async fn run(mut self) {
        let (listening, inbox) = inbound::listen(self.connection.clone());
        let listening = AbortOnDropHandle::new(self.around.tasks.spawn(listening));
        let mut aside =
            Seldom::new(Aside::new(inbox, listening, &self.around.stop, &self.around.edge.closing));
        let (mut is_leaving, mut is_heard) = (false, true);
        let code = loop {
            if is_leaving && self.subscriptions.is_empty() {
                self.say(&Reply::Bye { code: "draining", retry_ms: retry_ms(true) });
                break Code::Draining;
            }
            if is_heard != self.hears() {
                is_heard = !is_heard;
                aside.anew().is_heard = is_heard;
            }
            let ended = tokio::select! {
                biased;
                next = poll_fn(|context| self.poll(context)) => match next {
                    Next::Happened(number, event) => self.happened(number, event),
                    Next::Late => self.late(),
                    Next::Hears => None,
                },
                word = &mut aside => match word {
                    Word::Heard(heard) => self.hear(heard),
                    Word::Gone => return,
                    Word::Stop => {
                        is_leaving = true;
                        None
                    }
                    // Viewers say so by themselves, if they get to say anything.
                    Word::Closing => {
                        self.leaves_by = Some(Instant::now() + LAST_WORDS_WITHIN);
                        None
                    }
                },
            };
            if let Some(code) = ended {
                break code;
            }
        };
        self.close(code).await;
    }

    /// Writes what is ready, everywhere, before anything else is done.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        let is_deaf = !self.hears();
        if let Some(answers) = &mut self.answers {
            let _ = answers.poll(context);
        }
        if is_deaf && self.hears() {
            return Poll::Ready(Next::Hears);
        }
        let is_alone = self.subscriptions.len() < 2;
        let is_behind = self.subscriptions.values().any(Subscription::is_behind);
        if is_alone || is_behind || self.gap.poll(context).is_ready() {
            let first = if is_alone { 0 } else { self.turn };
            if !is_alone {
                self.turn = self.subscriptions.range(first + 1..).next().map_or(0, |(number, _)| *number);
            }
            let mut wrote = false;
            // Whoever has yet to begin does not wait for room behind somebody else's history.
            for (number, subscription) in self.subscriptions.iter_mut().filter(|(_, one)| !one.has_begun()) {
                if let Poll::Ready(event) = subscription.poll(context, is_alone, &mut wrote) {
                    return Poll::Ready(Next::Happened(*number, event));
                }
            }
            for range in [first..NUMBER_END, 0..first] {
                for (number, subscription) in self.subscriptions.range_mut(range) {
                    if let Poll::Ready(event) = subscription.poll(context, is_alone, &mut wrote) {
                        return Poll::Ready(Next::Happened(*number, event));
                    }
                }
            }
            if wrote && !is_alone {
                self.gap.begin(context);
            }
        }
        // Only now is it known who is stuck.
        let Some(at) = self.late_at() else { return Poll::Pending };
        if self.alarm.deadline() != at {
            self.alarm.as_mut().reset(at);
        }
        self.alarm.as_mut().poll(context).map(|()| Next::Late)
    }

    /// Whether there is room for the answers to what the client says.
    fn hears(&self) -> bool {
        self.answers.as_ref().is_none_or(Answers::has_room)
    }

    /// When something has taken too long.
    fn late_at(&self) -> Option<Instant> {
        let stalled = self.around.stalled;
        let stuck = self.subscriptions.values().filter_map(|one| one.gives_up_at(stalled)).min();
        let deaf = self.answers.as_ref().and_then(Answers::stuck).map(|since| since + stalled);
        [self.idle_until(), self.leaves_by, stuck, deaf].into_iter().flatten().min()
    }

    /// When it is over, if it follows nothing until then. What has yet to come about may be nothing.
    fn idle_until(&self) -> Option<Instant> {
        self.ends_at.filter(|_| self.subscriptions.is_empty())
    }

    fn late(&mut self) -> Option<Code> {
        let now = Instant::now();
        if self.idle_until().is_some_and(|at| at <= now) {
            return Some(match self.implicit {
                Some(_) => Code::Done,
                None if self.greeted => self.idle(),
                None => self.fail("hello_expected", HELLO_FIRST),
            });
        }
        let stalled = self.around.stalled;
        let is_over = |since: Instant| since + stalled <= now;
        if self.answers.as_ref().and_then(Answers::stuck).is_some_and(is_over) {
            debug!("a client takes no answers, and is given up");
            self.answers = None;
            return Some(Code::Slow);
        }
        for subscription in self.subscriptions.values_mut() {
            if subscription.gives_up_at(stalled).is_some_and(|at| at <= now) {
                debug!("a subscription takes nothing, and is given up");
                subscription.give_up(Code::Slow);
            }
        }
        if self.leaves_by.take_if(|at| *at <= now).is_some() {
            self.subscriptions.retain(|_, subscription| !subscription.is_opening());
            self.subscriptions.values_mut().for_each(|subscription| subscription.give_up(Code::Draining));
        }
        None
    }

    fn happened(&mut self, number: u32, event: Event) -> Option<Code> {
        let is_asked_for = self.implicit != Some(number);
        match event {
            Event::Subscribed { stream, after, tail, status } => {
                self.ends_at = None;
                if is_asked_for {
                    let (subscription, stream) = (u64::from(number), &stream);
                    self.say(&Reply::Subscribed { subscription, stream, after, tail, status });
                }
                self.grant_wishes(number);
            }
            Event::Refused(refusal) => {
                self.subscriptions.remove(&number);
                if is_asked_for {
                    self.refuse(&refusal, Some(number.into()));
                }
            }
            Event::Over => {
                self.subscriptions.remove(&number);
            }
            Event::GivenUp(code) => {
                self.subscriptions.remove(&number);
                if !is_asked_for {
                    return Some(code);
                }
            }
        }
        if self.subscriptions.is_empty() {
            let within = if self.implicit.is_some() { LINGER } else { IDLE_WITHIN };
            // What was refused gives nobody more time.
            self.ends_at.get_or_insert_with(|| Instant::now() + within);
        }
        None
    }

    /// Closes the session once its last words have arrived, or cannot.
    async fn close(mut self, code: Code) {
        if let Some(answers) = self.answers.take()
            && timeout(ARRIVES_WITHIN, answers.finish()).await.is_ok()
        {
            // A page that is told so closes by itself, and sees no error then.
            let _ = timeout(CLOSES_WITHIN, self.connection.closed()).await;
        }
        self.connection.close(code.wire(), b"");
    }
}
