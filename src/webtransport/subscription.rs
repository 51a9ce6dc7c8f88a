//! A viewer and the unidirectional stream that it fills. Polled by its session, so that whatever is ready in one wake
//! leaves in one packet.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tokio_stream::Stream;
use wtransport::{Connection, SendStream};

use super::codes::Code;
use super::pace::Pace;
use crate::auth::Grant;
use crate::cast::Cast;
use crate::cast::block::Seq;
use crate::edge::refusal::Refusal;
use crate::telemetry;
use crate::view::events::Bye;
use crate::view::msgpack;
use crate::viewer::{Step, Viewer, retry_ms};

/// Streams that a client allows at once are credit of its own; without any this is how long to wait for some.
const OPEN_WITHIN: Duration = Duration::from_secs(5);
/// How long the last bytes may take to be acknowledged before the session goes on without.
const ARRIVE_WITHIN: Duration = Duration::from_secs(5);

/// So much at once is more than a frame: there may be more of it.
const BEHIND_BYTES: usize = 16 * 1024;

type Opening = Pin<Box<dyn Future<Output = Result<Opened, Refusal>> + Send>>;
type Steps = Pin<Box<dyn Stream<Item = Step> + Send>>;
type Arriving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A subscription that stands: where it writes, and what.
pub(super) struct Opened {
    pub(super) stream: SendStream,
    /// The first records.
    pub(super) head: Bytes,
    /// Everything behind them. `None` when there is nothing: the head says why.
    pub(super) followed: Option<Followed>,
}

/// The stream that is followed, and where from.
pub(super) struct Followed {
    pub(super) viewer: Viewer,
    pub(super) cast: Cast,
    pub(super) grant: Grant,
    pub(super) after: Seq,
    pub(super) tail: Seq,
}

/// One subscription of a session.
pub(super) struct Subscription {
    state: State,
    /// What is written next.
    pending: Bytes,
    has_begun: bool,
    steps: Option<Steps>,
    /// What may be stopped under this subscription, and by which right.
    pub(super) stoppable: Option<(Cast, Grant)>,
    /// What the client wants as soon as it stands.
    pub(super) wishes: Wishes,
    pace: Pace,
    /// The session ends with it.
    is_last: bool,
    /// Since when nothing could be written.
    stuck: Option<Instant>,
    _open: telemetry::Subscription,
}

/// What can be said of a subscription before it has come about.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) stop: bool,
    pub(super) leave: bool,
}

enum State {
    Opening(Opening),
    Writing(SendStream),
    /// Everything was written, and the session ends when it has arrived.
    Arriving(Arriving),
    /// It was reset.
    GivenUp(Code),
}

/// What happened to a subscription.
pub(super) enum Event {
    /// It stands; this is what there is to tell of it.
    Subscribed { stream: String, after: Seq, tail: Seq, status: &'static str },
    /// It does not come about.
    Refused(Refusal),
    /// Everything was said, or nobody wants it any more.
    Over,
    /// The client took nothing for too long, which the code tells.
    GivenUp(Code),
}

impl Subscription {
    /// One that comes about when `opening` has found it.
    pub(super) fn new(opening: impl Future<Output = Result<Opened, Refusal>> + Send + 'static) -> Self {
        Self {
            state: State::Opening(Box::pin(opening)),
            pending: Bytes::new(),
            has_begun: false,
            steps: None,
            stoppable: None,
            wishes: Wishes::default(),
            pace: Pace::default(),
            is_last: false,
            stuck: None,
            _open: telemetry::Subscription::opened(),
        }
    }

    /// The session ends with this one: it is not over before everything has arrived.
    pub(super) fn last(mut self) -> Self {
        self.is_last = true;
        self
    }

    /// Writes whatever there is and the client takes, and notes whether it `wrote`. Unless it `is_alone`, it does not
    /// wait for more behind what it has written: its session comes back when all of them can write again.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        is_alone: bool,
        wrote: &mut bool,
    ) -> Poll<Event> {
        let mut has_said = false;
        loop {
            match &mut self.state {
                State::Opening(opening) => match ready!(opening.as_mut().poll(context)) {
                    Ok(opened) => {
                        if let Some(subscribed) = self.open(opened) {
                            return Poll::Ready(subscribed);
                        }
                    }
                    Err(refusal) => return Poll::Ready(Event::Refused(refusal)),
                },
                State::Writing(stream) => {
                    while !self.pending.is_empty() {
                        let mut chunks = [std::mem::take(&mut self.pending)];
                        let written = pin!(stream.quic_stream_mut().write_chunks(&mut chunks)).poll(context);
                        [self.pending] = chunks;
                        match written {
                            Poll::Ready(Ok(_)) => (self.stuck, *wrote) = (None, true),
                            Poll::Ready(Err(_)) => return Poll::Ready(Event::Over),
                            Poll::Pending => {
                                if self.stuck.is_none() {
                                    self.stuck = Some(Instant::now());
                                    telemetry::write_blocked();
                                }
                                return Poll::Pending;
                            }
                        }
                    }
                    self.has_begun = true;
                    let Some(steps) = &mut self.steps else {
                        // Without waiting for it: the peer may be away.
                        let _ = stream.quic_stream_mut().finish();
                        if !self.is_last {
                            return Poll::Ready(Event::Over);
                        }
                        self.state = State::Arriving(Box::pin(arrived(stream)));
                        continue;
                    };
                    if self.pace.is_full() {
                        // An acknowledgement comes to the session, which polls again.
                        self.stuck.get_or_insert_with(Instant::now);
                        return Poll::Pending;
                    }
                    if has_said && !is_alone {
                        return Poll::Pending;
                    }
                    match ready!(steps.as_mut().poll_next(context)) {
                        Some(step) => {
                            self.say(step);
                            // What is that large is behind, and goes on.
                            has_said = self.pending.len() < BEHIND_BYTES;
                        }
                        None => self.steps = None,
                    }
                }
                State::Arriving(arriving) => {
                    ready!(arriving.as_mut().poll(context));
                    return Poll::Ready(Event::Over);
                }
                State::GivenUp(code) => return Poll::Ready(Event::GivenUp(*code)),
            }
        }
    }

    fn open(&mut self, opened: Opened) -> Option<Event> {
        self.state = State::Writing(opened.stream);
        self.pending = opened.head;
        let Followed { viewer, cast, grant, after, tail } = opened.followed?;
        self.steps = Some(Box::pin(steps(viewer)));
        let (stream, status) = (cast.id().as_str().to_owned(), cast.status());
        self.stoppable = Some((cast, grant));
        Some(Event::Subscribed { stream, after, tail, status })
    }

    fn say(&mut self, step: Step) {
        match step {
            Step::Batch { bytes, id } => {
                self.pace.sent(id, bytes.len());
                self.pending = bytes;
            }
            Step::Heartbeat => self.pending = Bytes::from_static(msgpack::HEARTBEAT),
            Step::End { bytes, .. } => self.finish_with(bytes),
            Step::Bye(bye) => self.finish_with(msgpack::bye(&bye).into()),
        }
    }

    fn finish_with(&mut self, bytes: Bytes) {
        self.pending = bytes;
        self.steps = None;
    }

    /// The client has read everything up to `seq`.
    pub(super) fn acknowledged(&mut self, seq: Seq) {
        self.pace.acknowledged(seq);
        if !self.pace.is_full() && self.pending.is_empty() {
            self.stuck = None;
        }
    }

    /// Whether it has yet to come about.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.state, State::Opening(_))
    }

    /// Whether its first records are on their way.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Says goodbye behind what is being written, and nothing more.
    pub(super) fn leave(&mut self, bye: &Bye) {
        if self.steps.take().is_some() {
            // What is half written has to become whole before anything else can be said.
            self.pending = [&*self.pending, &msgpack::bye(bye)].concat().into();
        }
    }

    /// Whether there is more to write than the client takes.
    pub(super) fn is_behind(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When it has been stuck for too long.
    pub(super) fn gives_up_at(&self, stalled: Duration) -> Option<Instant> {
        self.stuck.map(|since| since + stalled)
    }

    /// Ends it where nothing can be written any more. What is only unacknowledged can still be told.
    pub(super) fn give_up(&mut self, code: Code) {
        if self.pending.is_empty() {
            let is_draining = matches!(code, Code::Draining);
            let word = if is_draining { "draining" } else { "slow" };
            self.leave(&Bye { code: word, retry_ms: retry_ms(is_draining) });
            self.stuck = None;
        } else if let State::Writing(stream) = &mut self.state {
            let _ = stream.reset(code.wire());
            self.state = State::GivenUp(code);
        }
    }
}

/// A stream to the client, for as long as it has credit for one.
pub(super) async fn open_stream(connection: &Connection) -> Result<SendStream, Refusal> {
    let opened = timeout(OPEN_WITHIN, async { connection.open_uni().await.ok()?.await.ok() }).await;
    opened.ok().flatten().ok_or_else(|| Refusal::too_many_subscriptions("the client allows no more streams"))
}

/// What a viewer has to tell, up to its last step.
fn steps(mut viewer: Viewer) -> impl Stream<Item = Step> + Send {
    async_stream::stream! {
        loop {
            let step = viewer.next().await;
            let is_last = matches!(step, Step::End { .. } | Step::Bye(_));
            yield step;
            if is_last {
                return;
            }
        }
    }
}

/// Returns when the client has acknowledged everything, or does not want it, or takes too long.
fn arrived(stream: &SendStream) -> impl Future<Output = ()> + Send + 'static {
    let stopped = stream.quic_stream().stopped();
    async move {
        let _ = timeout(ARRIVE_WITHIN, stopped).await;
    }
}
