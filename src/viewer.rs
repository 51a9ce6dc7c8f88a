//! The one loop that every transport uses. A viewer is a cursor and a write in progress; what it lacks is in the log.

mod rare;

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Span, debug, error, info_span};

use self::rare::{Event, Rare};
use crate::alarm::Alarm;
use crate::cast::block::Seq;
use crate::cast::end::End;
use crate::cast::log::Read;
use crate::cast::pages::{Page, Unread};
use crate::cast::{Attached, Watch};
use crate::seldom::Seldom;
use crate::telemetry::Viewing;
use crate::view::View;
use crate::view::events::Bye;

/// What one write to one viewer carries at most, unless a single frame is larger.
pub const BATCH_BYTES_MAX: usize = 64 * 1024;

/// How often a viewer can ask to be told that it is not forgotten, and what it gets without asking.
pub const HEARTBEAT_MS: RangeInclusive<u64> = 500..=30_000;
pub const HEARTBEAT_MS_DEFAULT: u64 = 15_000;

/// The next thing to tell a viewer.
#[derive(Debug, Clone)]
pub enum Step {
    /// Whole frames, rendered; `id` is the last id that a viewer of events has with them.
    Batch { bytes: Bytes, id: Seq },
    /// Nothing for a while.
    Heartbeat,
    /// The last thing that there is, rendered; the stream has ended.
    End { bytes: Bytes, end: std::sync::Arc<End> },
    /// The last thing for now; the stream goes on, or is gone.
    Bye(Bye),
}

/// One viewer of one cast, whatever the transport.
#[derive(Debug)]
pub struct Viewer {
    cast: Attached,
    view: View,
    cursor: Seq,
    /// What is in memory for this viewer, of a stream that is in the journal.
    page: Page,
    watch: Watch,
    heartbeat: Option<Duration>,
    expires: Option<Instant>,
    rare: Seldom<Rare>,
    counts: Viewing,
    span: Span,
}

impl Viewer {
    /// A viewer in this place, that has seen everything up to `cursor`. It is told to leave when `closing` is cancelled.
    pub fn new(
        cast: Attached,
        view: View,
        cursor: Seq,
        transport: &'static str,
        closing: CancellationToken,
    ) -> Self {
        let watch = cast.watch();
        let counts = Viewing::of(view.name(), transport);
        let span = info_span!("viewer", stream = %cast.id(), view = view.name(), transport);
        span.in_scope(|| debug!(cursor, "viewer came"));
        let (heartbeat, expires, page) = (None, None, Page::default());
        let rare = Seldom::new(Rare::new(closing));
        Self { cast, view, cursor, page, watch, heartbeat, expires, rare, counts, span }
    }

    /// Says something after this much silence.
    pub fn with_heartbeat(mut self, every: Duration) -> Self {
        self.heartbeat = Some(every);
        self
    }

    /// Leaves at this time.
    pub fn until(mut self, expires: Option<Instant>) -> Self {
        self.expires = expires;
        self.rare.anew().expires = expires.map(Alarm::at);
        self
    }

    /// Seq of the last block that was handed out.
    pub fn cursor(&self) -> Seq {
        self.cursor
    }

    /// The next thing to tell. Nothing is lost when the future is dropped. After an end or a bye there is no more.
    pub async fn next(&mut self) -> Step {
        let now = Instant::now();
        self.counts.tell(now);
        if let Some(every) = self.heartbeat {
            let at = now + every;
            match &mut self.rare.quietly().quiet {
                Some(quiet) => quiet.put_off_to(at),
                None => self.rare.anew().quiet = Some(Alarm::at(at)),
            }
        }
        loop {
            let tail = self.watch.mark();
            if cfg!(planted_bug = "slow_viewer_skips") {
                self.cursor = self.cursor.max(tail.seq.saturating_sub(8));
            }
            if self.expires.is_some_and(|at| at <= Instant::now()) {
                return self.bye("ticket_expired", 0);
            }
            let read = match tail.is_ahead_of(self.cursor) {
                true => {
                    let source = self.view.source();
                    self.cast.read_on(source, self.cursor, BATCH_BYTES_MAX, &mut self.page).await
                }
                false => Ok(Read::Pending),
            };
            let read = match read {
                Ok(read) => read,
                Err(Unread::Gone) => return self.bye("gone", 0),
                Err(Unread::Full) => return self.bye("too_many", retry_ms(true)),
                Err(Unread::Storage(error)) => {
                    self.span.in_scope(|| error!(%error, "a viewer cannot be served"));
                    return self.bye("storage_error", 0);
                }
            };
            match read {
                Read::Batch { bytes, upto, id } => {
                    let behind = tail.seq.saturating_sub(self.cursor);
                    self.cursor = upto;
                    if !bytes.is_empty() {
                        self.counts.delivered(bytes.len(), behind);
                        return Step::Batch { bytes, id };
                    }
                }
                Read::End { bytes, end } => return Step::End { bytes, end },
                Read::Gone => return self.bye("gone", 0),
                Read::Broken => return self.bye("internal", 0),
                Read::Pending => {
                    tokio::select! {
                        // What is there is said before anything else.
                        biased;
                        () = self.watch.changed() => {}
                        event = &mut self.rare => match event {
                            Event::Quiet => return Step::Heartbeat,
                            Event::Expired => {}
                            Event::Closing => return self.bye("draining", retry_ms(true)),
                        }
                    }
                }
            }
        }
    }

    fn bye(&self, code: &'static str, retry_ms: u64) -> Step {
        self.span.in_scope(|| debug!(code, "viewer is sent away"));
        Step::Bye(Bye { code, retry_ms })
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.span.in_scope(|| debug!(cursor = self.cursor, "viewer left"));
    }
}

/// A reconnection time that spreads a herd: 300–1000 ms, and 1–5 s from a gateway that is going away.
pub fn retry_ms(draining: bool) -> u64 {
    if draining { fastrand::u64(1000..=5000) } else { fastrand::u64(300..=1000) }
}

#[cfg(test)]
mod tests;
