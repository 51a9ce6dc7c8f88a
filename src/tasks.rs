//! Every task of the process: tracked, so that drain can wait for it, and told when to end.

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A handle to spawn by; clones track the same tasks.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(task)
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
