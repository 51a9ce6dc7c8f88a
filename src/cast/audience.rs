//! Who watches a cast, as a number.

use std::time::Duration;

use super::Cast;
use super::account::Reached;
use crate::telemetry;

impl Cast {
    pub fn viewers(&self) -> usize {
        *self.0.viewers.borrow()
    }

    /// Counts one viewer for as long as the guard lives, if there is a place for one.
    pub fn try_attach(&self) -> Result<Attached, Reached> {
        let mut place = Ok(());
        self.0.viewers.send_if_modified(|viewers| {
            place = self.0.stake.try_view(*viewers);
            *viewers += usize::from(place.is_ok());
            place.is_ok()
        });
        place.inspect_err(telemetry::limit_reached)?;
        Ok(Attached(self.clone()))
    }

    /// The same for whoever has a place already, by having started the stream.
    pub fn attach(&self) -> Attached {
        self.0.stake.view();
        self.0.viewers.send_modify(|viewers| *viewers += 1);
        Attached(self.clone())
    }

    /// Returns once nobody has been watching for `after`.
    pub async fn abandoned(&self, after: Duration) {
        let mut viewers = self.0.viewers.subscribe();
        loop {
            let idle = *viewers.borrow_and_update() == 0;
            tokio::select! {
                biased;
                // Whoever came before this task was run came in time.
                changed = viewers.changed() => changed.expect("the cast holds the sender"),
                () = tokio::time::sleep(after), if idle => return,
            }
        }
    }
}

/// One viewer that counts.
#[derive(Debug)]
pub struct Attached(pub(super) Cast);

impl std::ops::Deref for Attached {
    type Target = Cast;

    fn deref(&self) -> &Cast {
        &self.0
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.0.stake.leave();
        #[cfg(not(planted_bug = "viewer_counted_for_ever"))]
        self.0.0.viewers.send_modify(|viewers| *viewers -= 1);
    }
}
