//! Every task of the process: tracked, so that drain can wait for it, and told when to end.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::panics::Witness;

/// Between a panic and the next beginning.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

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
        self.tracker.spawn(witnessed(task, Location::caller()))
    }

    /// Spawns what has to go on: after a panic it is begun anew.
    #[track_caller]
    pub fn spawn_again<F>(&self, mut begin: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (place, tracker) = (Location::caller(), self.tracker.clone());
        self.tracker.spawn(async move {
            while tracker.spawn(witnessed(begin(), place)).await.is_err_and(|error| error.is_panic()) {
                sleep(AGAIN_AFTER).await;
            }
        });
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

/// The task, whose panic counts where it was spawned.
fn witnessed<F: Future>(task: F, place: &'static Location<'static>) -> impl Future<Output = F::Output> {
    let witness = Witness::at(place);
    // Boxed, because a block around it would hold it twice.
    let task = Box::pin(task);
    async move {
        let _witness = witness;
        task.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry;

    #[tokio::test]
    async fn a_panic_ends_one_task_and_is_counted() {
        let metrics = telemetry::install();
        // Other tests panic in tasks, too.
        let counted = || {
            let rendered = metrics.render();
            let line = rendered
                .lines()
                .find_map(|line| line.strip_prefix("tokencast_panics_total{where=\"tasks\"} "));
            line.map_or(0, |count| count.parse::<u64>().unwrap())
        };
        let before = counted();
        let tasks = Tasks::default();
        let (one, other) = (tasks.spawn(async { panic!("planted") }), tasks.spawn(async { 7 }));
        assert!(one.await.is_err_and(|error| error.is_panic()));
        assert_eq!(other.await.ok(), Some(7));
        assert!(counted() > before);
        // Who waits for all tasks does not wait for it.
        tasks.wait().await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_to_go_on_is_begun_anew() {
        let tasks = Tasks::default();
        let (begun, beginnings) = tokio::sync::watch::channel(0);
        tasks.spawn_again(move || {
            begun.send_modify(|begun| *begun += 1);
            let is_well = *begun.borrow() == 3;
            async move { assert!(is_well, "planted") }
        });
        tasks.wait().await;
        assert_eq!(*beginnings.borrow(), 3);
    }
}
