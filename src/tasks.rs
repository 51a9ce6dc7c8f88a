//! Every task of the process: tracked, so that drain can wait for it, and told when to end.

use std::future::Future;
use std::panic::Location;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::panics::Witness;

/// A handle to spawn by; clones track the same tasks.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// A panic ends this task alone, and counts where it was spawned.
    #[track_caller]
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let witness = Witness::at(Location::caller());
        // An `async` block around it would hold the task twice.
        self.tracker.spawn(task.map(move |output| {
            drop(witness);
            output
        }))
    }

    /// Cancelled when tasks shall end.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Tells all tasks to end, and waits until they have.
    pub async fn end(&self) {
        self.stop.cancel();
        self.wait().await;
    }

    /// Waits until all tasks have ended by themselves.
    pub async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry;

    #[tokio::test]
    async fn a_panic_ends_one_task_and_is_counted() {
        let metrics = telemetry::install();
        let tasks = Tasks::default();
        let (one, other) = (tasks.spawn(async { panic!("planted") }), tasks.spawn(async { 7 }));
        assert!(one.await.is_err_and(|error| error.is_panic()));
        assert_eq!(other.await.ok(), Some(7));
        let counted = metrics.render();
        assert!(counted.contains("tokencast_panics_total{where=\"tasks\"} 1"), "{counted}");
        // Who waits for all tasks does not wait for it.
        tasks.wait().await;
    }
}
