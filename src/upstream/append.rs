//! Blocks into the log: frame by frame, at our pace, as fast as the journal commits.

use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use super::feed::{Hold, Receiver};
use crate::cast::coalesce::{Coalescer, Config, Forced};
use crate::cast::end::{Outcome, Why};
use crate::cast::{AppendError, Producer};
use crate::seldom::Seldom;
use crate::telemetry;

/// Appends what the reader feeds until the reader is done. While a commit runs the next frame grows.
pub(super) async fn append(
    mut feed: Receiver,
    producer: &mut Producer,
    config: &Config,
    journal_stall: Duration,
) -> Result<(), Outcome> {
    let mut pending = Pending { coalescer: Coalescer::new(config, producer.cast().began()), hold: None };
    let (full, mut is_open) = (feed.full(), true);
    let now = Instant::now();
    let (mut flush, mut stall) = (Seldom::alarm(now), Seldom::alarm(now + journal_stall));
    loop {
        let due = pending.coalescer.deadline();
        let now = Instant::now();
        if is_open && due.is_none_or(|due| due > now) {
            if let Some(due) = due {
                flush.ring_at(due);
            }
            tokio::select! {
                biased;
                block = feed.recv() => match block {
                    Some((block, hold)) => {
                        pending.push(block, hold);
                        pending.take_ready(&mut feed);
                    }
                    None => is_open = false,
                },
                () = full.notified(), if due.is_some() => pending.coalescer.force(Forced::Full),
                () = &mut flush, if due.is_some() => {}
            }
            continue;
        }
        if !is_open {
            pending.coalescer.force(Forced::End);
        }
        let Some((frame, forced)) = pending.coalescer.flush(now) else { return Ok(()) };
        if let Some(cause) = forced {
            telemetry::flush_forced(cause);
        }
        let _until_committed = pending.hold.take();
        let mut commit = pin!(producer.append(frame));
        stall.ring_at(now + journal_stall);
        loop {
            tokio::select! {
                biased;
                committed = &mut commit => break committed.map_err(|error| outcome(&error))?,
                block = feed.recv(), if is_open => match block {
                    Some((block, hold)) => pending.push(block, hold),
                    None => is_open = false,
                },
                () = &mut stall => {
                    let message = format!("the journal has not committed for {} s", journal_stall.as_secs());
                    return Err(Outcome::because(Why::Overloaded, message));
                }
            }
        }
    }
}

/// What waits to become a frame, and the room that it takes.
struct Pending {
    coalescer: Coalescer,
    hold: Option<Hold>,
}

impl Pending {
    fn push(&mut self, block: crate::cast::block::Block, hold: Hold) {
        self.coalescer.push(block);
        match &mut self.hold {
            Some(held) => held.merge(hold),
            None => self.hold = Some(hold),
        }
    }

    /// What was read together is flushed together.
    fn take_ready(&mut self, feed: &mut Receiver) {
        while !self.coalescer.is_forced() {
            let Some((block, hold)) = feed.try_recv() else { return };
            self.push(block, hold);
        }
    }
}

fn outcome(error: &AppendError) -> Outcome {
    let why = match error {
        AppendError::Storage(_) => Why::StorageError,
        AppendError::Exhausted => Why::Overloaded,
    };
    Outcome::because(why, error.to_string())
}

#[cfg(test)]
mod tests;
