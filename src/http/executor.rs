//! Where the answers of an HTTP/2 connection run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::taking::Taking;
use crate::seldom::Seldom;
use crate::tasks::Tasks;
use crate::telemetry::{self, Listener};

/// The request that has just come, between hyper's asking for its answer and running it.
#[derive(Debug, Clone, Default)]
pub(super) struct Unwatched(Arc<Mutex<Option<Taking>>>);

impl Unwatched {
    pub(super) fn put(&self, taking: Taking) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(taking);
    }

    pub(super) fn take(&self) -> Option<Taking> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Runs the answers of an HTTP/2 connection where all tasks run, and gives up those that nobody takes.
#[derive(Debug, Clone)]
pub(super) struct Executor {
    pub(super) tasks: Tasks,
    pub(super) listener: Listener,
    pub(super) patience: Duration,
    pub(super) unwatched: Unwatched,
    /// Cancelled when an answer is not taken that can no longer be taken back by itself.
    pub(super) untaken: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, answer: F) {
        let Some(taking) = self.unwatched.take() else {
            self.tasks.spawn(answer);
            return;
        };
        let Self { listener, patience, untaken, .. } = self.clone();
        self.tasks.spawn(async move {
            let mut stalled = Seldom::new(taking.clone().stalled(patience));
            tokio::select! {
                biased;
                _ = answer => {}
                // Dropped, it resets its stream.
                () = &mut stalled => return telemetry::refused(listener, "stalled"),
            }
            // The last of it is with hyper.
            tokio::select! {
                () = taking.out() => {}
                () = stalled => {
                    telemetry::refused(listener, "stalled");
                    untaken.cancel();
                }
            }
        });
    }
}
