//! How far ahead of a client's acknowledgements a subscription may be. Without any, only QUIC says how fast it reads,
//! and browsers take megabytes before they do.

use std::collections::VecDeque;

use crate::cast::block::Seq;

/// What may be sent beyond the last acknowledgement.
pub(super) const ACK_BYTES: usize = 64 * 1024;

/// So many batches are told apart; beyond that the newest ones count as one.
const BATCHES_MAX: usize = 64;

/// What was sent and not acknowledged, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pace {
    sent: VecDeque<(Seq, usize)>,
    bytes: usize,
    is_on: bool,
}

impl Pace {
    /// Something was sent, with `id` as the last id that the client has with it.
    pub(super) fn sent(&mut self, id: Seq, bytes: usize) {
        self.bytes += bytes;
        let is_full = self.sent.len() == BATCHES_MAX;
        match self.sent.back_mut().filter(|_| is_full) {
            Some(newest) => *newest = (id, newest.1 + bytes),
            None => self.sent.push_back((id, bytes)),
        }
    }

    /// The client has read everything up to `seq`.
    pub(super) fn acknowledged(&mut self, seq: Seq) {
        self.is_on = true;
        while let Some((id, bytes)) = self.sent.front().copied()
            && id <= seq
        {
            self.sent.pop_front();
            self.bytes -= bytes;
        }
    }

    /// Whether nothing more is to be sent before the client acknowledges.
    pub(super) fn is_full(&self) -> bool {
        self.is_on && self.bytes >= ACK_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_acknowledgements_it_holds_nobody_back() {
        let mut pace = Pace::default();
        for upto in 1..10_000 {
            pace.sent(upto, ACK_BYTES);
        }
        assert!(!pace.is_full());
        assert_eq!(pace.sent.len(), BATCHES_MAX);
        pace.acknowledged(1);
        assert!(pace.is_full(), "from the first one on it counts");
        pace.acknowledged(9_999);
        assert_eq!((pace.is_full(), pace.bytes), (false, 0));
    }

    #[test]
    fn a_batch_counts_until_all_of_it_was_read() {
        let mut pace = Pace::default();
        pace.acknowledged(0);
        pace.sent(10, ACK_BYTES);
        pace.acknowledged(9);
        assert!(pace.is_full());
        pace.acknowledged(10);
        assert!(!pace.is_full());
    }
}
