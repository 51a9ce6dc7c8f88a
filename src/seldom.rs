//! A future of which nothing is expected for long, in a task that runs often.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Is polled when it was woken itself, and not whenever its task runs for something else: what it waits for is shared by
/// all tasks, and whoever looks at it has to lock it.
#[derive(Debug)]
pub struct Seldom<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Bell {
    is_rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl<F: Future> Seldom<F> {
    pub fn new(future: F) -> Self {
        let bell = Arc::new(Bell { is_rung: AtomicBool::new(true), task: Mutex::default() });
        Self { future: Box::pin(future), bell }
    }
}

impl<F: Future + Unpin> Seldom<F> {
    /// To change what it waits for in a way that makes it ready no sooner.
    pub fn quietly(&mut self) -> &mut F {
        &mut self.future
    }

    /// To change what it waits for: it is polled again.
    pub fn anew(&mut self) -> &mut F {
        self.bell.is_rung.store(true, Ordering::Release);
        &mut self.future
    }
}

impl<F: Future> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Before looking at the bell, so that nobody rings unheard.
        let mut task = self.bell.task();
        if !task.as_ref().is_some_and(|task| task.will_wake(context.waker())) {
            *task = Some(context.waker().clone());
        }
        drop(task);
        if !self.bell.is_rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let waker = Waker::from(self.bell.clone());
        let polled = self.future.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            // Whoever asks again is answered by the future.
            self.bell.is_rung.store(true, Ordering::Release);
        }
        polled
    }
}

impl Bell {
    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.is_rung.store(true, Ordering::Release);
        let task = self.task().clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_when_it_was_woken_and_else_not() {
        let (polls, told) = (AtomicUsize::new(0), Notify::new());
        let mut waiting = pin!(told.notified());
        let mut seldom = Seldom::new(poll_fn(|context| {
            polls.fetch_add(1, Ordering::Relaxed);
            waiting.as_mut().poll(context)
        }));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..10 {
            assert!(Pin::new(&mut seldom).poll(&mut context).is_pending());
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        let (is_done, ()) = tokio::join!(&mut seldom, async { told.notify_one() });
        assert_eq!((is_done, polls.load(Ordering::Relaxed)), ((), 2));
    }

    #[tokio::test]
    async fn what_was_changed_is_polled_again() {
        let mut seldom = Seldom::new(std::future::pending::<()>());
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut seldom).poll(&mut context).is_pending());
        for (change, is_polled) in
            [(Seldom::quietly as fn(&mut Seldom<_>) -> &mut _, false), (Seldom::anew, true)]
        {
            change(&mut seldom);
            assert_eq!(seldom.bell.is_rung.load(Ordering::Relaxed), is_polled);
        }
    }

    #[tokio::test]
    async fn what_is_over_is_over_for_whoever_asks_again() {
        let token = CancellationToken::new();
        let mut seldom = Seldom::new(token.clone().cancelled_owned());
        token.cancel();
        (&mut seldom).await;
        seldom.await;
    }
}
