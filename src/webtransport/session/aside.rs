//! What happens to a session beside its streams, which is seldom: one future for all of it, which a frame does not poll.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::AbortOnDropHandle;
use wtransport::error::ConnectionError;

use crate::webtransport::inbound::Heard;

/// What happened.
pub(super) enum Word {
    Heard(Heard),
    /// The client has closed the session, or is gone.
    Gone,
    /// The session ends as soon as it has nothing more to say.
    Stop,
    /// Viewers are to leave.
    Closing,
}

type Cancelled = Option<Pin<Box<WaitForCancellationFutureOwned>>>;

/// Waits for all of it. Each of them but the first is said once.
pub(super) struct Aside {
    inbox: mpsc::Receiver<Heard>,
    listening: AbortOnDropHandle<ConnectionError>,
    /// Whether there is room for the answers to what the client says.
    pub(super) is_heard: bool,
    stop: Cancelled,
    closing: Cancelled,
}

impl Aside {
    pub(super) fn new(
        inbox: mpsc::Receiver<Heard>,
        listening: AbortOnDropHandle<ConnectionError>,
        stop: &CancellationToken,
        closing: &CancellationToken,
    ) -> Self {
        let cancelled = |token: &CancellationToken| Some(Box::pin(token.clone().cancelled_owned()));
        Self { inbox, listening, is_heard: true, stop: cancelled(stop), closing: cancelled(closing) }
    }
}

impl Future for Aside {
    type Output = Word;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Word> {
        if self.is_heard {
            if let Poll::Ready(heard) = self.inbox.poll_recv(context) {
                return Poll::Ready(heard.map_or(Word::Gone, Word::Heard));
            }
        } else if Pin::new(&mut self.listening).poll(context).is_ready() {
            return Poll::Ready(Word::Gone);
        }
        if is_over(&mut self.stop, context) {
            return Poll::Ready(Word::Stop);
        }
        if is_over(&mut self.closing, context) {
            return Poll::Ready(Word::Closing);
        }
        Poll::Pending
    }
}

fn is_over(cancelled: &mut Cancelled, context: &mut Context<'_>) -> bool {
    cancelled.take_if(|cancelled| cancelled.as_mut().poll(context).is_ready()).is_some()
}
