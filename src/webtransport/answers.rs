//! Our side of the control stream: what waits to be said, as far as the client takes it.

use std::pin::pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Instant;
use wtransport::SendStream;

use super::control::Reply;

/// Answers that a client has not taken; beyond it nothing more is heard from it.
const BYTES_MAX: usize = 64 * 1024;

pub(super) struct Answers {
    stream: SendStream,
    queued: Bytes,
    /// Since when the client takes none of them.
    stuck: Option<Instant>,
}

impl Answers {
    pub(super) fn new(stream: SendStream) -> Self {
        Self { stream, queued: Bytes::new(), stuck: None }
    }

    pub(super) fn say(&mut self, reply: &Reply<'_>) {
        let mut queued = Vec::from(std::mem::take(&mut self.queued));
        reply.write(&mut queued);
        self.queued = queued.into();
    }

    /// Whether there is room for more of them.
    pub(super) fn has_room(&self) -> bool {
        self.queued.len() < BYTES_MAX
    }

    /// Since when the client takes none of them.
    pub(super) fn stuck(&self) -> Option<Instant> {
        self.stuck
    }

    /// Writes what the client takes; ready when there is nothing left to write.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.queued.is_empty() {
            let mut chunks = [std::mem::take(&mut self.queued)];
            let written = pin!(self.stream.quic_stream_mut().write_chunks(&mut chunks)).poll(context);
            [self.queued] = chunks;
            match written {
                Poll::Ready(Ok(_)) => self.stuck = None,
                // Nobody wants to hear it.
                Poll::Ready(Err(_)) => self.queued.clear(),
                Poll::Pending => {
                    self.stuck.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
            }
        }
        self.stuck = None;
        Poll::Ready(())
    }

    /// Says that there will be no more, and waits until all of it has arrived.
    pub(super) async fn finish(mut self) {
        std::future::poll_fn(|context| self.poll(context)).await;
        let _ = self.stream.quic_stream_mut().finish();
        let _ = self.stream.quic_stream().stopped().await;
    }
}
